//! Networks and devices that cannot be used: how the program says so, and that nothing is left behind.

use crate::arrays::statistics;
use crate::pictures::*;
use crate::program::{Finished, Folder};
use crate::torchscript::{SIDECAR, identity, write_module};

/// A folder with a picture, statistics for 19 classes, and a module of three classes.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("street.png", png(&picture(1, 16, 16)));
    folder.write("stats.json", statistics(19).to_json());
    write_module(&folder, identity);
    folder
}

/// `sml run` here with these options; nothing may be left in its output folder.
fn run(folder: &Folder, options: &[&str]) -> Finished {
    let run = folder.sml(&[&["run", "street.png", "--stats", "stats.json", "-o", "out"], options].concat());
    folder.assert_nothing_in("out");
    run
}

#[test]
fn a_model_that_nobody_knows() {
    run(&folder(), &["--model", "resnet"]).refused(&["--model", "\"resnet\"", "expected demo, dabnet"]);
}

#[test]
fn weights_belong_to_dabnet() {
    let folder = folder();
    run(&folder, &["--model", "dabnet"]).refused(&["--weights", "missing", ".safetensors"]);
    run(&folder, &["--weights", "w.safetensors"]).refused(&[
        "--weights",
        "--model demo",
        "--model dabnet or deeplabv3plus-… only",
    ]);
    run(&folder, &["--model", "net.pt", "--weights", "w.safetensors"]).refused(&[
        "--weights",
        "--model net.pt",
        "--model dabnet or deeplabv3plus-… only",
    ]);
    let dabnet = |weights: &str| run(&folder, &["--model", "dabnet", "--weights", weights]);
    dabnet("absent.safetensors").failed(&["absent.safetensors", "cannot read"]);
    folder.write("words.safetensors", "these are words, no tensors");
    dabnet("words.safetensors").failed(&["words.safetensors", "expected"]);
    let one = crate::arrays::random_logits::<f32>(1, [1, 3, 3, 3]);
    folder.write("one.safetensors", crate::arrays::to_safetensors("one", &one));
    dabnet("one.safetensors").failed(&["one.safetensors", "expected"]);
}

#[test]
fn a_torchscript_file_that_is_none() {
    let folder = folder();
    let module = folder.read("net.pt");
    for bytes in [&b"these are words"[..], b"", &module[..module.len() / 2]] {
        folder.write("net.pt", bytes);
        run(&folder, &["--model", "net.pt"]).failed(&[
            "net.pt",
            "not a TorchScript module",
            "expected a file written by torch.jit.save",
        ]);
    }
    std::fs::remove_file(folder.path("net.pt")).unwrap();
    run(&folder, &["--model", "net.pt"]).failed(&["net.pt", "cannot read"]);
}

#[test]
fn a_sidecar_that_is_missing_or_wrong() {
    let folder = folder();
    std::fs::remove_file(folder.path("net.toml")).unwrap();
    run(&folder, &["--model", "net.pt"]).failed(&["net.toml", "sidecar is missing", "channel_order"]);
    for (sidecar, problem) in [
        (SIDECAR.replace("scale", "skale"), "skale"),
        (SIDECAR.replace("output_stride = 4", "output_stride = 0"), "output_stride is out of range"),
        (SIDECAR.replace("\"rgb\"", "\"rbg\""), "line 1"),
        (SIDECAR.replace("align_corners = false\n", ""), "align_corners"),
        ("= =".to_owned(), "line 1"),
    ] {
        folder.write("net.toml", sidecar);
        run(&folder, &["--model", "net.pt"]).failed(&["net.toml", problem, "expected"]);
    }
}

#[test]
fn a_sidecar_that_does_not_fit_its_module() {
    let folder = folder();
    folder.write("net.toml", SIDECAR.replace(", \"blue\"", ""));
    run(&folder, &["--model", "net.pt"])
        .failed(&["3 channels", "expected one for each of the 2 class names"]);
    folder.write("net.toml", SIDECAR.replace("output_stride = 4", "output_stride = 16"));
    run(&folder, &["--model", "net.pt"]).failed(&["size of the backbone's output", "expected 1/16"]);
}

#[test]
fn statistics_that_do_not_fit_the_network() {
    let folder = folder();
    run(&folder, &["--model", "net.pt"]).failed(&["stats.json", "19 classes", "expected 3"]);
    let run = folder.sml(&["run", "street.png", "--model", "net.pt", "-o", "out"]);
    run.failed(&["score sml needs class statistics", "choose another score"]);
    folder.assert_nothing_in("out");
}

#[test]
fn devices_that_are_not_there() {
    let folder = folder();
    run(&folder, &["--device", "tpu"]).misused(&["--device <DEVICE>", "tpu", "cuda:N"]);
    run(&folder, &["--device", "cuda:999"]).failed(&["device cuda:999"]);
    let doctor = folder.sml(&["doctor", "--json", "--device", "cpu"]).succeeded().json();
    let gpus = &doctor["facts"]["cuda"]["driver"]["present"]["gpus"];
    if gpus.as_array().is_some_and(|gpus| !gpus.is_empty()) {
        println!("skipped: this machine has a GPU, so --device cuda:0 is no error");
        return;
    }
    run(&folder, &["--device", "cuda:0"]).failed(&["device cuda:0"]);
    let demo = folder.sml(&["demo", "--device", "cuda:0", "-o", "out"]);
    demo.failed(&["device cuda:0"]);
    let logits = folder.sml(&["logits", "street.png", "--device", "cuda:0", "-o", "logits.npy"]);
    logits.failed(&["device cuda:0"]);
    assert!(!folder.path("logits.npy").exists());
}

#[test]
fn pictures_that_are_none() {
    let folder = folder();
    let run = |input: &str| {
        let run = folder.sml(&["run", input, "--stats", "stats.json", "--device", "cpu", "-o", "out"]);
        folder.assert_nothing_in("out");
        run
    };
    let jpeg = encoded(&picture(2, 32, 32), image::ImageFormat::Jpeg);
    let webp = encoded(&picture(2, 32, 32), image::ImageFormat::WebP);
    folder.write("cut.jpg", &jpeg[..jpeg.len() - 40]);
    folder.write("cut.webp", &webp[..webp.len() / 2]);
    let street = folder.read("street.png");
    folder.write("cut.png", &street[..street.len() - 20]);
    folder.write("empty.png", "");
    folder.write("words.png", "these are words");
    for name in ["cut.jpg", "cut.webp", "cut.png", "empty.png", "words.png"] {
        run(name).failed(&[name, "expected a whole PNG, JPEG or WebP picture"]);
    }
    run("absent.png").failed(&["absent.png", "cannot read"]);
    run("absent/*.png").failed(&["absent/*.png", "the pattern holds no pictures"]);
    run("a[.png").failed(&["a[.png", "is no pattern"]);
    std::fs::create_dir(folder.path("empty")).unwrap();
    run("empty").failed(&["empty", "the folder holds no pictures"]);
    folder.sml(&["run", "-o", "out"]).misused(&["<IMAGE|DIR|GLOB>..."]);
}
