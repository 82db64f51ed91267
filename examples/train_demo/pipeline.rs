//! The trained network with the engine behind it, fed with one scene after another.

use std::path::Path;

use image::RgbImage;
use sml::torch::{Backbone, DabNetBackbone, DabNetConfig, torch_error};
use sml::{
    AnomalyMap, Capacity, ClassStatistics, Device, Engine, Layout, Logits, LogitsShape, Params, Result,
};

use crate::splits::SIZE;

/// The network with the weights in `file`, on the CPU.
pub fn load_network(file: &Path) -> Result<DabNetBackbone> {
    DabNetBackbone::from_file(&DabNetConfig::demo(), file, tch::Device::Cpu)
}

/// Turns scenes into anomaly maps of their own size.
pub struct Pipeline<'a> {
    network: &'a DabNetBackbone,
    shape: LogitsShape,
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
        Ok(Self { network, shape, engine })
    }

    /// Parameters of the engine.
    pub fn params(&self) -> Params {
        *self.engine.params()
    }

    /// The anomaly map of a picture of [`SIZE`].
    pub fn submit(&mut self, picture: &RgbImage) -> Result<AnomalyMap<'_>> {
        let logits = self.network.forward(&self.network.preprocess(picture)?)?;
        let logits = logits.f_flatten(0, -1).and_then(Vec::<f32>::try_from);
        let logits = logits.map_err(torch_error("read the logits"))?;
        self.engine.submit(&Logits::packed(&logits[..], self.shape, Layout::Nchw)?, SIZE)
    }
}
