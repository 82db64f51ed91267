//! DABNet: Li, Yun, Kim and Kim, "DABNet: Depth-wise Asymmetric Bottleneck for Real-time Semantic Segmentation",
//! BMVC 2019.
//!
//! Three convolutions bring the picture to 1/2, two downsamplers to 1/4 and 1/8, each followed by a block of DAB modules.
//! A DAB module narrows its input to half the channels and looks at it through two depth-wise branches of 3x1 and 1x3
//! convolutions, one of them dilated; their sum is widened again and added to the input. The averaged picture itself is
//! put beside the features at every scale. Parameters carry the names of the published PyTorch weights.

use tch::nn::{Init, Path, VarStore};
use tch::{Device, TchError, Tensor};

use super::torch_error;
use crate::{Error, Result};

/// Added to the variance in every batch norm.
const EPSILON: f64 = 1e-3;
/// Share of a batch in the running statistics during training.
const MOMENTUM: f64 = 0.1;
/// Initial slope of every PReLU below zero.
const INITIAL_SLOPE: f64 = 0.25;
/// Channels of the picture.
const PICTURE: i64 = 3;

/// Widths and dilations of a DABNet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DabNetConfig {
    /// Classes, the channels of the logits.
    pub classes: i64,
    /// Channels of the first three convolutions (32 in the paper).
    pub init_channels: i64,
    /// Channels at 1/4 of the resolution (64 in the paper); even.
    pub block_1_channels: i64,
    /// Channels at 1/8 of the resolution (128 in the paper); even.
    pub block_2_channels: i64,
    /// One DAB module each, at 1/4 of the resolution (2, 2, 2 in the paper).
    pub block_1_dilations: Vec<i64>,
    /// One DAB module each, at 1/8 of the resolution (4, 4, 8, 8, 16, 16 in the paper).
    pub block_2_dilations: Vec<i64>,
}

impl DabNetConfig {
    /// The published network for the 19 classes of Cityscapes: 0.757 million parameters.
    pub fn cityscapes() -> Self {
        Self {
            classes: 19,
            init_channels: 32,
            block_1_channels: 64,
            block_2_channels: 128,
            block_1_dilations: vec![2, 2, 2],
            block_2_dilations: vec![4, 4, 8, 8, 16, 16],
        }
    }

    /// The bundled network: the same shape at half the width, trained on pictures of 512 x 256.
    pub fn demo() -> Self {
        Self { init_channels: 16, block_1_channels: 32, block_2_channels: 64, ..Self::cityscapes() }
    }

    /// Number of parameters that training changes.
    ///
    /// # Errors
    /// As [`DabNet::new`].
    pub fn parameters(&self) -> Result<u64> {
        let variables = VarStore::new(Device::Cpu);
        DabNet::new(&variables.root(), self)?;
        Ok(variables.trainable_variables().iter().map(|variable| variable.numel() as u64).sum())
    }

    fn validate(&self) -> Result<()> {
        let invalid = |field, given: i64, expected| {
            Err(Error::InvalidParameter { field, given: given.to_string(), expected })
        };
        if !(1..=255).contains(&self.classes) {
            return invalid("classes", self.classes, "1 to 255");
        }
        if self.init_channels < 1 {
            return invalid("init_channels", self.init_channels, "at least 1");
        }
        let blocks =
            [("block_1_channels", self.block_1_channels), ("block_2_channels", self.block_2_channels)];
        for (field, channels) in blocks {
            if channels < 2 || channels % 2 != 0 {
                return invalid(field, channels, "an even number, at least 2");
            }
        }
        let dilations =
            [("block_1_dilations", &self.block_1_dilations), ("block_2_dilations", &self.block_2_dilations)];
        for (field, dilations) in dilations {
            if let Some(&dilation) = dilations.iter().find(|&&dilation| dilation < 1) {
                return invalid(field, dilation, "at least 1");
            }
        }
        Ok(())
    }
}

/// The network. Its variables live in the `VarStore` whose path it was built with.
#[derive(Debug)]
pub struct DabNet {
    init_conv: [ConvNormPrelu; 3],
    norm_1: NormPrelu,
    downsample_1: Downsample,
    block_1: Vec<DabModule>,
    norm_2: NormPrelu,
    downsample_2: Downsample,
    block_2: Vec<DabModule>,
    norm_3: NormPrelu,
    classifier: Convolution,
}

impl DabNet {
    /// Picture sides are to be multiples of this, so that the features of all three scales meet.
    pub const INPUT_MULTIPLE: usize = 8;
    /// Picture sides over logit sides.
    pub const OUTPUT_STRIDE: usize = 8;

    /// Creates the variables under `path`, initialised at random for training (`tch::manual_seed` fixes them), on the
    /// device of `path`'s `VarStore`.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] names the field of `config` that is out of range; [`Error::Torch`] when the device
    /// refuses the memory.
    pub fn new(path: &Path<'_>, config: &DabNetConfig) -> Result<Self> {
        config.validate()?;
        Self::build(path, config).map_err(torch_error("create the variables of DABNet"))
    }

    fn build(path: &Path<'_>, config: &DabNetConfig) -> Result<Self, TchError> {
        let (init, half, eighth) =
            (config.init_channels, config.init_channels + PICTURE, 2 * config.block_2_channels + PICTURE);
        let quarter = 2 * config.block_1_channels + PICTURE;
        let init_conv = |index: i64, input, stride| {
            ConvNormPrelu::new(&(path / "init_conv" / index), &[init, input, 3, 3], Geometry::square(stride))
        };
        let block = |number: usize, channels, dilations: &[i64]| -> Result<Vec<_>, TchError> {
            let block = path / format!("DAB_Block_{number}");
            let module = |(index, &dilation)| {
                DabModule::new(&(&block / format!("DAB_Module_{number}_{index}")), channels, dilation)
            };
            dilations.iter().enumerate().map(module).collect()
        };
        Ok(Self {
            init_conv: [init_conv(0, PICTURE, 2)?, init_conv(1, init, 1)?, init_conv(2, init, 1)?],
            norm_1: NormPrelu::new(&(path / "bn_prelu_1"), half)?,
            downsample_1: Downsample::new(&(path / "downsample_1"), half, config.block_1_channels)?,
            block_1: block(1, config.block_1_channels, &config.block_1_dilations)?,
            norm_2: NormPrelu::new(&(path / "bn_prelu_2"), quarter)?,
            downsample_2: Downsample::new(&(path / "downsample_2"), quarter, config.block_2_channels)?,
            block_2: block(2, config.block_2_channels, &config.block_2_dilations)?,
            norm_3: NormPrelu::new(&(path / "bn_prelu_3"), eighth)?,
            classifier: Convolution::new(
                &(path / "classifier" / 0_i64),
                &[config.classes, eighth, 1, 1],
                Geometry::pointwise(),
            )?,
        })
    }

    /// Logits N x classes x H/8 x W/8 of a normalised picture N x 3 x H x W (float32, on the network's device).
    ///
    /// With `train` the batch norms use the batch's own statistics and update their running ones.
    ///
    /// # Errors
    /// [`Error::Shape`] when `input` is not of that rank, or a side is not a multiple of [`Self::INPUT_MULTIPLE`];
    /// [`Error::Torch`] when libtorch fails, for example for want of memory.
    pub fn forward(&self, input: &Tensor, train: bool) -> Result<Tensor> {
        let size = input.size();
        let multiple = Self::INPUT_MULTIPLE as i64;
        let fits = |side: i64| side > 0 && side % multiple == 0;
        if !matches!(size[..], [n, PICTURE, h, w] if n > 0 && fits(h) && fits(w)) {
            return Err(Error::Shape {
                what: "the input of DABNet",
                given: format!("{size:?}"),
                expected: format!("[N, 3, H, W] with H and W multiples of {multiple}"),
            });
        }
        self.logits(input, train).map_err(torch_error("run DABNet"))
    }

    fn logits(&self, input: &Tensor, train: bool) -> Result<Tensor, TchError> {
        let at_half = average_to_half(input)?;
        let at_quarter = average_to_half(&at_half)?;
        let at_eighth = average_to_half(&at_quarter)?;

        let mut features = input.shallow_clone();
        for layer in &self.init_conv {
            features = layer.forward(&features, train)?;
        }
        let features = self.norm_1.forward(&beside(&[&features, &at_half])?, train)?;

        let down = self.downsample_1.forward(&features, train)?;
        let features = through(&self.block_1, &down, train)?;
        let features = self.norm_2.forward(&beside(&[&features, &down, &at_quarter])?, train)?;

        let down = self.downsample_2.forward(&features, train)?;
        let features = through(&self.block_2, &down, train)?;
        let features = self.norm_3.forward(&beside(&[&features, &down, &at_eighth])?, train)?;
        self.classifier.forward(&features)
    }
}

/// 3 x 3 average with stride 2; the zeros of the border count.
fn average_to_half(picture: &Tensor) -> Result<Tensor, TchError> {
    picture.f_avg_pool2d([3, 3], [2, 2], [1, 1], false, true, None)
}

/// Concatenation along the channels.
fn beside(features: &[&Tensor]) -> Result<Tensor, TchError> {
    Tensor::f_cat(features, 1)
}

fn through(block: &[DabModule], input: &Tensor, train: bool) -> Result<Tensor, TchError> {
    block.iter().try_fold(input.shallow_clone(), |features, module| module.forward(&features, train))
}

/// Stride, padding, dilation (vertical, horizontal) and groups of a convolution.
#[derive(Debug, Clone, Copy)]
struct Geometry {
    stride: i64,
    padding: [i64; 2],
    dilation: [i64; 2],
    groups: i64,
}

impl Geometry {
    /// 3 x 3 that keeps the size, but for the stride.
    fn square(stride: i64) -> Self {
        Self { stride, padding: [1, 1], dilation: [1, 1], groups: 1 }
    }

    /// 1 x 1.
    fn pointwise() -> Self {
        Self { stride: 1, padding: [0, 0], dilation: [1, 1], groups: 1 }
    }

    /// 3 x 1 for each channel alone.
    fn column(channels: i64, dilation: i64) -> Self {
        Self { stride: 1, padding: [dilation, 0], dilation: [dilation, 1], groups: channels }
    }

    /// 1 x 3 for each channel alone.
    fn row(channels: i64, dilation: i64) -> Self {
        Self { stride: 1, padding: [0, dilation], dilation: [1, dilation], groups: channels }
    }
}

/// Convolution without bias.
#[derive(Debug)]
struct Convolution {
    weight: Tensor,
    geometry: Geometry,
}

impl Convolution {
    fn new(path: &Path<'_>, dims: &[i64; 4], geometry: Geometry) -> Result<Self, TchError> {
        let weight = (path / "conv").f_kaiming_normal("weight", dims)?;
        Ok(Self { weight, geometry })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let Geometry { stride, padding, dilation, groups } = self.geometry;
        input.f_conv2d(&self.weight, None::<&Tensor>, [stride, stride], padding, dilation, groups)
    }
}

/// Batch norm, then a PReLU with one slope a channel.
#[derive(Debug)]
struct NormPrelu {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    slope: Tensor,
}

impl NormPrelu {
    fn new(path: &Path<'_>, channels: i64) -> Result<Self, TchError> {
        let norm = path / "bn";
        Ok(Self {
            weight: norm.f_ones("weight", &[channels])?,
            bias: norm.f_zeros("bias", &[channels])?,
            running_mean: norm.f_zeros_no_train("running_mean", &[channels])?,
            running_var: norm.f_ones_no_train("running_var", &[channels])?,
            slope: (path / "acti").f_var("weight", &[channels], Init::Const(INITIAL_SLOPE))?,
        })
    }

    fn forward(&self, input: &Tensor, train: bool) -> Result<Tensor, TchError> {
        let Self { weight, bias, running_mean, running_var, slope } = self;
        input
            .f_batch_norm(
                Some(weight),
                Some(bias),
                Some(running_mean),
                Some(running_var),
                train,
                MOMENTUM,
                EPSILON,
                true,
            )?
            .f_prelu(slope)
    }
}

/// Convolution, batch norm, PReLU ("CBP").
#[derive(Debug)]
struct ConvNormPrelu {
    convolution: Convolution,
    norm: NormPrelu,
}

impl ConvNormPrelu {
    fn new(path: &Path<'_>, dims: &[i64; 4], geometry: Geometry) -> Result<Self, TchError> {
        Ok(Self {
            convolution: Convolution::new(path, dims, geometry)?,
            norm: NormPrelu::new(&(path / "bn_prelu"), dims[0])?,
        })
    }

    fn forward(&self, input: &Tensor, train: bool) -> Result<Tensor, TchError> {
        self.norm.forward(&self.convolution.forward(input)?, train)
    }
}

/// Halves the resolution. Where it widens, the new channels come from the convolution and the old ones from max pooling.
#[derive(Debug)]
struct Downsample {
    convolution: Convolution,
    pooled: bool,
    norm: NormPrelu,
}

impl Downsample {
    fn new(path: &Path<'_>, input: i64, output: i64) -> Result<Self, TchError> {
        let pooled = output > input;
        let convolved = if pooled { output - input } else { output };
        Ok(Self {
            convolution: Convolution::new(
                &(path / "conv3x3"),
                &[convolved, input, 3, 3],
                Geometry::square(2),
            )?,
            pooled,
            norm: NormPrelu::new(&(path / "bn_prelu"), output)?,
        })
    }

    fn forward(&self, input: &Tensor, train: bool) -> Result<Tensor, TchError> {
        let mut features = self.convolution.forward(input)?;
        if self.pooled {
            let pooled = input.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
            features = beside(&[&features, &pooled])?;
        }
        self.norm.forward(&features, train)
    }
}

/// Depth-wise asymmetric bottleneck (figure 2 c of the paper).
#[derive(Debug)]
struct DabModule {
    norm_in: NormPrelu,
    narrow: ConvNormPrelu,
    local: [ConvNormPrelu; 2],
    dilated: [ConvNormPrelu; 2],
    norm_out: NormPrelu,
    widen: Convolution,
}

impl DabModule {
    fn new(path: &Path<'_>, channels: i64, dilation: i64) -> Result<Self, TchError> {
        let half = channels / 2;
        let branch = |prefix: &str, dilation| -> Result<_, TchError> {
            let column = Geometry::column(half, dilation);
            let row = Geometry::row(half, dilation);
            Ok([
                ConvNormPrelu::new(&(path / format!("{prefix}3x1")), &[half, 1, 3, 1], column)?,
                ConvNormPrelu::new(&(path / format!("{prefix}1x3")), &[half, 1, 1, 3], row)?,
            ])
        };
        Ok(Self {
            norm_in: NormPrelu::new(&(path / "bn_relu_1"), channels)?,
            narrow: ConvNormPrelu::new(&(path / "conv3x3"), &[half, channels, 3, 3], Geometry::square(1))?,
            local: branch("dconv", 1)?,
            dilated: branch("ddconv", dilation)?,
            norm_out: NormPrelu::new(&(path / "bn_relu_2"), half)?,
            widen: Convolution::new(&(path / "conv1x1"), &[channels, half, 1, 1], Geometry::pointwise())?,
        })
    }

    fn forward(&self, input: &Tensor, train: bool) -> Result<Tensor, TchError> {
        let narrowed = self.narrow.forward(&self.norm_in.forward(input, train)?, train)?;
        let along = |branch: &[ConvNormPrelu; 2]| -> Result<Tensor, TchError> {
            branch[1].forward(&branch[0].forward(&narrowed, train)?, train)
        };
        let sum = along(&self.local)?.f_add(&along(&self.dilated)?)?;
        self.widen.forward(&self.norm_out.forward(&sum, train)?)?.f_add(input)
    }
}
