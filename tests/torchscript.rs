//! TorchScript modules as backbones: preprocessing by the sidecar, every kind of output, and all that can be wrong.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use sml::Error;
use sml::torch::{Backbone, TorchScriptBackbone};
use tch::{CModule, Device, Kind, Tensor};

const SIDECAR: &str = "channel_order = \"rgb\"\nscale = 0.5\nmean = [1.0, 2.0, 3.0]\nstd = [2.0, 4.0, 8.0]\n\
                       output_stride = 4\nalign_corners = false\nclass_names = [\"road\", \"car\", \"sky\"]\n";

/// A module whose three logits are the input averaged over 4 x 4 pixels, in `folder/net.pt`.
fn write_module(folder: &Path) -> PathBuf {
    let example = Tensor::zeros([1, 3, 8, 8], (Kind::Float, Device::Cpu));
    let mut average =
        |inputs: &[Tensor]| vec![inputs[0].avg_pool2d([4, 4], [4, 4], [0, 0], false, true, None)];
    let module = CModule::create_by_tracing("Net", "forward", &[example], &mut average).unwrap();
    let file = folder.join("net.pt");
    module.save(&file).unwrap();
    file
}

/// The same module, its returned expression replaced by `returned`, in which `{}` stands for the original one.
fn write_module_returning(folder: &Path, returned: &str, kind: &str) -> PathBuf {
    let file = write_module(folder);
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&file).unwrap()).unwrap();
    let mut rewritten = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let name = entry.name().unwrap().into_owned();
        if name.ends_with(".py") {
            let code = String::from_utf8(bytes).unwrap();
            let (before, expression) = code.split_once("return ").unwrap();
            let before = before.replace("-> Tensor", &format!("-> {kind}"));
            bytes = format!("{before}return {}\n", returned.replace("{}", expression.trim())).into_bytes();
        }
        rewritten.start_file(name, stored).unwrap();
        rewritten.write_all(&bytes).unwrap();
    }
    std::fs::write(&file, rewritten.finish().unwrap().into_inner()).unwrap();
    file
}

fn load(file: &Path, sidecar: &str) -> sml::Result<TorchScriptBackbone> {
    std::fs::write(file.with_extension("toml"), sidecar).unwrap();
    TorchScriptBackbone::from_file(file, Device::Cpu)
}

/// A picture of one colour.
fn plain(width: u32, height: u32) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb([10, 20, 40]))
}

fn first_values(logits: &Tensor) -> Vec<f64> {
    (0..3).map(|class| logits.double_value(&[0, class, 0, 0])).collect()
}

/// Loading fails with one line that holds each of `parts`.
fn assert_refused(result: sml::Result<TorchScriptBackbone>, parts: &[&str]) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

#[test]
fn the_sidecar_governs_the_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_module(folder.path());
    let network = load(&file, SIDECAR).unwrap();
    let input = network.preprocess(&plain(16, 8)).unwrap();
    assert_eq!(input.size(), [1, 3, 8, 16]);
    let logits = network.forward(&input).unwrap();
    assert_eq!(logits.size(), [1, 3, 2, 4]);
    // (10 * 0.5 - 1) / 2, (20 * 0.5 - 2) / 4, (40 * 0.5 - 3) / 8
    assert_eq!(first_values(&logits), [2.0, 2.0, 2.125]);
    assert_eq!((network.name(), network.output_stride(), network.align_corners()), ("net", 4, false));
    assert_eq!(network.class_names(), ["road", "car", "sky"]);
    assert_eq!(network.digest(), sml::torch::sha256_hex(&std::fs::read(&file).unwrap()));

    let network = load(&file, &SIDECAR.replace("rgb", "bgr")).unwrap();
    let logits = network.forward(&network.preprocess(&plain(16, 8)).unwrap()).unwrap();
    assert_eq!(first_values(&logits), [9.5, 2.0, 0.25]);
}

#[test]
fn pictures_are_brought_to_a_size_that_the_module_takes() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_module(folder.path());
    let size = |sidecar: &str| load(&file, sidecar).unwrap().preprocess(&plain(15, 9)).unwrap().size();
    assert_eq!(size(SIDECAR), [1, 3, 12, 16]);
    assert_eq!(size(&format!("input_multiple = 32\n{SIDECAR}")), [1, 3, 32, 32]);
    assert_eq!(size(&format!("input_size = {{ height = 8, width = 24 }}\n{SIDECAR}")), [1, 3, 8, 24]);
    let network = load(&file, SIDECAR).unwrap();
    let logits = network.forward(&network.preprocess(&plain(15, 9)).unwrap()).unwrap();
    assert_eq!(first_values(&logits), [2.0, 2.0, 2.125], "resampling changed a picture of one colour");
}

#[test]
fn logits_are_found_in_tuples_lists_and_dictionaries() {
    for (returned, kind) in [
        ("({}, torch.neg(input))", "Tuple[Tensor, Tensor]"),
        ("[{}, torch.neg(input)]", "List[Tensor]"),
        ("{\"aux\": torch.neg(input), \"out\": {}}", "Dict[str, Tensor]"),
        ("{\"logits\": {}}", "Dict[str, Tensor]"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let plain_code = write_module(folder.path());
        let argument = argument_name(&plain_code);
        let returned = returned.replace("input", &argument);
        let file = write_module_returning(folder.path(), &returned, kind);
        let network = load(&file, SIDECAR).unwrap();
        let logits = network.forward(&network.preprocess(&plain(16, 8)).unwrap()).unwrap();
        assert_eq!(first_values(&logits), [2.0, 2.0, 2.125], "{kind}");
    }
}

#[test]
fn the_sidecar_chooses_among_several_outputs() {
    let choose = |returned: &str, kind: &str, output: &str| {
        let folder = tempfile::tempdir().unwrap();
        let argument = argument_name(&write_module(folder.path()));
        let file = write_module_returning(folder.path(), &returned.replace("input", &argument), kind);
        let network = load(&file, &format!("output = {output}\n{SIDECAR}")).unwrap();
        network.forward(&network.preprocess(&plain(16, 8)).unwrap())
    };
    let pair = ("(torch.neg(input), {})", "Tuple[Tensor, Tensor]");
    let list = ("[torch.neg(input), {}]", "List[Tensor]");
    let dictionary = ("{\"out\": torch.neg(input), \"logits\": {}}", "Dict[str, Tensor]");
    for ((returned, kind), output) in [(pair, "1"), (list, "1"), (dictionary, "\"logits\"")] {
        assert_eq!(first_values(&choose(returned, kind, output).unwrap()), [2.0, 2.0, 2.125], "{kind}");
    }
    for ((returned, kind), output, part) in [
        (pair, "2", "a tuple or list of 2"),
        (pair, "\"logits\"", "a tuple"),
        (list, "7", "a list of 2 tensors"),
        (dictionary, "\"seg\"", "a dictionary with \"out\", \"logits\""),
        (dictionary, "0", "a dictionary"),
        (("{}", "Tensor"), "0", "a tensor"),
    ] {
        let error = choose(returned, kind, output).unwrap_err().to_string();
        for part in ["net.pt", "net.toml", part, &format!("output = {output}")] {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
}

#[test]
fn logits_at_full_resolution_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let example = Tensor::zeros([1, 3, 8, 8], (Kind::Float, Device::Cpu));
    let mut double = |inputs: &[Tensor]| vec![&inputs[0] * 2.0];
    let module = CModule::create_by_tracing("Net", "forward", &[example], &mut double).unwrap();
    let file = folder.path().join("net.pt");
    module.save(&file).unwrap();
    let network = load(&file, &SIDECAR.replace("output_stride = 4", "output_stride = 1")).unwrap();
    let logits = network.forward(&network.preprocess(&plain(15, 9)).unwrap()).unwrap();
    assert_eq!(logits.size(), [1, 3, 9, 15]);
    assert_eq!(first_values(&logits), [4.0, 4.0, 4.25]);
}

#[test]
fn the_sidecar_states_the_type_of_a_frozen_module() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_module(folder.path());
    for (precision, kind) in [("f16", Kind::Half), ("bf16", Kind::BFloat16), ("f32", Kind::Float)] {
        let network = load(&file, &format!("precision = \"{precision}\"\n{SIDECAR}")).unwrap();
        assert_eq!(network.input_format().precision.kind(), kind);
        let logits = network.forward(&network.preprocess(&plain(16, 8)).unwrap()).unwrap();
        assert_eq!((logits.kind(), first_values(&logits)), (kind, vec![2.0, 2.0, 2.125]));
    }
    assert_refused(load(&file, &format!("precision = \"f8\"\n{SIDECAR}")), &["net.toml", "line 1"]);
    let network = load(&file, SIDECAR).unwrap().with_channels_last(true);
    let logits = network.forward(&network.preprocess(&plain(16, 8)).unwrap()).unwrap();
    assert_eq!(first_values(&logits), [2.0, 2.0, 2.125]);
}

#[test]
fn warming_up_takes_any_size_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let network = load(&write_module(folder.path()), SIDECAR).unwrap();
    network.warm_up(sml::Size::new(8, 16)).unwrap();
    let logits = network.forward(&network.preprocess(&plain(16, 8)).unwrap()).unwrap();
    assert_eq!(first_values(&logits), [2.0, 2.0, 2.125]);
    assert!(network.warm_up(sml::Size::new(1, 1)).is_err());
}

/// The name that tracing gave to the module's input.
fn argument_name(file: &Path) -> String {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(file).unwrap()).unwrap();
    let name = archive
        .file_names()
        .map(|name| name.unwrap().into_owned())
        .find(|name| name.ends_with(".py"))
        .unwrap();
    let mut code = String::new();
    archive.by_name(&name).unwrap().read_to_string(&mut code).unwrap();
    let (_, after) = code.split_once("def forward(").unwrap();
    let arguments = after.split_once(')').unwrap().0;
    arguments.split(',').nth(1).unwrap().split(':').next().unwrap().trim().to_owned()
}

#[test]
fn a_class_count_that_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let network = load(&write_module(folder.path()), &SIDECAR.replace(", \"sky\"", "")).unwrap();
    let error = network.forward(&network.preprocess(&plain(16, 8)).unwrap()).unwrap_err().to_string();
    assert!(error.contains("3 channels") && error.contains("each of the 2 class names"), "{error}");
    assert!(error.contains("net.pt: ") && error.contains("net.toml"), "{error}");
}

#[test]
fn a_stride_that_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let network = load(&write_module(folder.path()), &SIDECAR.replace("stride = 4", "stride = 8")).unwrap();
    let error = network.forward(&network.preprocess(&plain(64, 64)).unwrap()).unwrap_err().to_string();
    assert!(error.contains("16x16 for an input of 64x64") && error.contains("1/8"), "{error}");
    assert!(error.contains("net.pt: ") && error.contains("net.toml"), "{error}");
}

#[test]
fn inputs_that_the_network_cannot_take_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let network = load(&write_module(folder.path()), SIDECAR).unwrap();
    for size in [&[1, 1, 8, 8][..], &[3, 8, 8], &[1, 3, 0, 8]] {
        let error = network.forward(&Tensor::zeros(size, (Kind::Float, Device::Cpu))).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error:?}");
    }
    // Too small for the module's 4 x 4 average: libtorch's own complaint, as one line.
    let error = network.forward(&Tensor::zeros([1, 3, 2, 2], (Kind::Float, Device::Cpu))).unwrap_err();
    assert!(matches!(error, Error::Torch { .. }), "{error:?}");
    let text = error.to_string();
    assert!(!text.contains('\n') && text.contains("too small"), "{text}");
    assert!(network.preprocess(&RgbImage::new(0, 5)).is_err());
}

#[test]
fn a_missing_sidecar_shows_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_module(folder.path());
    let parts =
        ["net.toml", "sidecar is missing", "channel_order", "mean", "std", "class_names", "input_size"];
    assert_refused(TorchScriptBackbone::from_file(&file, Device::Cpu), &parts);
}

#[test]
fn a_wrong_sidecar_is_refused_with_the_field_or_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_module(folder.path());
    let refused = |change: (&str, &str), part: &str| {
        assert!(SIDECAR.contains(change.0));
        assert_refused(load(&file, &SIDECAR.replace(change.0, change.1)), &["net.toml", part]);
    };
    refused(("scale = 0.5\n", "scale = 0.5\nsacle = 2\n"), "line 3: unknown field `sacle`");
    refused(("scale = 0.5\n", ""), "missing field `scale`");
    refused(("scale = 0.5", "scale = 0.0"), "scale is out of range");
    refused(("scale = 0.5", "scale = "), "line 2");
    refused(("\"rgb\"", "\"grb\""), "line 1: unknown variant `grb`");
    refused(("mean = [1.0, ", "mean = ["), "line 3");
    refused(("std = [2.0", "std = [0.0"), "std is out of range");
    refused(("output_stride = 4", "output_stride = 0"), "output_stride is out of range");
    refused(("[\"road\", \"car\", \"sky\"]", "[]"), "class_names is out of range");
    std::fs::write(file.with_extension("toml"), [0xff, 0xfe]).unwrap();
    assert_refused(TorchScriptBackbone::from_file(&file, Device::Cpu), &["net.toml", "UTF-8"]);
}

#[test]
fn files_that_are_not_torchscript_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_module(folder.path());
    let whole = std::fs::read(&file).unwrap();
    let contents: [&[u8]; 4] = [b"", b"not a module", &whole[..whole.len() / 2], &whole[..whole.len() - 1]];
    for content in contents {
        std::fs::write(&file, content).unwrap();
        let parts = ["net.pt", "not a TorchScript module", "torch.jit.save"];
        assert_refused(load(&file, SIDECAR), &parts);
    }
    let absent = TorchScriptBackbone::from_file(&folder.path().join("absent.pt"), Device::Cpu).unwrap_err();
    assert!(matches!(absent, Error::Io { .. }), "{absent:?}");
}
