//! Files that a PyTorch on this machine writes now: checkpoints and modules.
//!
//! `SML_PYTHON` names the Python, else it is `python3`. Where that has no PyTorch the tests say so and are skipped, unless
//! `SML_REQUIRE_PYTHON=1`; `make python-env` prepares one.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod data;

use std::path::Path;
use std::process::Command;

use image::{Rgb, RgbImage};
use sml::files::Checkpoint;
use sml::torch::{Backbone, DabNetBackbone, DabNetConfig, TorchScriptBackbone};
use tch::{Device, Kind, Tensor};

/// A Python that can import torch, or `None` and a message.
fn python() -> Option<String> {
    let python = std::env::var("SML_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&python).args(["-c", "import torch; print(torch.__version__)"]).output();
    let problem = match output {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    };
    let required = std::env::var_os("SML_REQUIRE_PYTHON").is_some_and(|value| value == "1");
    assert!(!required, "{python} cannot import torch ({problem}) and SML_REQUIRE_PYTHON=1");
    println!("skipped: {python} cannot import torch ({problem}); set SML_PYTHON to one that can");
    None
}

fn run(python: &str, program: &str, folder: &Path) {
    // TorchScript reads the source of what it compiles.
    std::fs::write(folder.join("program.py"), program).unwrap();
    let output = Command::new(python).arg("program.py").current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn checkpoints_written_now_are_those_in_the_repository() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let fixtures = data::repository().join("tests/checkpoints");
    let program = fixtures.join("write.py");
    let output = Command::new(python).arg(program).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in [
        "trained.pth",
        "trained-legacy.pth",
        "tensors.pth",
        "tensors-legacy.pth",
        "model-key.pth",
        "options.pth",
        "options-legacy.pth",
        "options-4.pth",
        "options-5.pth",
    ] {
        let mut now = Checkpoint::open(&folder.path().join(name)).unwrap();
        let mut then = Checkpoint::open(&fixtures.join(name)).unwrap();
        assert_eq!((now.prefix(), now.left_out()), (then.prefix(), then.left_out()), "{name}");
        assert_eq!(now.tensors().len(), then.tensors().len(), "{name}");
        for index in 0..now.tensors().len() {
            let (a, b) = (&now.tensors()[index], &then.tensors()[index]);
            assert_eq!((&a.name, a.element, &a.shape), (&b.name, b.element, &b.shape), "{name}");
            // The parameters behind the key "model" are random.
            if name != "model-key.pth" {
                assert_eq!(now.read(index).unwrap(), then.read(index).unwrap(), "{name}");
            }
        }
    }
    for name in [
        "hostile.pth",
        "hostile-legacy.pth",
        "hostile-options.pth",
        "whole-module.pth",
        "no-tensors.pth",
        "expanded.pth",
    ] {
        assert!(Checkpoint::open(&folder.path().join(name)).is_err(), "{name}");
    }
}

/// Saves the bundled weights as a training script would, in both formats, float32 and halved.
const SAVE_DEMO: &str = r#"
import json, struct, sys
import torch
data = open("demo.safetensors", "rb").read()
length, = struct.unpack("<Q", data[:8])
header = json.loads(data[8:8 + length])
state = {}
for name, entry in header.items():
    if name != "__metadata__":
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        state["module." + name] = torch.frombuffer(bytearray(data[start:end]), dtype=torch.float32).reshape(entry["shape"])
for name in [name for name in state if name.endswith("running_mean")]:
    state[name.replace("running_mean", "num_batches_tracked")] = torch.tensor(12)
optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
content = {"state_dict": state, "optimizer": optimizer.state_dict(), "epoch": 3}
torch.save(content, "zip.pth")
torch.save(content, "legacy.pth", _use_new_zipfile_serialization=False)
torch.save({name: value.double() for name, value in state.items()}, "double.pth")
"#;

#[test]
fn a_network_runs_with_weights_that_pytorch_saved() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let bundled = data::repository().join("assets/demo/demo.safetensors");
    std::fs::copy(&bundled, folder.path().join("demo.safetensors")).unwrap();
    run(&python, SAVE_DEMO, folder.path());
    let input = Tensor::randn([1, 3, 64, 128], (Kind::Float, Device::Cpu));
    let logits = |file: &Path| {
        let network = DabNetBackbone::from_file(&DabNetConfig::demo(), file, Device::Cpu).unwrap();
        network.forward(&input).unwrap()
    };
    let expected = logits(&bundled);
    for file in ["zip.pth", "legacy.pth", "double.pth"] {
        assert!(logits(&folder.path().join(file)).equal(&expected), "{file} gives other logits");
    }
}

/// A small network with everything that modules bring: a dictionary, half precision, frozen constants.
const MODULES: &str = r#"
import struct
import torch
class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, 3, stride=4, padding=1)
        self.norm = torch.nn.BatchNorm2d(5)
    def forward(self, picture):
        features = self.norm(self.conv(picture))
        return {"aux": -features, "out": features * 2}
torch.manual_seed(1)
network = Network().eval()
scripted = torch.jit.script(network)
scripted.save("plain.pt")
torch.jit.freeze(scripted).save("frozen.pt")
example = (torch.arange(3 * 8 * 12) % 7 / 255).reshape(1, 3, 8, 12).float()
with torch.no_grad():
    out = network(example)["out"]
torch.jit.script(network.to(torch.bfloat16)).save("half.pt")
torch.jit.freeze(torch.jit.script(network)).save("frozen-half.pt")
torch.jit.script(network.double()).save("double.pt")
torch.save(network.state_dict(), "weights.pt")
with open("expected.bin", "wb") as file:
    file.write(struct.pack(f"<{out.numel()}f", *out.flatten().tolist()))
"#;

const SIDECAR: &str = "channel_order = \"rgb\"\nscale = 0.00392156862745098\nmean = [0.0, 0.0, 0.0]\n\
                       std = [1.0, 1.0, 1.0]\noutput_stride = 4\nalign_corners = false\noutput = \"out\"\n\
                       class_names = [\"a\", \"b\", \"c\", \"d\", \"e\"]\n";

#[test]
fn modules_exported_now_give_pythons_logits() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    run(&python, MODULES, folder.path());
    let expected = std::fs::read(folder.path().join("expected.bin")).unwrap();
    let expected: Vec<f32> = expected.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let expected = Tensor::from_slice(&expected).view([1, 5, 2, 3]);
    // Plane by plane in Python, pixel by pixel here.
    let picture = RgbImage::from_fn(12, 8, |x, y| {
        let value = |channel: u32| ((channel * 96 + y * 12 + x) % 7) as u8;
        Rgb([value(0), value(1), value(2)])
    });
    for (module, kind, tolerance) in
        [("plain", Kind::Float, 1e-5), ("frozen", Kind::Float, 1e-5), ("half", Kind::BFloat16, 0.05)]
    {
        let file = folder.path().join(format!("{module}.pt"));
        std::fs::write(file.with_extension("toml"), SIDECAR).unwrap();
        let network = TorchScriptBackbone::from_file(&file, Device::Cpu).unwrap();
        assert_eq!(network.parameters().is_some(), module != "frozen");
        let logits = network.forward(&network.preprocess(&picture).unwrap()).unwrap();
        assert_eq!((logits.kind(), logits.size()), (kind, vec![1, 5, 2, 3]), "{module}");
        let difference = (logits.to_kind(Kind::Float) - &expected).abs().max().double_value(&[]);
        assert!(difference <= tolerance, "{module}: {difference}");
    }

    let file = folder.path().join("half.pt");
    std::fs::write(file.with_extension("toml"), format!("precision = \"f32\"\n{SIDECAR}")).unwrap();
    let error = TorchScriptBackbone::from_file(&file, Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("half.pt") && error.contains("half.toml") && error.contains("bf16"), "{error}");
    let refused = |module: &str, sidecar: &str| {
        let file = folder.path().join(module);
        std::fs::write(file.with_extension("toml"), sidecar).unwrap();
        let network = TorchScriptBackbone::from_file(&file, Device::Cpu);
        network.and_then(|network| network.forward(&network.preprocess(&picture)?)).unwrap_err().to_string()
    };
    let error = refused("double.pt", SIDECAR);
    assert!(error.contains("double.pt") && error.contains("Double") && error.contains(".float()"), "{error}");
    let error = refused("weights.pt", SIDECAR);
    assert!(error.contains("weights without code") && error.contains("--weights"), "{error}");
    let error = refused("frozen-half.pt", SIDECAR);
    assert!(error.contains("precision = \"f16\""), "{error}");
    let error = refused("plain.pt", &SIDECAR.replace("\"out\"", "-1"));
    assert!(error.contains("line 7: output is neither a key"), "{error}");
    // A module is no checkpoint.
    let error = Checkpoint::open(&file).unwrap_err().to_string();
    assert!(error.contains("is a TorchScript module"), "{error}");
}
