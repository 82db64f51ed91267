//! Options that choose the network, and the network they choose.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::torch::{Backbone, DabNetBackbone, DabNetConfig, TorchScriptBackbone, choose_device};
use crate::{ClassStatistics, DeviceRequest, Error, Result, demo};

/// The bundled network.
const DEFAULT_MODEL: &str = "demo";

/// The network and where it runs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub struct ModelArgs {
    /// demo (bundled, trained on drawn scenes), dabnet (with --weights), or a TorchScript FILE.pt with its sidecar FILE.toml
    #[arg(long, value_name = "demo|dabnet|FILE.pt", default_value = DEFAULT_MODEL)]
    pub model: String,

    /// Weights of dabnet, as .safetensors
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,

    /// Where the network runs, and the post-processing of its logits with it: auto, cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceRequest,
}

/// Statistics measured with the published DABNet weights, for those who use just these.
const DABNET_STATISTICS: &str = include_str!("../../assets/dabnet_cityscapes_statistics.json");

impl ModelArgs {
    /// Loads the network.
    ///
    /// # Errors
    /// When the options contradict each other, the device cannot be used, or a file does not hold what it should.
    pub fn load(&self) -> Result<Box<dyn Backbone>> {
        let weights = |expected| match &self.weights {
            Some(weights) => Ok(weights),
            None => {
                Err(Error::InvalidParameter { field: "--weights", given: "missing".to_owned(), expected })
            }
        };
        if self.model != "dabnet" && self.weights.is_some() {
            return Err(Error::InvalidParameter {
                field: "--weights",
                given: format!("given with --model {}", self.model),
                expected: "to come with --model dabnet only: the others bring their own",
            });
        }
        let device = choose_device(self.device)?;
        match self.model.as_str() {
            "demo" => Ok(Box::new(demo::backbone(device)?)),
            "dabnet" => {
                let weights = weights("the .safetensors file with the weights of dabnet")?;
                Ok(Box::new(DabNetBackbone::from_file(&DabNetConfig::cityscapes(), weights, device)?))
            }
            file if file.ends_with(".pt") || file.ends_with(".pth") || file.ends_with(".ts") => {
                Ok(Box::new(TorchScriptBackbone::from_file(Path::new(file), device)?))
            }
            other => Err(Error::InvalidParameter {
                field: "--model",
                given: format!("{other:?}"),
                expected: "demo, dabnet, or a TorchScript file ending in .pt",
            }),
        }
    }

    /// For commands that read saved logits instead of running a network.
    ///
    /// # Errors
    /// When an option chooses a network all the same.
    pub fn check_unused(&self) -> Result<()> {
        if self.model == DEFAULT_MODEL && self.weights.is_none() && self.device == DeviceRequest::Auto {
            return Ok(());
        }
        Err(Error::InvalidParameter {
            field: "--model, --weights or --device",
            given: "given with saved logits".to_owned(),
            expected: "to come with pictures, which need a network",
        })
    }

    /// The statistics in `file`, or else those that are bundled for exactly these weights, if any are.
    ///
    /// # Errors
    /// When `file` cannot be read or does not hold statistics.
    pub fn statistics(
        &self,
        file: Option<&Path>,
        backbone: &dyn Backbone,
    ) -> Result<Option<ClassStatistics>> {
        if let Some(file) = file {
            return ClassStatistics::read(file).map(Some);
        }
        for bundled in [demo::STATISTICS, DABNET_STATISTICS] {
            let statistics = ClassStatistics::from_json(bundled)?;
            if statistics.provenance().model_sha256.as_deref() == Some(backbone.digest()) {
                return Ok(Some(statistics));
            }
        }
        Ok(None)
    }
}
