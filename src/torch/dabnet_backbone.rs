//! DABNet with loaded weights as a backbone.

use std::path::Path;

use tch::nn::VarStore;
use tch::{Device, Tensor};

use super::{Backbone, DabNet, DabNetConfig, Preprocessing, load_weights, sha256_hex};
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
    digest: String,
}

impl DabNetBackbone {
    /// Builds the network on `device` with the weights in `bytes`, a whole `.safetensors` file.
    ///
    /// `origin` names the bytes in errors; its file stem becomes the backbone's name.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when `config` is not for 19 classes or out of range, [`Error::File`] as
    /// [`load_weights`] says, [`Error::Torch`] when the device fails.
    pub fn from_bytes(config: &DabNetConfig, bytes: &[u8], origin: &Path, device: Device) -> Result<Self> {
        if config.classes != cityscapes::CLASSES.len() as i64 {
            return Err(Error::InvalidParameter {
                field: "classes",
                given: config.classes.to_string(),
                expected: "19, the classes of Cityscapes",
            });
        }
        let mut variables = VarStore::new(device);
        let network = DabNet::new(&variables.root(), config)?;
        load_weights(&variables, bytes, origin)?;
        variables.freeze();
        Ok(Self {
            name: origin.file_stem().unwrap_or(origin.as_os_str()).to_string_lossy().into_owned(),
            variables,
            network,
            class_names: cityscapes::class_names(),
            preprocessing: Preprocessing::dabnet(),
            digest: sha256_hex(bytes),
        })
    }

    /// As [`from_bytes`](Self::from_bytes), with the bytes of `file`.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, and those of [`from_bytes`](Self::from_bytes).
    pub fn from_file(config: &DabNetConfig, file: &Path, device: Device) -> Result<Self> {
        let bytes = std::fs::read(file).map_err(|error| Error::io(file, "read", error))?;
        Self::from_bytes(config, &bytes, file, device)
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

    fn digest(&self) -> &str {
        &self.digest
    }

    fn logits(&self, input: &Tensor) -> Result<Tensor> {
        self.network.forward(input, false)
    }
}
