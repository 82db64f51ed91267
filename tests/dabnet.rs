//! DABNet against logits and prediction of the published network, and its weights file against all that can be wrong.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod data;

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use sml::Error;
use sml::torch::{
    Backbone, DabNet, DabNetBackbone, DabNetConfig, InputFormat, Precision, load_weights, serialize_weights,
};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

fn read_npy(file: &Path) -> Tensor {
    let npy = npyz::NpyFile::new(std::io::BufReader::new(std::fs::File::open(file).unwrap())).unwrap();
    let shape: Vec<i64> = npy.shape().iter().map(|&side| side as i64).collect();
    Tensor::from_slice(&npy.into_vec::<f32>().unwrap()).view(&shape[..])
}

#[test]
fn published_weights_give_the_published_logits_and_prediction() {
    let Some(weights) = data::path("models/dabnet_cityscapes.safetensors") else { return };
    let Some(pictures) = data::path("images/normal") else { return };
    let Some(golden) = data::path("golden/dabnet") else { return };
    let network = DabNetBackbone::from_file(&DabNetConfig::cityscapes(), &weights, Device::Cpu).unwrap();
    let picture = pictures.join("frankfurt_000001_058914_leftImg8bit.png");
    let picture = image::open(picture).unwrap().to_rgb8();

    let logits = network.forward(&network.preprocess(&picture).unwrap()).unwrap();
    let expected = read_npy(&golden.join("logits_stride8_f32.npy")).view([1, 19, 128, 256]);
    assert_eq!(logits.size(), expected.size());
    let difference = (&logits - &expected).abs().max().double_value(&[]);
    assert!(difference <= 1e-3, "logits differ by up to {difference}");

    let full = logits.upsample_bilinear2d([1024, 2048], network.align_corners(), None, None);
    let (top, classes) = full.topk(2, 1, true, true);
    let prediction = classes.select(1, 0).to_kind(Kind::Uint8).squeeze();
    let decided = (top.select(1, 0) - top.select(1, 1)).ge(3e-4).squeeze();
    let golden = image::open(golden.join("prediction.png")).unwrap().to_luma8();
    let golden = Tensor::from_slice(golden.as_raw()).view([1024, 2048]);
    let wrong = prediction.ne_tensor(&golden).logical_and(&decided).sum(Kind::Int64).int64_value(&[]);
    assert_eq!(wrong, 0, "pixels of another class although the top two logits differ by 3e-4 or more");
    let undecided = decided.logical_not().sum(Kind::Int64).int64_value(&[]);
    assert!(undecided < 2048, "{undecided} pixels were left out as ties: the comparison says little");
}

#[test]
fn published_weights_do_not_fit_the_narrow_network() {
    let Some(weights) = data::path("models/dabnet_cityscapes.safetensors") else { return };
    let error =
        DabNetBackbone::from_file(&DabNetConfig::demo(), &weights, Device::Cpu).unwrap_err().to_string();
    assert!(
        error.contains("dabnet_cityscapes.safetensors: its parameters are not those of dabnet"),
        "{error}"
    );
    assert!(error.contains("of another shape"), "{error}");
    // Every one of them is named, not the first alone.
    assert!(error.matches(" is float32 ").count() > 50, "{error}");
}

fn small() -> DabNetConfig {
    DabNetConfig {
        init_channels: 4,
        block_1_channels: 8,
        block_2_channels: 8,
        block_1_dilations: vec![2],
        block_2_dilations: vec![4],
        ..DabNetConfig::cityscapes()
    }
}

fn network(config: &DabNetConfig) -> (VarStore, DabNet) {
    let variables = VarStore::new(Device::Cpu);
    let network = DabNet::new(&variables.root(), config).unwrap();
    (variables, network)
}

fn parameters(config: &DabNetConfig) -> i64 {
    let (variables, _) = network(config);
    variables.trainable_variables().iter().map(|variable| variable.numel() as i64).sum()
}

#[test]
fn sizes_are_the_stated_ones() {
    assert_eq!(parameters(&DabNetConfig::cityscapes()) / 1000, 756);
    let demo = parameters(&DabNetConfig::demo());
    assert!((150_000..350_000).contains(&demo), "{demo} parameters");
}

#[test]
fn weights_survive_a_round_trip_bit_for_bit() {
    let (source, original) = network(&small());
    let input = Tensor::randn([1, 3, 32, 64], (Kind::Float, Device::Cpu));
    let _ = original.forward(&input, true).unwrap();
    let bytes = serialize_weights(&source, "a note").unwrap();
    assert_eq!(bytes, serialize_weights(&source, "a note").unwrap());

    let (target, copy) = network(&small());
    load_weights(&target, &bytes, Path::new("round.safetensors")).unwrap();
    let (want, got) = (original.forward(&input, false).unwrap(), copy.forward(&input, false).unwrap());
    assert_eq!(want.size(), [1, 19, 4, 8]);
    assert!(want.equal(&got), "the copy gives other logits");
}

#[test]
fn training_moves_weights_and_running_statistics() {
    let (variables, network) = network(&small());
    let before = serialize_weights(&variables, "").unwrap();
    let mut optimizer = tch::nn::OptimizerConfig::build(tch::nn::Adam::default(), &variables, 1e-2).unwrap();
    let input = Tensor::randn([2, 3, 32, 64], (Kind::Float, Device::Cpu));
    let labels = Tensor::randint(19, [2, 4, 8], (Kind::Int64, Device::Cpu));
    let mut losses = Vec::new();
    for _ in 0..60 {
        let loss = network.forward(&input, true).unwrap().cross_entropy_loss(
            &labels,
            None::<&Tensor>,
            tch::Reduction::Mean,
            -100,
            0.0,
        );
        optimizer.backward_step(&loss);
        losses.push(loss.double_value(&[]));
    }
    assert!(losses[59] < 0.5 * losses[0], "loss from {} to {}", losses[0], losses[59]);
    let after = serialize_weights(&variables, "").unwrap();
    let (before, after) =
        (SafeTensors::deserialize(&before).unwrap(), SafeTensors::deserialize(&after).unwrap());
    for name in before.names() {
        assert_ne!(
            before.tensor(name).unwrap().data(),
            after.tensor(name).unwrap().data(),
            "{name} did not move"
        );
    }
}

type Tensors = HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// The weights of the small network after `change`, as a file.
fn changed_weights(change: impl FnOnce(&mut Tensors)) -> Vec<u8> {
    let bytes = serialize_weights(&network(&small()).0, "").unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Tensors = file
        .iter()
        .map(|(name, view)| (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect();
    change(&mut tensors);
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// Loading `bytes` fails with a one-line text that holds each of `parts`, and changes nothing.
fn assert_refused(bytes: &[u8], parts: &[&str]) {
    let (variables, _) = network(&small());
    let before = serialize_weights(&variables, "").unwrap();
    let error = load_weights(&variables, bytes, Path::new("w.safetensors")).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for part in parts.iter().chain(&["w.safetensors: "]) {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
    assert_eq!(before, serialize_weights(&variables, "").unwrap(), "a refused file changed the network");
}

#[test]
fn a_missing_tensor_is_named() {
    let bytes = changed_weights(|tensors| drop(tensors.remove("bn_prelu_3.bn.bias")));
    assert_refused(&bytes, &["1 missing (bn_prelu_3.bn.bias [19])"]);
}

#[test]
fn a_superfluous_tensor_is_named() {
    let bytes = changed_weights(|tensors| {
        tensors.insert("extra.weight".to_owned(), (Dtype::F32, vec![1], vec![0; 4]));
    });
    assert_refused(&bytes, &["1 unexpected (extra.weight)"]);
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    let bytes = changed_weights(|tensors| {
        let tensor = tensors.get_mut("classifier.0.conv.weight").unwrap();
        tensor.1 = vec![19 * 19, 1, 1, 1];
    });
    let part = "(classifier.0.conv.weight is float32 [361, 1, 1, 1], not [19, 19, 1, 1])";
    assert_refused(&bytes, &[part]);
}

#[test]
fn a_tensor_of_another_type_is_named() {
    let bytes = changed_weights(|tensors| {
        let tensor = tensors.get_mut("bn_prelu_3.bn.bias").unwrap();
        *tensor = (Dtype::I32, vec![19], vec![0; 76]);
    });
    assert_refused(&bytes, &["bn_prelu_3.bn.bias is int32"]);
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let bytes = changed_weights(|tensors| {
        tensors.remove("bn_prelu_3.bn.bias");
        tensors.remove("bn_prelu_3.bn.weight");
        tensors.insert("extra.weight".to_owned(), (Dtype::F32, vec![1], vec![0; 4]));
        tensors.insert("other.weight".to_owned(), (Dtype::F32, vec![1], vec![0; 4]));
        tensors.get_mut("classifier.0.conv.weight").unwrap().1 = vec![19, 19, 1];
    });
    assert_refused(
        &bytes,
        &[
            "2 missing (bn_prelu_3.bn.bias [19], bn_prelu_3.bn.weight [19])",
            "2 unexpected (extra.weight, other.weight)",
            "1 of another shape or type (classifier.0.conv.weight",
        ],
    );
}

#[test]
fn narrow_weights_are_widened() {
    let bytes = changed_weights(|tensors| {
        let tensor = tensors.get_mut("bn_prelu_3.bn.bias").unwrap();
        *tensor = (Dtype::F16, vec![19], [0x00, 0x3e].repeat(19));
    });
    let (variables, _) = network(&small());
    load_weights(&variables, &bytes, Path::new("w.safetensors")).unwrap();
    let bias = &variables.variables()["bn_prelu_3.bn.bias"];
    assert_eq!((bias.kind(), bias.double_value(&[3])), (Kind::Float, 1.5));
}

#[test]
fn half_the_width_gives_nearly_the_same_logits() {
    let bytes = changed_weights(|_| ());
    let network =
        || DabNetBackbone::from_bytes(&small(), &bytes, Path::new("w.safetensors"), Device::Cpu).unwrap();
    let input = Tensor::randn([1, 3, 32, 64], (Kind::Float, Device::Cpu));
    let wide = network().forward(&input).unwrap();
    for (precision, channels_last, tolerance) in
        [(Precision::F32, true, 1e-5), (Precision::F16, false, 2e-2), (Precision::Bf16, true, 2e-1)]
    {
        let network = network().with_input_format(InputFormat { precision, channels_last }).unwrap();
        let logits = network.forward(&input).unwrap();
        assert_eq!(logits.kind(), precision.kind());
        let difference = (logits.to_kind(Kind::Float) - &wide).abs().max().double_value(&[]);
        let largest = wide.abs().max().double_value(&[]);
        assert!(difference <= tolerance * largest, "{precision}: {difference} of {largest}");
    }
}

#[test]
fn a_file_cut_short_is_refused_wherever_it_is_cut() {
    let bytes = changed_weights(|_| ());
    for length in [0, 4, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        assert_refused(&bytes[..length], &["safetensors"]);
    }
}

#[test]
fn another_format_is_refused() {
    assert_refused(b"PK\x03\x04 this is an archive and not what was asked for", &["safetensors"]);
}

#[test]
fn batch_counters_of_pytorch_are_passed_over() {
    let bytes = changed_weights(|tensors| {
        let counter = "bn_prelu_3.bn.num_batches_tracked".to_owned();
        tensors.insert(counter, (Dtype::I64, vec![], vec![0; 8]));
    });
    load_weights(&network(&small()).0, &bytes, Path::new("w.safetensors")).unwrap();
}

#[test]
fn inputs_of_a_wrong_shape_are_refused() {
    let (_variables, network) = network(&small());
    for size in [&[1, 3, 30, 64][..], &[1, 4, 32, 64], &[3, 32, 64], &[0, 3, 32, 64]] {
        let error = network.forward(&Tensor::zeros(size, (Kind::Float, Device::Cpu)), false).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error:?}");
        assert!(error.to_string().contains("multiples of 8"), "{error}");
    }
}

#[test]
fn widths_out_of_range_are_refused_by_name() {
    let variables = VarStore::new(Device::Cpu);
    let refused = |config: DabNetConfig| DabNet::new(&variables.root(), &config).unwrap_err().to_string();
    assert!(refused(DabNetConfig { classes: 0, ..small() }).starts_with("classes is 0"));
    assert!(refused(DabNetConfig { init_channels: 0, ..small() }).starts_with("init_channels is 0"));
    assert!(refused(DabNetConfig { block_1_channels: 7, ..small() }).starts_with("block_1_channels is 7"));
    assert!(
        refused(DabNetConfig { block_2_dilations: vec![4, 0], ..small() })
            .starts_with("block_2_dilations is 0")
    );
    assert!(variables.is_empty(), "a refused network left variables behind");
}
