//! DeepLabV3+ with loaded weights as a backbone.

use std::path::Path;

use tch::{Device, Tensor};

use super::execution::{Execution, InputFormat, prepare_device};
use super::{
    Backbone, ChannelOrder, DeepLab, DeepLabConfig, Preprocessing, formula_weights, trained_parameters,
};
use crate::files::Checkpoint;
use crate::{Error, Result, cityscapes};

/// DeepLabV3+ for the 19 classes of Cityscapes.
#[derive(Debug)]
pub struct DeepLabBackbone {
    name: String,
    network: DeepLab,
    device: Device,
    class_names: Vec<String>,
    preprocessing: Preprocessing,
    digest: String,
    parameters: u64,
}

impl DeepLabBackbone {
    /// Builds the network on `device` with the weights in `file`, `.safetensors` or PyTorch's format. The file's stem
    /// becomes the backbone's name.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when `config` is not for 19 classes; those of [`Checkpoint::open`] and [`DeepLab::load`].
    pub fn from_file(
        config: &DeepLabConfig,
        file: &Path,
        execution: Execution,
        device: Device,
    ) -> Result<Self> {
        Self::from_checkpoint(config, &mut Checkpoint::open(file)?, execution, device)
    }

    /// The same network with [`formula_weights`]: its maps mean nothing, but it takes the time and memory of a trained one.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn with_formula_weights(
        config: &DeepLabConfig,
        execution: Execution,
        device: Device,
    ) -> Result<Self> {
        let bytes = formula_weights(&config.parameters()?);
        let mut checkpoint = Checkpoint::from_bytes(&bytes, Path::new("weights by formula"))?;
        Self::from_checkpoint(config, &mut checkpoint, execution, device)
    }

    /// What the paper's networks were trained with: red, green and blue in 0..=1, normalised by mean and standard deviation of
    /// ImageNet, at any size.
    pub fn training_preprocessing() -> Preprocessing {
        Preprocessing {
            input_size: None,
            multiple: 1,
            channel_order: ChannelOrder::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    fn from_checkpoint(
        config: &DeepLabConfig,
        checkpoint: &mut Checkpoint<'_>,
        execution: Execution,
        device: Device,
    ) -> Result<Self> {
        if config.classes != cityscapes::CLASSES.len() as i64 {
            return Err(Error::InvalidParameter {
                field: "classes",
                given: config.classes.to_string(),
                expected: "19, the classes of Cityscapes",
            });
        }
        prepare_device(device);
        let name = checkpoint.path().file_stem().unwrap_or(checkpoint.path().as_os_str());
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            network: DeepLab::load(config, checkpoint, execution, device)?,
            device,
            class_names: cityscapes::class_names(),
            preprocessing: Self::training_preprocessing(),
            parameters: trained_parameters(&config.parameters()?),
            digest: checkpoint.sha256()?,
        })
    }
}

impl Backbone for DeepLabBackbone {
    fn name(&self) -> &str {
        &self.name
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn output_stride(&self) -> usize {
        DeepLab::LOGITS_STRIDE
    }

    fn align_corners(&self) -> bool {
        true
    }

    fn device(&self) -> Device {
        self.device
    }

    fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    fn input_format(&self) -> InputFormat {
        self.network.execution().input()
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn parameters(&self) -> Option<u64> {
        Some(self.parameters)
    }

    fn logits(&self, input: &Tensor) -> Result<Tensor> {
        self.network.forward(input)
    }
}
