//! A convolution with its batch norm, for inference.
//!
//! A batch norm in evaluation mode is y = (x - mean) / sqrt(variance + eps) * weight + bias for each channel: a factor and
//! an offset. Both can be multiplied into the convolution before it, once, when the weights are loaded; the folded layer
//! reads and writes its features once instead of twice.

use tch::{Device, Kind, TchError, Tensor};

use super::execution::Execution;
use super::parameters::Parameters;
use super::torch_error;
use crate::Result;

/// Added to the variance in every batch norm: PyTorch's default.
const EPSILON: f64 = 1e-5;
/// Share of a batch in the running statistics; of no effect in evaluation mode.
const MOMENTUM: f64 = 0.1;

/// Sides of the kernel, stride and dilation of a square convolution that pads by as much as it reaches out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub side: i64,
    pub stride: i64,
    pub dilation: i64,
}

impl Geometry {
    /// One pixel in, one pixel out.
    pub const POINT: Self = Self { side: 1, stride: 1, dilation: 1 };

    /// 3 x 3.
    pub fn square(stride: i64, dilation: i64) -> Self {
        Self { side: 3, stride, dilation }
    }
}

/// Reads the layers of one network, in one way of running it, onto one device.
pub(super) struct Loader<'p, 'a, 'b> {
    pub parameters: &'p mut Parameters<'a, 'b>,
    pub execution: Execution,
    pub device: Device,
}

impl Loader<'_, '_, '_> {
    /// A convolution without bias and the batch norm behind it.
    pub fn convolution_norm(
        &mut self,
        [convolution, norm]: [&str; 2],
        [input, output]: [i64; 2],
        geometry: Geometry,
    ) -> Result<Convolution> {
        let shape = [output, input, geometry.side, geometry.side];
        let weight = self.parameters.take(&format!("{convolution}.weight"), &shape)?;
        let norm = self.norm(norm, output)?;
        let prepared = if self.execution.fold_batch_norm {
            norm.fold(&weight).and_then(|(weight, bias)| self.place(&weight, Some(&bias), None, geometry))
        } else {
            self.place(&weight, None, Some(norm), geometry)
        };
        prepared.map_err(torch_error(format!("prepare the weights {convolution}")))
    }

    /// A 1 x 1 convolution with bias.
    pub fn classifier(&mut self, name: &str, [input, output]: [i64; 2]) -> Result<Convolution> {
        let weight = self.parameters.take(&format!("{name}.weight"), &[output, input, 1, 1])?;
        let bias = self.parameters.take(&format!("{name}.bias"), &[output])?;
        self.place(&weight, Some(&bias), None, Geometry::POINT)
            .map_err(torch_error(format!("prepare the weights {name}")))
    }

    fn norm(&mut self, name: &str, channels: i64) -> Result<BatchNorm> {
        let mut take = |part: &str| self.parameters.take(&format!("{name}.{part}"), &[channels]);
        Ok(BatchNorm {
            weight: take("weight")?,
            bias: take("bias")?,
            mean: take("running_mean")?,
            variance: take("running_var")?,
        })
    }

    /// The layer in the network's element type, on its device.
    fn place(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        norm: Option<BatchNorm>,
        geometry: Geometry,
    ) -> Result<Convolution, TchError> {
        let format = self.execution.input();
        let place = |tensor: &Tensor| format.convert_weight(&tensor.f_to_device(self.device)?);
        Ok(Convolution {
            weight: place(weight)?,
            bias: bias.map(place).transpose()?,
            // Statistics of a batch norm stay in float32, in which libtorch normalises narrower features too.
            norm: norm.map(|norm| norm.map(|tensor| tensor.f_to_device(self.device))).transpose()?,
            geometry,
        })
    }
}

/// The four vectors of a batch norm.
#[derive(Debug)]
struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
}

impl BatchNorm {
    fn map(self, change: impl Fn(&Tensor) -> Result<Tensor, TchError>) -> Result<Self, TchError> {
        let Self { weight, bias, mean, variance } = self;
        Ok(Self {
            weight: change(&weight)?,
            bias: change(&bias)?,
            mean: change(&mean)?,
            variance: change(&variance)?,
        })
    }

    /// Weight and bias of the convolution that does the work of `convolution` and this; computed in float64.
    fn fold(&self, convolution: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let wide = |tensor: &Tensor| tensor.f_to_kind(Kind::Double);
        let factor = wide(&self.weight)?.f_div(&wide(&self.variance)?.f_add_scalar(EPSILON)?.f_sqrt()?)?;
        let bias = wide(&self.bias)?.f_sub(&wide(&self.mean)?.f_mul(&factor)?)?;
        let weight = wide(convolution)?.f_mul(&factor.f_view([-1, 1, 1, 1])?)?;
        Ok((weight.f_to_kind(Kind::Float)?, bias.f_to_kind(Kind::Float)?))
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let Self { weight, bias, mean, variance } = self;
        let (weight, bias, mean, variance) = (Some(weight), Some(bias), Some(mean), Some(variance));
        input.f_batch_norm(weight, bias, mean, variance, false, MOMENTUM, EPSILON, true)
    }
}

/// A convolution, and its batch norm unless that is folded into it.
#[derive(Debug)]
pub(super) struct Convolution {
    weight: Tensor,
    bias: Option<Tensor>,
    norm: Option<BatchNorm>,
    geometry: Geometry,
}

impl Convolution {
    /// Convolution and batch norm.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let Geometry { side, stride, dilation } = self.geometry;
        let padding = dilation * (side / 2);
        let output =
            input.f_conv2d(&self.weight, self.bias.as_ref(), [stride; 2], [padding; 2], [dilation; 2], 1)?;
        match &self.norm {
            Some(norm) => norm.forward(&output),
            None => Ok(output),
        }
    }

    /// Convolution, batch norm and ReLU.
    pub fn forward_relu(&self, input: &Tensor) -> Result<Tensor, TchError> {
        // In place: the layer's output is nobody else's.
        self.forward(input)?.f_relu_()
    }
}
