//! Several engines on the same logits: every row of an evaluation from one pass over the network.

use crate::anomaly_map::AnomalyMap;
use crate::{
    Capacity, ClassStatistics, Device, Engine, Error, Logits, LogitsShape, Params, Result, Size, Warning,
};

use super::Setting;

/// Engines that are kept from image to image. A sweep with more settings builds the others anew each time, because each takes
/// memory for its results.
const MOST_KEPT: usize = 16;

/// What the engines made of one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScoreMaps {
    /// Anomaly score of each pixel, row by row; one map a setting.
    pub scores: Vec<Vec<f32>>,
    /// Predicted class of each pixel.
    pub prediction: Vec<u8>,
    /// Pixels with a logit that is NaN or infinite.
    pub non_finite: u64,
}

/// One engine a setting; they grow with the images.
pub struct Engines {
    params: Vec<Params>,
    statistics: Option<ClassStatistics>,
    kept: Vec<Option<Engine>>,
    warnings: Vec<Warning>,
}

impl Engines {
    /// Engines for these settings; none is built before the first image tells its size.
    ///
    /// # Errors
    /// [`Error::StatisticsNeeded`] when a setting needs statistics and none are given.
    pub fn new(settings: &[Setting], statistics: Option<ClassStatistics>) -> Result<Self> {
        let needing = settings.iter().find(|setting| setting.params.score.needs_statistics());
        if let Some(setting) = needing.filter(|_| statistics.is_none()) {
            return Err(Error::StatisticsNeeded { score: setting.params.score.to_string() });
        }
        Ok(Self {
            params: settings.iter().map(|setting| setting.params).collect(),
            statistics,
            kept: settings.iter().map(|_| None).collect(),
            warnings: Vec::new(),
        })
    }

    /// What the construction of the engines found that a person should know, each thing once.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Runs every setting on the logits of one image, upsampled to `size`.
    ///
    /// # Errors
    /// As [`Engine::new`] and [`Engine::submit`].
    pub fn submit(&mut self, logits: &Logits<'_>, size: Size) -> Result<ScoreMaps> {
        self.each(Device::Cpu, logits.shape(), size, |engine, maps| {
            maps.push(engine.submit(logits, size)?);
            Ok(())
        })
    }

    /// As [`Engines::submit`], on a tensor 1 x C x h x w where it lies.
    ///
    /// # Errors
    /// As [`Engine::new`] and [`Engine::submit_tensor`].
    #[cfg(feature = "torch")]
    pub fn submit_tensor(&mut self, logits: &tch::Tensor, size: Size) -> Result<ScoreMaps> {
        let dimensions: Vec<usize> = logits.size().iter().map(|&n| n as usize).collect();
        let [1, classes, height, width] = dimensions[..] else {
            return Err(Error::Shape {
                what: "logits tensor",
                given: format!("{dimensions:?}"),
                expected: "4 dimensions (1, C, h, w)".to_owned(),
            });
        };
        let shape = LogitsShape::new(1, classes, height, width)?;
        let on_host;
        let (device, logits) = match logits.device() {
            tch::Device::Cpu => (Device::Cpu, logits),
            #[cfg(feature = "cuda")]
            tch::Device::Cuda(ordinal) => (Device::Cuda(ordinal), logits),
            // A build without an engine for this device.
            _ => {
                let moved = logits.f_to_device(tch::Device::Cpu);
                on_host = moved.map_err(crate::torch::torch_error("bring the logits to the host"))?;
                (Device::Cpu, &on_host)
            }
        };
        self.each(device, shape, size, |engine, maps| {
            maps.push(engine.submit_tensor(logits, size)?.to_host()?.view());
            Ok(())
        })
    }

    fn each(
        &mut self,
        device: Device,
        shape: LogitsShape,
        size: Size,
        submit: impl Fn(&mut Engine, &mut ScoreMaps) -> Result<()>,
    ) -> Result<ScoreMaps> {
        let mut maps = ScoreMaps::default();
        for (number, params) in self.params.iter().enumerate() {
            let mut engine = match self.kept[number].take().filter(|engine| fits(engine, device, shape, size))
            {
                Some(engine) => engine,
                None => {
                    let engine =
                        Engine::new(device, *params, self.statistics.as_ref(), Capacity::of(shape, size))?;
                    for warning in engine.warnings() {
                        if !self.warnings.contains(warning) {
                            self.warnings.push(warning.clone());
                        }
                    }
                    engine
                }
            };
            submit(&mut engine, &mut maps)?;
            if number < MOST_KEPT {
                self.kept[number] = Some(engine);
            }
        }
        Ok(maps)
    }
}

fn fits(engine: &Engine, device: Device, shape: LogitsShape, size: Size) -> bool {
    engine.device() == device && engine.check(shape, size).is_ok()
}

impl ScoreMaps {
    /// Adds the next setting's map. Prediction and count are the same for all.
    fn push(&mut self, map: AnomalyMap<'_>) {
        if self.scores.is_empty() {
            self.prediction = map.prediction.iter().copied().collect();
            self.non_finite = map.non_finite.iter().sum();
        }
        self.scores.push(map.score.iter().copied().collect());
    }
}
