//! The bundled default: a narrow DABNet trained by `examples/train_demo` on drawn scenes, its class statistics and a few
//! test scenes with objects that the training has never seen. All of it is synthetic; see assets/demo/README.md.

use std::path::Path;

use tch::Device;

use crate::Result;
use crate::torch::{DabNetBackbone, DabNetConfig};

/// The weights, as a .safetensors file.
const WEIGHTS: &[u8] = include_bytes!("../assets/demo/demo.safetensors");

/// Class statistics of the network, with thresholds, as JSON.
pub const STATISTICS: &str = include_str!("../assets/demo/statistics.json");

/// A test scene with its labels, each the bytes of a PNG file.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Name, also of the files made from it.
    pub name: &'static str,
    /// The picture, RGB.
    pub picture: &'static [u8],
    /// Train ids of the normal world; 255 where an unexpected object is.
    pub labels: &'static [u8],
    /// 1 where an unexpected object is, 0 elsewhere, 255 where neither counts.
    pub unexpected: &'static [u8],
}

macro_rules! scenes {
    ($($name:literal),*) => {
        [$(Scene {
            name: $name,
            picture: include_bytes!(concat!("../assets/demo/scenes/", $name, ".png")),
            labels: include_bytes!(concat!("../assets/demo/scenes/", $name, "_labels.png")),
            unexpected: include_bytes!(concat!("../assets/demo/scenes/", $name, "_unexpected.png")),
        }),*]
    };
}

/// The test scenes.
pub const SCENES: [Scene; 10] = scenes!("00", "01", "02", "03", "04", "05", "06", "07", "08", "09");

/// The network with its weights on `device`.
///
/// # Errors
/// When libtorch or the device fails.
pub fn backbone(device: Device) -> Result<DabNetBackbone> {
    DabNetBackbone::from_bytes(&DabNetConfig::demo(), WEIGHTS, Path::new("demo.safetensors"), device)
}
