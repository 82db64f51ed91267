//! `sml logits`: the network alone.

use ndarray::Array4;
use sml::torch::Backbone;

use crate::arrays::*;
use crate::pictures::*;
use crate::program::Folder;
use crate::torchscript::{identity, write_module};

/// A file of logits, which must be float32.
fn read_logits(folder: &Folder, name: &str) -> Array4<f32> {
    let (shape, descr, elements) = read_npy(&folder.read(name));
    assert_eq!(descr, "<f4");
    Array4::from_shape_vec(<[usize; 4]>::try_from(shape).unwrap(), elements).unwrap()
}

#[test]
fn a_picture_gives_logits_at_the_networks_own_resolution() {
    let folder = Folder::new();
    let street = picture(1, 64, 40);
    folder.write("street.png", png(&street));
    let run = folder.sml(&["logits", "street.png", "--device", "cpu", "-o", "logits.npy"]).succeeded();
    assert_eq!(run.stdout(), "");
    run.assert_told(&["[1, 19, 5, 8] -> logits.npy"]);
    let got = read_logits(&folder, "logits.npy");
    assert_eq!(got.shape(), [1, 19, 5, 8]);

    let network = sml::demo::backbone(tch::Device::Cpu).unwrap();
    let want = network.forward(&network.preprocess(&street).unwrap()).unwrap();
    let want: Vec<f32> = want.contiguous().view(-1).try_into().unwrap();
    let difference = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-3, "off by {difference}");
}

#[test]
fn standard_input_is_a_picture_too() {
    let folder = Folder::new();
    write_module(&folder, identity);
    let street = png(&picture(2, 16, 8));
    folder.write("street.png", &street);
    folder.sml(&["logits", "street.png", "--model", "net.pt", "-o", "file.npy"]).succeeded();
    folder.sml_reading(&["logits", "-", "--model", "net.pt", "-o", "stdin.npy"], &street).succeeded();
    assert_eq!(folder.read("file.npy"), folder.read("stdin.npy"));
}

#[test]
fn an_array_is_the_normalised_input() {
    let folder = Folder::new();
    write_module(&folder, identity);
    // Constant within each window of 4 x 4, so that the logits are the input's own numbers.
    let input = Array4::from_shape_fn((2, 3, 8, 12), |(n, c, y, x)| {
        (n * 100 + c * 10 + (y / 4) * 3 + x / 4) as f32 / 8.0
    });
    folder.write("input.npy", to_npy(&input));
    folder
        .sml(&["logits", "input.npy", "--model", "net.pt", "--device", "cpu", "-o", "logits.npy"])
        .succeeded();
    let want = input.slice(ndarray::s![.., .., ..;4, ..;4]).to_owned();
    assert_eq!(read_logits(&folder, "logits.npy"), want);
    folder.write("half.npy", to_npy(&input.mapv(half::f16::from_f32)));
    folder.sml(&["logits", "half.npy", "--model", "net.pt", "-o", "logits.npy"]).succeeded();
    assert_eq!(read_logits(&folder, "logits.npy"), want);
}

#[test]
fn inputs_that_the_network_cannot_take() {
    let folder = Folder::new();
    write_module(&folder, identity);
    folder.write("four.npy", to_npy(&random_logits::<f32>(1, [1, 4, 8, 8])));
    folder.write("flat.npy", npy("<f4", &[3], &[0; 12]));
    folder.write("words.png", "these are words");
    let before = folder.names("");
    let logits =
        |input: &str, output: &str| folder.sml(&["logits", input, "--model", "net.pt", "-o", output]);
    logits("four.npy", "logits.npy").failed(&["four.npy", "[1, 4, 8, 8]", "expected [N, 3, H, W]"]);
    logits("flat.npy", "logits.npy").failed(&["flat.npy", "shape (3,)", "expected"]);
    logits("words.png", "logits.npy").failed(&["words.png", "expected a whole PNG, JPEG or WebP picture"]);
    logits("absent.png", "logits.npy").failed(&["absent.png", "cannot read"]);
    folder.write("good.png", png(&picture(3, 16, 8)));
    logits("good.png", "no/logits.npy").failed(&["no/logits.npy", "cannot write"]);
    assert_eq!(folder.names("").len(), before.len() + 1);
}
