//! Dilated ResNets: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, with the strides of
//! the last stages given up for dilation (Chen et al., "Rethinking Atrous Convolution", 2017).
//!
//! Parameters carry the names of the published PyTorch weights: `layer0` is the stem, `layer1` to `layer4` are the stages.

use std::str::FromStr;

use tch::{TchError, Tensor};

use super::convolution::{Convolution, Geometry, Loader};
use crate::{Error, Result};

/// Channels of the picture.
const PICTURE: i64 = 3;
/// A bottleneck's output channels over its inner ones.
const EXPANSION: i64 = 4;
/// Inner channels of the four stages.
const WIDTHS: [i64; 4] = [64, 128, 256, 512];

/// Channels that the first stage gives.
pub(super) const FINE_CHANNELS: i64 = WIDTHS[0] * EXPANSION;
/// Channels that the last stage gives.
pub(super) const DEEP_CHANNELS: i64 = WIDTHS[3] * EXPANSION;

/// Depth of a ResNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// 50 layers, 3 + 4 + 6 + 3 bottlenecks; one 7 x 7 convolution in the stem.
    ResNet50,
    /// 101 layers, 3 + 4 + 23 + 3 bottlenecks; three 3 x 3 convolutions in the stem.
    ResNet101,
}

impl Depth {
    fn blocks(self) -> [usize; 4] {
        match self {
            Self::ResNet50 => [3, 4, 6, 3],
            Self::ResNet101 => [3, 4, 23, 3],
        }
    }
}

/// Input sides over the sides of the last stage's features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputStride {
    /// Stages 3 and 4 keep the resolution and dilate by 2 and 4.
    #[default]
    Eight,
    /// Stage 4 keeps the resolution and dilates by 2.
    Sixteen,
}

impl OutputStride {
    /// Stride and dilation of the four stages.
    fn stages(self) -> [(i64, i64); 4] {
        match self {
            Self::Eight => [(1, 1), (2, 1), (1, 2), (1, 4)],
            Self::Sixteen => [(1, 1), (2, 1), (2, 1), (1, 2)],
        }
    }

    /// The number.
    pub fn get(self) -> usize {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }
}

impl FromStr for OutputStride {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "8" => Ok(Self::Eight),
            "16" => Ok(Self::Sixteen),
            _ => Err(Error::InvalidParameter {
                field: "output stride",
                given: format!("{text:?}"),
                expected: "8 or 16",
            }),
        }
    }
}

/// A ResNet without its classifier.
#[derive(Debug)]
pub(super) struct ResNet {
    stem: Vec<Convolution>,
    stages: [Vec<Bottleneck>; 4],
}

impl ResNet {
    pub fn load(loader: &mut Loader<'_, '_, '_>, depth: Depth, stride: OutputStride) -> Result<Self> {
        let (stem, mut channels) = stem(loader, depth)?;
        let mut stages = [const { Vec::new() }; 4];
        let shapes = WIDTHS.into_iter().zip(depth.blocks()).zip(stride.stages());
        for (stage, ((width, blocks), (stride, dilation))) in shapes.enumerate() {
            for block in 0..blocks {
                let name = format!("layer{}.{block}", stage + 1);
                let stride = if block == 0 { stride } else { 1 };
                let geometry = Geometry::square(stride, dilation);
                stages[stage].push(Bottleneck::load(loader, &name, [channels, width], geometry, block == 0)?);
                channels = width * EXPANSION;
            }
        }
        Ok(Self { stem, stages })
    }

    /// Features of the first stage (1/4 of the input) and of the last.
    pub fn forward(&self, input: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let mut features = input.shallow_clone();
        for convolution in &self.stem {
            features = convolution.forward_relu(&features)?;
        }
        features = features.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        let [first, others @ ..] = &self.stages;
        let fine = through(first, features)?;
        let deep =
            others.iter().try_fold(fine.shallow_clone(), |features, stage| through(stage, features))?;
        Ok((fine, deep))
    }
}

/// The convolutions before the pooling, and the channels that they give.
fn stem(loader: &mut Loader<'_, '_, '_>, depth: Depth) -> Result<(Vec<Convolution>, i64)> {
    let shapes = match depth {
        Depth::ResNet50 => vec![([PICTURE, 64], Geometry { side: 7, stride: 2, dilation: 1 })],
        Depth::ResNet101 => vec![
            ([PICTURE, 64], Geometry::square(2, 1)),
            ([64, 64], Geometry::square(1, 1)),
            ([64, 128], Geometry::square(1, 1)),
        ],
    };
    let channels = shapes.last().map_or(PICTURE, |([_, output], _)| *output);
    // Convolution, batch norm and ReLU are numbered one after the other.
    let layers = shapes.into_iter().enumerate().map(|(layer, (shape, geometry))| {
        let names = [format!("layer0.{}", 3 * layer), format!("layer0.{}", 3 * layer + 1)];
        loader.convolution_norm([&names[0], &names[1]], shape, geometry)
    });
    Ok((layers.collect::<Result<_>>()?, channels))
}

fn through(stage: &[Bottleneck], features: Tensor) -> Result<Tensor, TchError> {
    stage.iter().try_fold(features, |features, block| block.forward(features))
}

/// 1 x 1 down, 3 x 3, 1 x 1 up, and the input added.
#[derive(Debug)]
struct Bottleneck {
    narrow: Convolution,
    square: Convolution,
    widen: Convolution,
    /// Brings the input to the output's shape, in the first block of a stage.
    shortcut: Option<Convolution>,
}

impl Bottleneck {
    fn load(
        loader: &mut Loader<'_, '_, '_>,
        name: &str,
        [input, width]: [i64; 2],
        geometry: Geometry,
        is_first: bool,
    ) -> Result<Self> {
        let mut layer = |convolution: &str, norm: &str, channels, geometry| {
            let names = [format!("{name}.{convolution}"), format!("{name}.{norm}")];
            loader.convolution_norm([&names[0], &names[1]], channels, geometry)
        };
        let output = width * EXPANSION;
        let strided = Geometry { stride: geometry.stride, ..Geometry::POINT };
        Ok(Self {
            narrow: layer("conv1", "bn1", [input, width], Geometry::POINT)?,
            square: layer("conv2", "bn2", [width, width], geometry)?,
            widen: layer("conv3", "bn3", [width, output], Geometry::POINT)?,
            shortcut: is_first
                .then(|| layer("downsample.0", "downsample.1", [input, output], strided))
                .transpose()?,
        })
    }

    fn forward(&self, input: Tensor) -> Result<Tensor, TchError> {
        let features = self.square.forward_relu(&self.narrow.forward_relu(&input)?)?;
        let mut features = self.widen.forward(&features)?;
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(&input)?,
            None => input,
        };
        features.f_add_(&shortcut)?.f_relu_()
    }
}
