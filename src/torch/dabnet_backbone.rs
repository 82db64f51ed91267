//! DABNet with loaded weights as a backbone.

use std::path::Path;

use tch::nn::VarStore;
use tch::{Device, Tensor};

use super::execution::{InputFormat, prepare_device};
use super::{
    Backbone, DabNet, DabNetConfig, Preprocessing, load_checkpoint, torch_error, trained_parameters,
};
use crate::files::Checkpoint;
use crate::{Error, Result, cityscapes};

/// DABNet for the 19 classes of Cityscapes, in evaluation mode.
#[derive(Debug)]
pub struct DabNetBackbone {
    name: String,
    // Owns the variables that `network` shares.
    variables: VarStore,
    network: DabNet,
    class_names: Vec<String>,
    preprocessing: Preprocessing,
    input_format: InputFormat,
    digest: String,
}

impl DabNetBackbone {
    /// Builds the network on `device` with the weights in `bytes`, a whole checkpoint.
    ///
    /// `origin` names the bytes in errors; its file stem becomes the backbone's name.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when `config` is not for 19 classes or out of range; those of
    /// [`Checkpoint::from_bytes`] and [`load_checkpoint`]; [`Error::Torch`] when the device fails.
    pub fn from_bytes(config: &DabNetConfig, bytes: &[u8], origin: &Path, device: Device) -> Result<Self> {
        Self::from_checkpoint(config, &mut Checkpoint::from_bytes(bytes, origin)?, device)
    }

    /// As [`from_bytes`](Self::from_bytes), with the weights in `file`, `.safetensors` or PyTorch's format.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, and those of [`from_bytes`](Self::from_bytes).
    pub fn from_file(config: &DabNetConfig, file: &Path, device: Device) -> Result<Self> {
        Self::from_checkpoint(config, &mut Checkpoint::open(file)?, device)
    }

    fn from_checkpoint(
        config: &DabNetConfig,
        checkpoint: &mut Checkpoint<'_>,
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
        let mut variables = VarStore::new(device);
        let network = DabNet::new(&variables.root(), config)?;
        load_checkpoint(&variables, "dabnet", checkpoint)?;
        variables.freeze();
        let name = checkpoint.path().file_stem().unwrap_or(checkpoint.path().as_os_str());
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            variables,
            network,
            class_names: cityscapes::class_names(),
            preprocessing: Preprocessing::dabnet(),
            input_format: InputFormat::default(),
            digest: checkpoint.sha256()?,
        })
    }

    /// The same network computing in another element type, or with the channels of a pixel side by side.
    ///
    /// # Errors
    /// [`Error::Torch`] when the device has no memory.
    pub fn with_input_format(mut self, format: InputFormat) -> Result<Self> {
        let change = |mut variable: Tensor| variable.f_set_data(&format.convert_weight(&variable)?);
        let variables = self.variables.variables();
        tch::no_grad(|| variables.into_values().try_for_each(change))
            .map_err(torch_error("convert the weights of DABNet"))?;
        self.input_format = format;
        Ok(self)
    }
}

impl Backbone for DabNetBackbone {
    fn name(&self) -> &str {
        &self.name
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn output_stride(&self) -> usize {
        DabNet::OUTPUT_STRIDE
    }

    fn align_corners(&self) -> bool {
        false
    }

    fn device(&self) -> Device {
        self.variables.device()
    }

    fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    fn input_format(&self) -> InputFormat {
        self.input_format
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn parameters(&self) -> Option<u64> {
        let shapes = self.variables.variables().into_iter().map(|(name, variable)| (name, variable.size()));
        Some(trained_parameters(&shapes.collect()))
    }

    fn logits(&self, input: &Tensor) -> Result<Tensor> {
        self.network.forward(input, false)
    }
}
