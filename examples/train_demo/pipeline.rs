//! The trained network with the engine behind it, fed with one scene after another.

use std::path::Path;

use image::RgbImage;
use sml::torch::{Backbone, DabNetBackbone, DabNetConfig, HostAnomalyMap};
use sml::{Capacity, ClassStatistics, Device, Engine, LogitsShape, Params, Result};

use crate::splits::SIZE;

/// The network with the weights in `file`, on the CPU.
pub fn load_network(file: &Path) -> Result<DabNetBackbone> {
    DabNetBackbone::from_file(&DabNetConfig::demo(), file, tch::Device::Cpu)
}

/// Turns scenes into anomaly maps of their own size.
pub struct Pipeline<'a> {
    network: &'a DabNetBackbone,
    engine: Engine,
}

impl<'a> Pipeline<'a> {
    /// The network, and an engine with `params` but for the sampling grid, which is the network's.
    pub fn new(
        network: &'a DabNetBackbone,
        params: Params,
        statistics: Option<&ClassStatistics>,
    ) -> Result<Self> {
        let stride = network.output_stride();
        let classes = network.class_names().len();
        let shape = LogitsShape::new(1, classes, SIZE.height / stride, SIZE.width / stride)?;
        let params = Params { align_corners: network.align_corners(), ..params };
        let engine = Engine::new(Device::Cpu, params, statistics, Capacity::of(shape, SIZE))?;
        Ok(Self { network, engine })
    }

    /// Parameters of the engine.
    pub fn params(&self) -> Params {
        *self.engine.params()
    }

    /// The anomaly map of a picture of [`SIZE`].
    pub fn submit(&mut self, picture: &RgbImage) -> Result<HostAnomalyMap> {
        let logits = self.network.forward(&self.network.preprocess(picture)?)?;
        self.engine.submit_tensor(&logits, SIZE)?.to_host()
    }
}
