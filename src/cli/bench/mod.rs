//! `sml bench`: what the post-processing costs on this machine, alone or behind a network.
//!
//! Inputs are drawn scenes (`engine_alone`) or the bundled pictures (`whole_frames`), several in turn. The first frame, which
//! allocates, compiles and wakes threads, is told apart; frames to warm up are not measured. Memory for the measurements is
//! there before the first one.

mod compare;
mod engine_alone;
mod machine;
mod peers;
mod report;
mod table;
#[cfg(feature = "torch")]
mod whole_frames;

use std::fmt;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::method::{ElementTypeArg, LayoutArg};
use super::stdout;
#[cfg(not(all(feature = "torch", feature = "cuda")))]
use crate::DeviceRequest;
use crate::{Device, Error, LogitsShape, Result, Size};
use engine_alone::Case;
use report::Report;

/// The name that chooses no network.
#[cfg(feature = "torch")]
const NO_NETWORK: &str = "none";

/// Measure what the post-processing costs on this machine
///
/// Without a network the engine alone is measured, on drawn logits: smooth regions, rough borders, noise. With --backbone
/// whole frames are: a picture in, the network, the anomaly map out.
///
/// On the CPU all times are of the host's monotonic clock. On a GPU the stages of the engine and the parts of a whole frame are
/// timed by the GPU, between marks in the stream, which keeps graphs from being used; "all" is the host's time from the
/// call until the result is complete. GB/s count the bytes that have to be read and written at least, at the median
/// latency; the limit to compare them with is a sum over the same logits, in the same run.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  sml bench
  sml bench --shape 1x19x512x1024 --from 4 --dtype f16 --frames 1000
  sml bench --backbone deeplabv3plus-resnet101 --shape 1024x2048 --frames 5
  sml bench --backbone network.pt --device cuda:0 --json
  sml bench --peers --shape 1x19x512x1024
  sml bench compare before.json after.json --fail-above 5%"
)]
#[cfg_attr(
    feature = "torch",
    command(
        mut_arg("model", |arg| arg
            .visible_alias("backbone")
            .default_value(NO_NETWORK)
            .help("Measure whole frames with this network: demo, dabnet (with --weights), deeplabv3plus-resnet101 or \
                   deeplabv3plus-resnet50 (weights by formula without --weights: the network takes as long), or a \
                   TorchScript FILE.pt; none measures the engine alone")),
        mut_arg("device", |arg| arg.help("Where to measure: auto, cpu or cuda:N"))
    )
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,

    /// Shape of the result: images, classes, height, width; with --backbone the size HxW alone will do [default:
    /// 1x19x1024x2048]
    #[arg(long, value_name = "NxCxHxW")]
    shape: Option<ResultArg>,

    /// Engine alone: pixels of the result for each row and column of the logits, which are upsampled [default: 1]
    #[arg(long, value_name = "1|2|4|8|16", value_parser = divisor)]
    from: Option<usize>,

    /// Engine alone: element type of the logits, f32, f16 or bf16 [default: f32]
    #[arg(long, value_name = "TYPE", value_enum, hide_possible_values = true)]
    dtype: Option<ElementTypeArg>,

    /// Engine alone: memory order of the logits [default: nchw]
    #[arg(long, value_enum)]
    layout: Option<LayoutArg>,

    /// Frames to measure [default: 100, or 10 with a network]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    frames: Option<u32>,

    /// Frames before them that are not measured, besides the first [default: 10, or 2 with a network]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    warmup: Option<u32>,

    #[command(flatten)]
    peers: peers::PeersArgs,

    /// Print one JSON object: schema 1, with results[] of stage, shape, dtype, from, latency_us, bytes, gb_per_s and
    /// read_gb_per_s
    #[arg(long)]
    json: bool,

    #[cfg(feature = "torch")]
    #[command(flatten)]
    model: super::model::ModelArgs,

    /// Where to measure: auto or cpu; GPUs need a build with libtorch
    #[cfg(not(feature = "torch"))]
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceRequest,
}

/// What else than measuring is done.
#[derive(Subcommand)]
enum Action {
    Compare(compare::Arguments),
}

/// How many frames run.
#[derive(Clone, Copy)]
struct Frames {
    measured: usize,
    warmup: usize,
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When options contradict each other, the device or the network cannot be used, or memory is missing.
    pub(super) fn run(&self) -> Result<()> {
        if let Some(Action::Compare(arguments)) = &self.action {
            return arguments.run();
        }
        if let Some(peers) = &self.peers.peers {
            return peers::run(&self.beside(peers)?);
        }
        let report = self.measure()?;
        if self.json { stdout::print_json(&report) } else { stdout::print(&report.to_text()) }
    }

    #[cfg(feature = "torch")]
    fn measure(&self) -> Result<Report> {
        if self.model.model == NO_NETWORK {
            self.refuse_network_options()?;
            let device = match crate::torch::choose_device(self.model.device)? {
                #[cfg(feature = "cuda")]
                tch::Device::Cuda(ordinal) => Device::Cuda(ordinal),
                #[cfg(not(feature = "cuda"))]
                tch::Device::Cuda(_) if self.model.device != DeviceRequest::Auto => {
                    return Err(no_gpus(self.model.device));
                }
                _ => Device::Cpu,
            };
            return self.case()?.run(device, self.frames(100, 10));
        }
        self.refuse_logits_options()?;
        let shape = self.shape.unwrap_or_default();
        if shape.batch.is_some_and(|batch| batch != 1) {
            return Err(Error::InvalidParameter {
                field: "--shape",
                given: "a batch of several pictures with --backbone".to_owned(),
                expected: "whole frames, one at a time: 1xCxHxW or HxW",
            });
        }
        whole_frames::run(&self.model, shape.size, shape.classes, self.frames(10, 2))
    }

    #[cfg(not(feature = "torch"))]
    fn measure(&self) -> Result<Report> {
        if let DeviceRequest::Cuda(_) = self.device {
            return Err(no_gpus(self.device));
        }
        self.case()?.run(Device::Cpu, self.frames(100, 10))
    }

    /// What `--peers` is to measure.
    fn beside(&self, peers: &[peers::Peer]) -> Result<peers::Request> {
        let from = self.from.map_or(vec![1, 4], |from| vec![from]);
        let ResultArg { batch, classes, size } = self.shape.unwrap_or_default();
        let result = ResultShape { batch: batch.unwrap_or(1), classes: classes.unwrap_or(19), size };
        if let Some(from) = from.iter().find(|&from| size.height % from != 0 || size.width % from != 0) {
            return Err(Error::InvalidParameter {
                field: "--shape",
                given: format!("{size} from 1/{from}"),
                expected: "a height and a width that --from divides",
            });
        }
        Ok(peers::Request {
            peers: peers.to_vec(),
            result,
            element_type: self.dtype.unwrap_or(ElementTypeArg::Float32).into(),
            from,
            turns: self.frames.map(|frames| frames as usize),
            json: self.json,
        })
    }

    fn frames(&self, measured: u32, warmup: u32) -> Frames {
        Frames {
            measured: self.frames.unwrap_or(measured) as usize,
            warmup: self.warmup.unwrap_or(warmup) as usize,
        }
    }

    fn case(&self) -> Result<Case> {
        let from = self.from.unwrap_or(1);
        let ResultArg { batch, classes, size } = self.shape.unwrap_or_default();
        let result = ResultShape { batch: batch.unwrap_or(1), classes: classes.unwrap_or(19), size };
        if size.height % from != 0 || size.width % from != 0 {
            return Err(Error::InvalidParameter {
                field: "--shape",
                given: format!("{size} with --from {from}"),
                expected: "a height and a width that --from divides",
            });
        }
        let element_type = self.dtype.unwrap_or(ElementTypeArg::Float32).into();
        Ok(Case { result, element_type, layout: self.layout.unwrap_or_default().into(), from })
    }

    /// The engine alone has no use for a network's options.
    #[cfg(feature = "torch")]
    fn refuse_network_options(&self) -> Result<()> {
        let model = &self.model;
        let given = [
            (model.weights.is_some(), "--weights"),
            (model.precision.is_some(), "--precision"),
            (model.channels_last, "--channels-last"),
            (model.output_stride.is_some(), "--output-stride"),
            (model.keep_batch_norm, "--keep-batch-norm"),
        ];
        refuse(&given, "given without a network", "to come with --backbone")
    }

    /// A network makes its own logits.
    #[cfg(feature = "torch")]
    fn refuse_logits_options(&self) -> Result<()> {
        let given = [
            (self.from.is_some(), "--from"),
            (self.dtype.is_some(), "--dtype"),
            (self.layout.is_some(), "--layout"),
        ];
        refuse(&given, "given with --backbone", "the engine alone: a network makes its own logits")
    }
}

#[cfg(feature = "torch")]
fn refuse(options: &[(bool, &'static str)], given: &str, expected: &'static str) -> Result<()> {
    match options.iter().find(|(is_given, _)| *is_given) {
        Some((_, field)) => Err(Error::InvalidParameter { field, given: given.to_owned(), expected }),
        None => Ok(()),
    }
}

#[cfg(not(all(feature = "torch", feature = "cuda")))]
fn no_gpus(request: DeviceRequest) -> Error {
    Error::Device {
        device: request.to_string(),
        problem: "this build of sml measures on the CPU only".to_owned(),
        remedy: "use --device cpu, or build sml with its features torch and cuda".to_owned(),
    }
}

/// Parses `--from`.
fn divisor(text: &str) -> Result<usize> {
    text.parse().ok().filter(|divisor| [1, 2, 4, 8, 16].contains(divisor)).ok_or_else(|| {
        Error::InvalidParameter { field: "from", given: format!("{text:?}"), expected: "1, 2, 4, 8 or 16" }
    })
}

/// Shape of a result, and the classes that it tells apart.
#[derive(Clone, Copy)]
struct ResultShape {
    batch: usize,
    classes: usize,
    size: Size,
}

impl fmt::Display for ResultShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.batch, self.classes, self.size)
    }
}

/// `NxCxHxW` or `HxW`.
#[derive(Clone, Copy)]
struct ResultArg {
    batch: Option<usize>,
    classes: Option<usize>,
    size: Size,
}

impl Default for ResultArg {
    /// A picture of Cityscapes.
    fn default() -> Self {
        Self { batch: None, classes: None, size: Size::new(1024, 2048) }
    }
}

impl FromStr for ResultArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::InvalidParameter {
            field: "shape",
            given: format!("{text:?}"),
            expected: "IMAGESxCLASSESxHEIGHTxWIDTH such as 1x19x1024x2048 with at most 255 classes, or HEIGHTxWIDTH",
        };
        let numbers: Vec<usize> =
            text.split('x').map(str::parse).collect::<std::result::Result<_, _>>().map_err(|_| invalid())?;
        let (batch, classes, size) = match numbers[..] {
            [height, width] => (None, None, Size::new(height, width)),
            [batch, classes, height, width] => (Some(batch), Some(classes), Size::new(height, width)),
            _ => return Err(invalid()),
        };
        // Pictures and seeds of scenes are counted in fewer bits than shapes.
        let counts = LogitsShape::new(batch.unwrap_or(1), classes.unwrap_or(1), size.height, size.width);
        if counts.is_err() || size.height.max(size.width) >= 1 << 20 || batch.is_some_and(|n| n >= 1 << 12) {
            return Err(invalid());
        }
        Ok(Self { batch, classes, size })
    }
}
