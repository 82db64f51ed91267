//! `sml model`: the networks, and files of weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ModelArgs, Network};
use crate::cli::stdout;
use crate::files::{Checkpoint, write_safetensors, write_whole};
use crate::torch::{
    ChannelOrder, DabNet, DabNetConfig, DeepLab, DeepLabBackbone, DeepLabConfig, Depth, Preprocessing,
    convolution_settings, formula_weights, trained_parameters,
};
use crate::{Error, Result, cityscapes};

/// The networks that can be chosen, and what is in a file of weights
#[derive(Args)]
#[command(after_help = "Examples:
  sml model list
  sml model inspect best.pth
  sml model inspect --model deeplabv3plus-resnet101 --weights best.pth
  sml model convert best.pth -o best.safetensors")]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    List(ListArguments),
    Inspect(Box<InspectArguments>),
    Convert(ConvertArguments),
    Formula(FormulaArguments),
}

/// List the networks that --model knows by name
#[derive(Args)]
struct ListArguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Show what is in a file of weights, or what a network is
///
/// A FILE is described whatever network it belongs to: its format, its tensors, what else it holds. Without it the network
/// that --model and --weights choose is loaded, which proves that the weights are this network's, and described.
#[derive(Args)]
struct InspectArguments {
    /// A checkpoint: .safetensors, or .pth as torch.save writes it. Nothing in it is run
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    model: ModelArgs,
}

/// Convert a PyTorch checkpoint to .safetensors
///
/// Every parameter keeps its bits, its type and its name but for a wrapper's prefix (module.); an optimizer's state and
/// counters of epochs are left out. The new file appears when it is complete.
#[derive(Args)]
struct ConvertArguments {
    /// The checkpoint
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The new file
    #[arg(short, long, value_name = "FILE.safetensors")]
    output: PathBuf,
}

/// Write weights that a formula makes, to measure a network without its trained weights
///
/// Maps of such a network mean nothing; time and memory are those of a trained one.
#[derive(Args)]
struct FormulaArguments {
    /// The network
    #[arg(value_name = "NAME", value_parser = deeplab_name)]
    network: Depth,

    /// The new file
    #[arg(short, long, value_name = "FILE.safetensors")]
    output: PathBuf,
}

/// Parses the name of a network whose weights are not bundled.
fn deeplab_name(text: &str) -> Result<Depth> {
    match Network::of(text) {
        Ok(Network::DeepLab(depth)) => Ok(depth),
        _ => Err(Error::InvalidParameter {
            field: "network",
            given: format!("{text:?}"),
            expected: "deeplabv3plus-resnet101 or deeplabv3plus-resnet50",
        }),
    }
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file cannot be read or written, or is not what it should be.
    pub(in crate::cli) fn run(&self) -> Result<()> {
        match &self.action {
            Action::List(arguments) => list(arguments.json),
            Action::Inspect(arguments) => arguments.run(),
            Action::Convert(arguments) => convert(&arguments.file, &arguments.output),
            Action::Formula(arguments) => write_formula(arguments.network, &arguments.output),
        }
    }
}

/// What is known of a network before its weights are.
struct Listed {
    name: &'static str,
    weights: &'static str,
    parameters: u64,
    logits_stride: usize,
    output_strides: &'static [usize],
    align_corners: bool,
    preprocessing: Preprocessing,
}

impl Listed {
    fn of((name, network): (&'static str, Network)) -> Result<Option<Self>> {
        let dabnet = |weights, parameters| Self {
            name,
            weights,
            parameters,
            logits_stride: DabNet::OUTPUT_STRIDE,
            output_strides: &[8],
            align_corners: false,
            preprocessing: Preprocessing::dabnet(),
        };
        Ok(Some(match network {
            Network::Demo => dabnet("bundled", DabNetConfig::demo().parameters()?),
            Network::DabNet => dabnet("--weights", DabNetConfig::cityscapes().parameters()?),
            Network::DeepLab(depth) => Self {
                name,
                weights: "--weights",
                parameters: trained_parameters(&DeepLabConfig::cityscapes(depth).parameters()?),
                logits_stride: DeepLab::LOGITS_STRIDE,
                output_strides: &[8, 16],
                align_corners: true,
                preprocessing: DeepLabBackbone::training_preprocessing(),
            },
            Network::Module(_) => return Ok(None),
        }))
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "weights": self.weights,
            "parameters": self.parameters,
            "logits_stride": self.logits_stride,
            "output_strides": self.output_strides,
            "align_corners": self.align_corners,
            "preprocessing": preprocessing_json(&self.preprocessing),
            "class_names": cityscapes::class_names(),
        })
    }
}

fn list(json: bool) -> Result<()> {
    let mut networks = Vec::new();
    for named in Network::NAMED {
        networks.extend(Listed::of(named)?);
    }
    if json {
        let networks: Vec<Value> = networks.iter().map(Listed::json).collect();
        return stdout::print_json(&json!({ "networks": networks }));
    }
    let row = |cells: [&str; 6]| {
        let [name, parameters, weights, features, logits, input] = cells;
        format!("{name:<26}{parameters:>11}  {weights:<10}{features:<15}{logits:<8}{input}\n")
    };
    let mut text = row(["name", "parameters", "weights", "output stride", "logits", "input"]);
    for network in &networks {
        let strides: Vec<String> = network.output_strides.iter().map(ToString::to_string).collect();
        text += &row([
            network.name,
            &network.parameters.to_string(),
            network.weights,
            &strides.join(" or "),
            &format!("1/{}", network.logits_stride),
            &preprocessing_text(&network.preprocessing),
        ]);
    }
    text += &row(["FILE.pt", "", "its own", "its own", "any", "as its sidecar FILE.toml says"]);
    text += "All named networks have the 19 classes of Cityscapes.\n";
    stdout::print(&text)
}

fn preprocessing_json(preprocessing: &Preprocessing) -> Value {
    let size = preprocessing.input_size.map(|size| [size.height, size.width]);
    json!({
        "input_size": size,
        "multiple": preprocessing.multiple,
        "channel_order": preprocessing.channel_order,
        "scale": preprocessing.scale,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
    })
}

fn preprocessing_text(preprocessing: &Preprocessing) -> String {
    let Preprocessing { input_size, multiple, channel_order, scale, mean, std } = preprocessing;
    let order = match channel_order {
        ChannelOrder::Rgb => "RGB",
        ChannelOrder::Bgr => "BGR",
    };
    let size = match (input_size, multiple) {
        (Some(size), _) => format!("{} x {} pixels", size.height, size.width),
        (None, 0 | 1) => "any size".to_owned(),
        (None, multiple) => format!("sides of multiples of {multiple}"),
    };
    let scaled = if *scale == 1.0 { String::new() } else { format!(" * {scale:.6}") };
    format!("({order}{scaled} - {mean:?}) / {std:?}, {size}")
}

impl InspectArguments {
    fn run(&self) -> Result<()> {
        match &self.file {
            Some(file) => {
                self.check_file_alone()?;
                inspect_file(file, self.json)
            }
            None => inspect_network(&self.model, self.json),
        }
    }

    fn check_file_alone(&self) -> Result<()> {
        self.model.check_unused().map_err(|_| Error::InvalidParameter {
            field: "FILE",
            given: "given with options of a network".to_owned(),
            expected: "FILE alone, or --model NAME --weights FILE",
        })
    }
}

fn inspect_file(file: &Path, json: bool) -> Result<()> {
    let mut checkpoint = Checkpoint::open(file)?;
    let sha256 = checkpoint.sha256()?;
    let elements: u64 = checkpoint.tensors().iter().map(|tensor| tensor.elements() as u64).sum();
    if json {
        let tensor = |tensor: &crate::files::StoredTensor| json!({"name": tensor.name, "type": tensor.element.to_string(), "shape": tensor.shape});
        return stdout::print_json(&json!({
            "file": file.display().to_string(),
            "format": checkpoint.format().to_string(),
            "sha256": sha256,
            "prefix": checkpoint.prefix(),
            "left_out": checkpoint.left_out(),
            "elements": elements,
            "tensors": checkpoint.tensors().iter().map(tensor).collect::<Vec<_>>(),
        }));
    }
    let mut text = format!("format    {}\nsha256    {sha256}\n", checkpoint.format());
    if !checkpoint.prefix().is_empty() {
        text += &format!("prefix    {} (taken off every name)\n", checkpoint.prefix());
    }
    if !checkpoint.left_out().is_empty() {
        text += &format!("left out  {}\n", printable(&checkpoint.left_out().join(", ")));
    }
    text += &format!("tensors   {}, {elements} elements\n", checkpoint.tensors().len());
    for tensor in checkpoint.tensors() {
        text += &format!(
            "  {:<10} {:<20} {}\n",
            tensor.element,
            format!("{:?}", tensor.shape),
            printable(&tensor.name)
        );
    }
    stdout::print(&text)
}

/// Control characters escaped: names come out of a file.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn inspect_network(model: &ModelArgs, json: bool) -> Result<()> {
    let backbone = model.load()?;
    let format = backbone.input_format();
    let settings = convolution_settings(backbone.device(), format.precision);
    let output_stride = match Network::of(&model.model)? {
        Network::DeepLab(_) => Some(model.output_stride.unwrap_or_default().get()),
        _ => None,
    };
    if json {
        return stdout::print_json(&json!({
            "model": model.model,
            "name": backbone.name(),
            "sha256": backbone.digest(),
            "parameters": backbone.parameters(),
            "class_names": backbone.class_names(),
            "logits_stride": backbone.output_stride(),
            "output_stride": output_stride,
            "align_corners": backbone.align_corners(),
            "preprocessing": preprocessing_json(backbone.preprocessing()),
            "device": format!("{:?}", backbone.device()),
            "precision": format.precision,
            "channels_last": format.channels_last,
            "batch_norm_folded": output_stride.is_some() && !model.keep_batch_norm,
            "convolutions": settings,
        }));
    }
    let mut text = format!("model       {}\nname        {}\n", model.model, backbone.name());
    text += &format!("sha256      {}\n", backbone.digest());
    if let Some(parameters) = backbone.parameters() {
        text += &format!("parameters  {parameters}\n");
    }
    let corners = if backbone.align_corners() { "aligned" } else { "not aligned" };
    text += &format!("logits      1/{} of the input, corners {corners}\n", backbone.output_stride());
    if let Some(stride) = output_stride {
        let norms = if model.keep_batch_norm { "batch norms kept" } else { "batch norms folded" };
        text += &format!("features    1/{stride} of the input, {norms}\n");
    }
    text += &format!("input       {}\n", preprocessing_text(backbone.preprocessing()));
    text += &format!("computes    {settings}{}\n", if format.channels_last { ", channels last" } else { "" });
    text += &format!("classes     {}\n", backbone.class_names().join(", "));
    stdout::print(&text)
}

fn convert(file: &Path, output: &Path) -> Result<()> {
    check_ending(output)?;
    let mut checkpoint = Checkpoint::open(file)?;
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    let notes = BTreeMap::from([
        // What Python's readers of .safetensors expect of weights from PyTorch.
        ("format".to_owned(), "pt".to_owned()),
        ("source".to_owned(), name),
        ("source_sha256".to_owned(), checkpoint.sha256()?),
    ]);
    write_safetensors(output, &mut checkpoint, &notes)?;
    eprintln!("{} tensors -> {}", checkpoint.tensors().len(), output.display());
    if !checkpoint.left_out().is_empty() {
        eprintln!("left out: {}", printable(&checkpoint.left_out().join(", ")));
    }
    Ok(())
}

fn write_formula(network: Depth, output: &Path) -> Result<()> {
    check_ending(output)?;
    let config = DeepLabConfig::cityscapes(network);
    let bytes = formula_weights(&config.parameters()?);
    write_whole(output, |out| out.write_all(&bytes))?;
    eprintln!("weights by formula for {} -> {}", config.name(), output.display());
    Ok(())
}

/// The ending tells readers the format.
fn check_ending(output: &Path) -> Result<()> {
    if output.extension().is_some_and(|extension| extension == "safetensors") {
        return Ok(());
    }
    Err(Error::InvalidParameter {
        field: "--output",
        given: format!("{:?}", output.display().to_string()),
        expected: "a name that ends in .safetensors",
    })
}
