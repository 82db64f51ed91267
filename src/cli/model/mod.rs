//! Options that choose the network, and the network they choose; and `sml model`.

mod command;

use std::path::{Path, PathBuf};

use clap::Args;

pub(super) use command::Arguments;

use crate::torch::{
    Backbone, DabNetBackbone, DabNetConfig, DeepLabBackbone, DeepLabConfig, Depth, Execution, InputFormat,
    OutputStride, Precision, TorchScriptBackbone, choose_device,
};
use crate::{ClassStatistics, DeviceRequest, Error, Result, demo};

/// The bundled network.
const DEFAULT_MODEL: &str = "demo";

/// The network and how and where it runs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub struct ModelArgs {
    /// demo (bundled, trained on drawn scenes), dabnet, deeplabv3plus-resnet101 or deeplabv3plus-resnet50 (these with
    /// --weights), or a TorchScript FILE.pt with its sidecar FILE.toml; see `sml model list`
    #[arg(long, value_name = "NAME|FILE.pt", default_value = DEFAULT_MODEL)]
    pub model: String,

    /// Weights of a network that is chosen by name: .safetensors, or .pth as PyTorch's training saves them
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,

    /// Where the network runs, and the post-processing of its logits with it: auto, cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceRequest,

    /// Element type that the network computes in: f32 (on GPUs that have it, convolutions in TF32), f16 or bf16. A
    /// TorchScript module brings its own
    #[arg(long, value_name = "f32|f16|bf16")]
    pub precision: Option<Precision>,

    /// Let the channels of a pixel lie side by side in the network's features (NHWC), which tensor cores prefer
    #[arg(long)]
    pub channels_last: bool,

    /// Resolution of the deep features of deeplabv3plus: 1/8 or 1/16 of the picture's sides; 8 unless it is given. It has
    /// to be the one that the weights were trained with
    #[arg(long, value_name = "8|16")]
    pub output_stride: Option<OutputStride>,

    /// Leave the batch norms of deeplabv3plus in place instead of multiplying them into the convolutions before them
    #[arg(long)]
    pub keep_batch_norm: bool,
}

/// Statistics measured with the published DABNet weights, for those who use just these.
const DABNET_STATISTICS: &str = include_str!("../../../assets/dabnet_cityscapes_statistics.json");

/// What `--model` names.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Network {
    /// The bundled DABNet.
    Demo,
    /// DABNet with weights of one's own.
    DabNet,
    /// DeepLabV3+ of that encoder.
    DeepLab(Depth),
    /// A TorchScript module.
    Module(PathBuf),
}

impl Network {
    /// All that have a name.
    pub(super) const NAMED: [(&'static str, Self); 4] = [
        (DEFAULT_MODEL, Self::Demo),
        ("dabnet", Self::DabNet),
        ("deeplabv3plus-resnet101", Self::DeepLab(Depth::ResNet101)),
        ("deeplabv3plus-resnet50", Self::DeepLab(Depth::ResNet50)),
    ];

    fn of(text: &str) -> Result<Self> {
        if let Some((_, network)) = Self::NAMED.into_iter().find(|(name, _)| *name == text) {
            return Ok(network);
        }
        if [".pt", ".pth", ".ts"].iter().any(|ending| text.ends_with(ending)) {
            return Ok(Self::Module(text.into()));
        }
        Err(Error::InvalidParameter {
            field: "--model",
            given: format!("{text:?}"),
            expected: "demo, dabnet, deeplabv3plus-resnet101, deeplabv3plus-resnet50, or a TorchScript file ending in .pt",
        })
    }
}

impl ModelArgs {
    /// Loads the network.
    ///
    /// # Errors
    /// When the options contradict each other, the device cannot be used, or a file does not hold what it should.
    pub fn load(&self) -> Result<Box<dyn Backbone>> {
        let network = Network::of(&self.model)?;
        self.check_options(&network)?;
        let device = choose_device(self.device)?;
        let format =
            InputFormat { precision: self.precision.unwrap_or_default(), channels_last: self.channels_last };
        Ok(match network {
            Network::Demo => Box::new(demo::backbone(device)?.with_input_format(format)?),
            Network::DabNet => {
                let dabnet = DabNetBackbone::from_file(&DabNetConfig::cityscapes(), self.weights()?, device)?;
                Box::new(dabnet.with_input_format(format)?)
            }
            Network::DeepLab(depth) => {
                let config = self.deeplab(depth);
                Box::new(DeepLabBackbone::from_file(&config, self.weights()?, self.execution(), device)?)
            }
            Network::Module(file) => Box::new(
                TorchScriptBackbone::from_file(&file, device)?.with_channels_last(self.channels_last),
            ),
        })
    }

    /// The network that `--output-stride` makes of an encoder.
    pub(super) fn deeplab(&self, depth: Depth) -> DeepLabConfig {
        let output_stride = self.output_stride.unwrap_or_default();
        DeepLabConfig { output_stride, ..DeepLabConfig::cityscapes(depth) }
    }

    fn execution(&self) -> Execution {
        Execution {
            precision: self.precision.unwrap_or_default(),
            channels_last: self.channels_last,
            fold_batch_norm: !self.keep_batch_norm,
        }
    }

    fn weights(&self) -> Result<&Path> {
        self.weights.as_deref().ok_or_else(|| Error::InvalidParameter {
            field: "--weights",
            given: "missing".to_owned(),
            expected: "the .safetensors or .pth file with the weights of the network",
        })
    }

    /// As [`load`](Self::load), where a deeplabv3plus without weights gets [formula
    /// weights](DeepLabBackbone::with_formula_weights): for measurements, since its maps mean nothing.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_or_fill(&self) -> Result<Box<dyn Backbone>> {
        match Network::of(&self.model)? {
            network @ Network::DeepLab(depth) if self.weights.is_none() => {
                self.check_options(&network)?;
                let (config, device) = (self.deeplab(depth), choose_device(self.device)?);
                eprintln!(
                    "weights by formula: the network takes the time of a trained one, its maps mean nothing"
                );
                Ok(Box::new(DeepLabBackbone::with_formula_weights(&config, self.execution(), device)?))
            }
            _ => self.load(),
        }
    }

    /// Refuses options that say nothing about this network.
    fn check_options(&self, network: &Network) -> Result<()> {
        let named = matches!(network, Network::DabNet | Network::DeepLab(_));
        let is_deeplab = matches!(network, Network::DeepLab(_));
        let is_module = matches!(network, Network::Module(_));
        let rules = [
            (
                self.weights.is_some() && !named,
                "--weights",
                "to come with --model dabnet or deeplabv3plus-… only: the others bring their own",
            ),
            (self.precision.is_some() && is_module, "--precision", "a module exported in that type instead"),
            (
                self.output_stride.is_some() && !is_deeplab,
                "--output-stride",
                "to come with --model deeplabv3plus-… only",
            ),
            (
                self.keep_batch_norm && !is_deeplab,
                "--keep-batch-norm",
                "to come with --model deeplabv3plus-… only: the others keep theirs anyway",
            ),
        ];
        match rules.into_iter().find(|(broken, ..)| *broken) {
            Some((_, field, expected)) => {
                let given = format!("given with --model {}", self.model);
                Err(Error::InvalidParameter { field, given, expected })
            }
            None => Ok(()),
        }
    }

    /// For commands that read saved logits instead of running a network.
    ///
    /// # Errors
    /// When an option chooses a network all the same.
    pub fn check_unused(&self) -> Result<()> {
        let how = self.precision.is_some() || self.output_stride.is_some() || self.channels_last;
        let which = self.model != DEFAULT_MODEL || self.weights.is_some() || self.keep_batch_norm;
        if !how && !which && self.device == DeviceRequest::Auto {
            return Ok(());
        }
        Err(Error::InvalidParameter {
            field: "an option of the network (--model, --weights, --device, ...)",
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
