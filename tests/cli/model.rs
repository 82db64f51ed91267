//! `sml model`: the networks, and files of weights; and the options that choose a network.

use std::path::PathBuf;

use crate::pictures::*;
use crate::program::{Finished, Folder};

fn fixture(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/checkpoints");
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_list_states_what_each_network_needs() {
    let folder = Folder::new();
    let list = folder.sml(&["model", "list", "--json"]).succeeded().json();
    let networks = list["networks"].as_array().unwrap();
    let of = |name: &str| networks.iter().find(|network| network["name"] == name).unwrap();
    let deeplab = of("deeplabv3plus-resnet101");
    assert_eq!(deeplab["parameters"], 59_467_571);
    assert_eq!((&deeplab["logits_stride"], &deeplab["align_corners"]), (&4.into(), &true.into()));
    assert_eq!(deeplab["preprocessing"]["mean"][0], 0.485);
    assert_eq!(deeplab["class_names"].as_array().unwrap().len(), 19);
    assert_eq!((&of("dabnet")["parameters"], &of("demo")["weights"]), (&756_643.into(), &"bundled".into()));
    let text = folder.sml(&["model", "list"]).succeeded();
    for name in ["demo", "dabnet", "deeplabv3plus-resnet101", "deeplabv3plus-resnet50", "FILE.pt", "8 or 16"]
    {
        assert!(text.stdout().contains(name), "{}", text.stdout());
    }
}

#[test]
fn any_checkpoint_can_be_looked_into() {
    let folder = Folder::new();
    let found = folder.sml(&["model", "inspect", &fixture("trained.pth"), "--json"]).succeeded().json();
    assert_eq!((&found["format"], &found["prefix"]), (&"PyTorch, zip".into(), &"module.".into()));
    assert_eq!(found["tensors"].as_array().unwrap().len(), 7);
    assert_eq!(found["tensors"][1]["name"], "conv.weight");
    assert_eq!(
        (&found["tensors"][1]["type"], &found["tensors"][1]["shape"][0]),
        (&"float32".into(), &4.into())
    );
    assert_eq!(found["left_out"][0], "optimizer");
    let text = folder.sml(&["model", "inspect", &fixture("trained-legacy.pth")]).succeeded();
    assert!(text.stdout().contains("PyTorch, legacy") && text.stdout().contains("[4, 3, 3, 3]"));

    let inspect = |name: &str| folder.sml(&["model", "inspect", &fixture(name)]);
    inspect("hostile.pth").failed(&["hostile.pth", "posix.system"]);
    inspect("whole-module.pth").failed(&["__main__.Network", "torch.save(model.state_dict()"]);
    inspect("absent.pth").failed(&["absent.pth", "cannot read"]);
    let both = ["model", "inspect", &fixture("trained.pth"), "--model", "dabnet"];
    folder.sml(&both).refused(&["FILE", "given with options of a network"]);
}

#[test]
fn a_network_is_described_once_its_weights_fit() {
    let folder = Folder::new();
    let found = folder.sml(&["model", "inspect", "--json", "--device", "cpu", "--channels-last"]);
    let found = found.succeeded().json();
    assert_eq!((&found["parameters"], &found["logits_stride"]), (&196_307.into(), &8.into()));
    assert_eq!((&found["precision"], &found["channels_last"]), (&"f32".into(), &true.into()));
    assert_eq!(found["sha256"].as_str().unwrap().len(), 64);
    let text = folder.sml(&["model", "inspect", "--device", "cpu", "--precision", "bf16"]).succeeded();
    assert!(text.stdout().contains("bf16 on the CPU"), "{}", text.stdout());

    let unfit = |network: &str| {
        let arguments = ["model", "inspect", "--model", network, "--weights", &fixture("trained.pth")];
        folder.sml(&arguments)
    };
    unfit("deeplabv3plus-resnet50").failed(&[
        "trained.pth",
        "layer0.0.weight [64, 3, 7, 7]",
        "unexpected (conv.bias",
    ]);
    unfit("dabnet").failed(&["not those of dabnet", "classifier.0.conv.weight", "unexpected (conv.bias"]);
}

#[test]
fn a_converted_checkpoint_holds_the_same_tensors() {
    let folder = Folder::new();
    let convert = |from: &str, to: &str| folder.sml(&["model", "convert", &fixture(from), "-o", to]);
    convert("trained.pth", "w.safetensors").succeeded();
    let inspect = |file: &str| folder.sml(&["model", "inspect", file, "--json"]).succeeded().json();
    let (before, after) = (inspect(&fixture("trained.pth")), inspect("w.safetensors"));
    assert_eq!((&after["format"], &after["tensors"]), (&"safetensors".into(), &before["tensors"]));
    assert_eq!(after["left_out"].as_array().unwrap().len(), 0);

    convert("trained.pth", "w.pth").refused(&["--output", ".safetensors"]);
    convert("hostile.pth", "hostile.safetensors").failed(&["posix.system"]);
    convert("trained.pth", "absent/w.safetensors").failed(&["absent", "does not exist"]);
    assert_eq!(folder.names("."), ["w.safetensors".to_owned()].into());
}

fn run(folder: &Folder, options: &[&str]) -> Finished {
    let run = folder.sml(&[&["run", "street.png", "-o", "out", "--device", "cpu"], options].concat());
    folder.assert_nothing_in("out");
    run
}

#[test]
fn options_that_say_nothing_about_a_network_are_refused() {
    let folder = Folder::new();
    folder.write("street.png", png(&picture(1, 32, 32)));
    run(&folder, &["--output-stride", "16"]).refused(&["--output-stride", "--model demo", "deeplabv3plus"]);
    run(&folder, &["--keep-batch-norm"]).refused(&["--keep-batch-norm", "--model demo", "deeplabv3plus"]);
    run(&folder, &["--model", "net.pt", "--precision", "f16"]).refused(&["--precision", "--model net.pt"]);
    run(&folder, &["--model", "deeplabv3plus-resnet101"]).refused(&["--weights", "missing", ".pth"]);
    run(&folder, &["--precision", "fp16"]).misused(&["--precision", "f32, f16 or bf16"]);
    run(&folder, &["--output-stride", "32"]).misused(&["--output-stride", "8 or 16"]);
    let formula = ["model", "formula", "demo", "-o", "w.safetensors"];
    folder.sml(&formula).misused(&["deeplabv3plus-resnet101 or deeplabv3plus-resnet50"]);
}

#[test]
fn deeplab_runs_with_weights_by_formula() {
    let folder = Folder::new();
    folder.write("street.png", png(&picture(1, 97, 65)));
    let formula = ["model", "formula", "deeplabv3plus-resnet50", "-o", "w.safetensors"];
    folder.sml(&formula).succeeded();
    let model = ["--model", "deeplabv3plus-resnet50", "--weights", "w.safetensors", "--device", "cpu"];
    for options in
        [&["--output-stride", "16"][..], &["--keep-batch-norm", "--precision", "bf16", "--channels-last"]]
    {
        let run = ["run", "street.png", "-o", "out", "--score", "max_logit"];
        folder.sml(&[&run, &model[..], options].concat()).succeeded();
        assert_eq!(folder.names("out").len(), 5);
    }
    let found = folder.sml(&[&["model", "inspect", "--json"], &model[..]].concat()).succeeded().json();
    assert_eq!((&found["output_stride"], &found["batch_norm_folded"]), (&8.into(), &true.into()));
    assert_eq!(found["parameters"], 40_351_667);
}
