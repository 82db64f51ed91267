//! DeepLabV3+: Chen, Zhu, Papandreou, Schroff and Adam, "Encoder-Decoder with Atrous Separable Convolution for Semantic
//! Image Segmentation", ECCV 2018, in the form that the paper's authors trained: plain convolutions, and a decoder on
//! the first stage of a dilated ResNet.
//!
//! ```text
//! picture -> ResNet -> deep features (1/8 or 1/16) -> ASPP -> 1x1 -> upsampled \
//!               \---> fine features (1/4) ---------------------> 1x1 ----------- 3x3 -> 3x3 -> 1x1 -> logits (1/4)
//! ```
//!
//! ASPP, atrous spatial pyramid pooling, looks at the deep features through one 1 x 1 and three dilated 3 x 3
//! convolutions, and through their mean over the whole picture. All upsampling aligns corners. The logits stay at 1/4
//! of the picture: the engine upsamples them.

use std::collections::BTreeMap;

use tch::{Device, TchError, Tensor};

use super::convolution::{Convolution, Geometry, Loader};
use super::execution::Execution;
use super::parameters::Parameters;
use super::resnet::{DEEP_CHANNELS, Depth, FINE_CHANNELS, OutputStride, ResNet};
use super::torch_error;
use crate::files::Checkpoint;
use crate::{Error, Result};

/// Channels of each branch of the pyramid and of the decoder.
const WIDTH: i64 = 256;
/// Channels to which the fine features are narrowed.
const FINE_WIDTH: i64 = 48;
/// Dilations of the pyramid at output stride 16; twice as much at 8.
const DILATIONS: [i64; 3] = [6, 12, 18];
/// Training's auxiliary head, which inference does without.
const UNUSED: [&str; 1] = ["dsn."];

/// A DeepLabV3+ by its encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeepLabConfig {
    /// The encoder.
    pub depth: Depth,
    /// Resolution of the deep features.
    pub output_stride: OutputStride,
    /// Channels of the logits.
    pub classes: i64,
}

impl DeepLabConfig {
    /// The network of the paper for the 19 classes of Cityscapes, with output stride 8.
    pub fn cityscapes(depth: Depth) -> Self {
        Self { depth, output_stride: OutputStride::Eight, classes: 19 }
    }

    /// The name that the command line knows it by.
    pub fn name(&self) -> &'static str {
        match self.depth {
            Depth::ResNet50 => "deeplabv3plus-resnet50",
            Depth::ResNet101 => "deeplabv3plus-resnet101",
        }
    }

    /// Name and shape of every tensor that a checkpoint has to hold: parameters and the batch norms' running statistics.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when `classes` is out of range; [`Error::Torch`] when libtorch has no memory.
    pub fn parameters(&self) -> Result<BTreeMap<String, Vec<i64>>> {
        let mut parameters = Parameters::names_only();
        let execution = Execution { fold_batch_norm: false, ..Execution::default() };
        DeepLab::build(self, &mut parameters, execution, Device::Cpu)?;
        Ok(parameters.into_asked())
    }

    fn validate(&self) -> Result<()> {
        if (1..=255).contains(&self.classes) {
            return Ok(());
        }
        let given = self.classes.to_string();
        Err(Error::InvalidParameter { field: "classes", given, expected: "1 to 255" })
    }
}

/// The network for inference.
#[derive(Debug)]
pub struct DeepLab {
    encoder: ResNet,
    pooled: Convolution,
    pyramid: [Convolution; 4],
    narrow_deep: Convolution,
    narrow_fine: Convolution,
    decoder: [Convolution; 2],
    classifier: Convolution,
    execution: Execution,
}

impl DeepLab {
    /// Picture sides over logit sides.
    pub const LOGITS_STRIDE: usize = 4;

    /// Builds the network on `device` with the weights of `checkpoint`: float64, float32, float16 or bfloat16, converted to
    /// the precision of `execution`.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when `config` is out of range; [`Error::File`] that lists every parameter which is
    /// missing, unexpected or of another shape (the auxiliary head `dsn` and batch counters may be there); those of
    /// [`Checkpoint::read`]; [`Error::Torch`] when the device has no memory.
    pub fn load(
        config: &DeepLabConfig,
        checkpoint: &mut Checkpoint<'_>,
        execution: Execution,
        device: Device,
    ) -> Result<Self> {
        let mut parameters = Parameters::from(checkpoint);
        let network = tch::no_grad(|| Self::build(config, &mut parameters, execution, device))?;
        parameters.finish(config.name(), &UNUSED)?;
        Ok(network)
    }

    fn build(
        config: &DeepLabConfig,
        parameters: &mut Parameters<'_, '_>,
        execution: Execution,
        device: Device,
    ) -> Result<Self> {
        config.validate()?;
        let mut loader = Loader { parameters, execution, device };
        let factor = match config.output_stride {
            OutputStride::Eight => 2,
            OutputStride::Sixteen => 1,
        };
        let encoder = ResNet::load(&mut loader, config.depth, config.output_stride)?;
        let mut layer =
            |names: [&str; 2], channels, geometry| loader.convolution_norm(names, channels, geometry);
        let deep = [DEEP_CHANNELS, WIDTH];
        let [near, middle, far] = DILATIONS.map(|dilation| Geometry::square(1, factor * dilation));
        Ok(Self {
            encoder,
            pooled: layer(["aspp.img_conv.0", "aspp.img_conv.1"], deep, Geometry::POINT)?,
            pyramid: [
                layer(["aspp.features.0.0", "aspp.features.0.1"], deep, Geometry::POINT)?,
                layer(["aspp.features.1.0", "aspp.features.1.1"], deep, near)?,
                layer(["aspp.features.2.0", "aspp.features.2.1"], deep, middle)?,
                layer(["aspp.features.3.0", "aspp.features.3.1"], deep, far)?,
            ],
            narrow_deep: layer(["bot_aspp.0", "bot_aspp.1"], [5 * WIDTH, WIDTH], Geometry::POINT)?,
            narrow_fine: layer(["bot_fine.0", "bot_fine.1"], [FINE_CHANNELS, FINE_WIDTH], Geometry::POINT)?,
            decoder: [
                layer(["final1.0", "final1.1"], [FINE_WIDTH + WIDTH, WIDTH], Geometry::square(1, 1))?,
                layer(["final1.3", "final1.4"], [WIDTH, WIDTH], Geometry::square(1, 1))?,
            ],
            classifier: loader.classifier("final2.0", [WIDTH, config.classes])?,
            execution,
        })
    }

    /// How it is run.
    pub fn execution(&self) -> Execution {
        self.execution
    }

    /// Logits N x classes x H/4 x W/4 (rounded up) of a normalised picture N x 3 x H x W on the network's device.
    ///
    /// # Errors
    /// [`Error::Shape`] when `input` has another rank, channel count or element type; [`Error::Torch`] when libtorch fails,
    /// for want of memory for example.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let size = input.size();
        if !matches!(size[..], [n, 3, h, w] if n > 0 && h > 0 && w > 0) {
            return Err(Error::Shape {
                what: "the input of DeepLabV3+",
                given: format!("{size:?}"),
                expected: "[N, 3, H, W], none of them zero".to_owned(),
            });
        }
        let logits = tch::no_grad(|| self.logits(&self.execution.input().convert(input)?));
        logits.map_err(torch_error("run DeepLabV3+"))
    }

    fn logits(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let (fine, deep) = self.encoder.forward(input)?;
        let deep = self.narrow_deep.forward_relu(&self.pyramid(deep)?)?;
        let deep = upsample(&deep, &fine)?;
        // Fine features are narrowed last, so that they do not lie beside the pyramid's.
        let fine = self.narrow_fine.forward_relu(&fine)?;
        let mut features = Tensor::f_cat(&[fine, deep], 1)?;
        for layer in &self.decoder {
            features = layer.forward_relu(&features)?;
        }
        self.classifier.forward(&features)
    }

    fn pyramid(&self, deep: Tensor) -> Result<Tensor, TchError> {
        let mean = self.pooled.forward_relu(&deep.f_adaptive_avg_pool2d([1, 1])?)?;
        let mut branches = vec![upsample(&mean, &deep)?];
        for layer in &self.pyramid {
            branches.push(layer.forward_relu(&deep)?);
        }
        drop(deep);
        Tensor::f_cat(&branches, 1)
    }
}

/// `features` at the resolution of `like`.
fn upsample(features: &Tensor, like: &Tensor) -> Result<Tensor, TchError> {
    features.f_upsample_bilinear2d(&like.size()[2..], true, None, None)
}
