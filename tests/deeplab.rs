//! DeepLabV3+ against logits of the official network, with weights that a formula gives to both.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod data;

use std::path::Path;

use sml::files::Checkpoint;
use sml::torch::{
    Backbone, DeepLab, DeepLabBackbone, DeepLabConfig, Depth, Execution, Formula, OutputStride, Precision,
    formula_weights,
};
use tch::{Device, Kind, Tensor};

const CPU: Device = Device::Cpu;

/// The official names of the two networks in the golden files.
const NETWORKS: [(&str, Depth); 2] =
    [("DeepR101V3PlusD_OS8", Depth::ResNet101), ("DeepR50V3PlusD_OS8", Depth::ResNet50)];

fn load(config: &DeepLabConfig, weights: &[u8], execution: Execution) -> DeepLab {
    let mut checkpoint = Checkpoint::from_bytes(weights, Path::new("formula")).unwrap();
    DeepLab::load(config, &mut checkpoint, execution, CPU).unwrap()
}

/// The input of a golden case, which the formula gives too.
fn golden_input(key: &str, shape: &[i64]) -> Tensor {
    let formula = Formula::of(key);
    let values: Vec<f32> =
        (0..shape.iter().product::<i64>() as u64).map(|i| (formula.uniform(i) * 4.0 - 2.0) as f32).collect();
    Tensor::from_slice(&values).view(shape)
}

fn read_array(archive: &Path, name: &str) -> Tensor {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(archive).unwrap()).unwrap();
    let npy = npyz::NpyFile::new(archive.by_name(&format!("{name}.npy")).unwrap()).unwrap();
    let shape: Vec<i64> = npy.shape().iter().map(|&side| side as i64).collect();
    Tensor::from_slice(&npy.into_vec::<f32>().unwrap()).view(&shape[..])
}

/// The largest difference over the largest expected value.
fn relative_difference(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.size(), want.size());
    let largest = |tensor: &Tensor| tensor.to_kind(Kind::Double).abs().max().double_value(&[]);
    largest(&(got.to_kind(Kind::Double) - want.to_kind(Kind::Double))) / largest(want)
}

/// Every case of `network` in `folder`, with batch norms folded and not.
fn check_golden(folder: &Path, network: &str, depth: Depth) {
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("deeplab_manifest.json")).unwrap()).unwrap();
    let config = DeepLabConfig::cityscapes(depth);
    let weights = formula_weights(&config.parameters().unwrap());
    for fold_batch_norm in [true, false] {
        let execution = Execution { fold_batch_norm, ..Execution::default() };
        let network_here = load(&config, &weights, execution);
        for case in manifest[network]["cases"].as_array().unwrap() {
            let shape: Vec<i64> = serde_json::from_value(case["input_shape"].clone()).unwrap();
            let name = case["name"].as_str().unwrap();
            let input = golden_input(case["input_key"].as_str().unwrap(), &shape);
            let logits = network_here.forward(&input).unwrap();
            let golden = read_array(&folder.join("deeplab.npz"), &format!("{name}.low"));
            let difference = relative_difference(&logits, &golden);
            println!("{name}, folded: {fold_batch_norm}: {difference:.1e}");
            assert!(
                difference <= 2e-4,
                "{name}, folded: {fold_batch_norm}: {difference:e} of the largest logit"
            );
        }
    }
}

#[test]
fn resnet101_gives_the_official_logits() {
    check_golden(&data::repository().join("tests/golden/deeplab"), NETWORKS[0].0, NETWORKS[0].1);
}

#[test]
fn resnet50_gives_the_official_logits() {
    check_golden(&data::repository().join("tests/golden/deeplab"), NETWORKS[1].0, NETWORKS[1].1);
}

#[test]
fn every_official_case_and_every_name() {
    let Some(folder) = data::path("golden/deeplab") else { return };
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("deeplab_manifest.json")).unwrap()).unwrap();
    for (network, depth) in NETWORKS {
        check_golden(&folder, network, depth);
        let official: std::collections::BTreeMap<String, Vec<i64>> =
            serde_json::from_value::<Vec<(String, Vec<i64>)>>(manifest[network]["parameters"].clone())
                .unwrap()
                .into_iter()
                .filter(|(name, _)| !name.starts_with("dsn."))
                .collect();
        assert_eq!(DeepLabConfig::cityscapes(depth).parameters().unwrap(), official);
    }
}

#[test]
fn output_stride_16_differs_in_the_deep_features_alone() {
    let config = DeepLabConfig::cityscapes(Depth::ResNet50);
    let weights = formula_weights(&config.parameters().unwrap());
    let input = golden_input("input", &[1, 3, 65, 97]);
    let fine = load(&config, &weights, Execution::default()).forward(&input).unwrap();
    let sixteen = DeepLabConfig { output_stride: OutputStride::Sixteen, ..config };
    let coarse = load(&sixteen, &weights, Execution::default()).forward(&input).unwrap();
    assert_eq!(coarse.size(), [1, 19, 17, 25]);
    assert!(relative_difference(&coarse, &fine) > 1e-2, "the output stride changed nothing");
}

#[test]
fn narrow_types_and_channels_last_give_nearly_the_same_logits() {
    let config = DeepLabConfig::cityscapes(Depth::ResNet50);
    let weights = formula_weights(&config.parameters().unwrap());
    let input = golden_input("input", &[1, 3, 64, 96]);
    let wide = load(&config, &weights, Execution::default()).forward(&input).unwrap();
    for (precision, channels_last, fold_batch_norm, tolerance) in [
        (Precision::F32, true, true, 1e-5),
        (Precision::F32, true, false, 1e-5),
        (Precision::Bf16, false, true, 6e-2),
        (Precision::Bf16, true, false, 6e-2),
        (Precision::F16, false, true, 1e-2),
        (Precision::F16, true, false, 1e-2),
    ] {
        let execution = Execution { precision, channels_last, fold_batch_norm };
        let logits = load(&config, &weights, execution).forward(&input).unwrap();
        assert_eq!(logits.kind(), precision.kind());
        let difference = relative_difference(&logits, &wide);
        println!("{execution:?}: {difference:.1e}");
        assert!(difference <= tolerance, "{execution:?}: {difference:e} of the largest logit");
    }
}

#[test]
fn as_a_backbone_it_states_what_post_processing_needs() {
    let config = DeepLabConfig::cityscapes(Depth::ResNet50);
    let network = DeepLabBackbone::with_formula_weights(&config, Execution::default(), CPU).unwrap();
    assert_eq!((network.output_stride(), network.align_corners()), (4, true));
    assert_eq!(network.class_names().len(), 19);
    let picture = image::RgbImage::from_pixel(65, 33, image::Rgb([255, 0, 128]));
    let input = network.preprocess(&picture).unwrap();
    assert_eq!(input.size(), [1, 3, 33, 65]);
    let expected = [(1.0 - 0.485) / 0.229, -0.456 / 0.224, (128.0 / 255.0 - 0.406) / 0.225];
    for (channel, expected) in expected.into_iter().enumerate() {
        let value = input.double_value(&[0, channel as i64, 7, 9]);
        assert!((value - expected).abs() < 1e-6, "{value} for {expected}");
    }
    assert_eq!(network.forward(&input).unwrap().size(), [1, 19, 9, 17]);
}

#[test]
fn a_training_checkpoint_with_its_auxiliary_head_fits() {
    let config = DeepLabConfig::cityscapes(Depth::ResNet50);
    let mut names = config.parameters().unwrap();
    names.insert("dsn.0.weight".to_owned(), vec![4]);
    names.insert("layer0.1.num_batches_tracked".to_owned(), vec![1]);
    let wrapped = names.into_iter().map(|(name, shape)| (format!("module.{name}"), shape)).collect();
    let weights = formula_weights(&wrapped);
    let logits =
        load(&config, &weights, Execution::default()).forward(&golden_input("input", &[1, 3, 33, 33]));
    assert_eq!(logits.unwrap().size(), [1, 19, 9, 9]);
}

#[test]
fn all_that_does_not_fit_is_listed() {
    let config = DeepLabConfig::cityscapes(Depth::ResNet101);
    let mut names = DeepLabConfig::cityscapes(Depth::ResNet50).parameters().unwrap();
    names.insert("whitening.weight".to_owned(), vec![4]);
    let weights = formula_weights(&names);
    let mut checkpoint = Checkpoint::from_bytes(&weights, Path::new("r50.safetensors")).unwrap();
    let error = DeepLab::load(&config, &mut checkpoint, Execution::default(), CPU).unwrap_err().to_string();
    assert!(!error.contains('\n'));
    for part in [
        "r50.safetensors: its parameters are not those of deeplabv3plus-resnet101",
        // 17 blocks of 15 tensors, and 2 x 5 in the stem.
        "265 missing (layer0.3.weight [64, 64, 3, 3], ",
        "layer3.22.bn3.running_var [1024]",
        "1 unexpected (whitening.weight)",
        "layer0.0.weight is float32 [64, 3, 7, 7], not [64, 3, 3, 3]",
        "layer1.0.conv1.weight is float32 [64, 64, 1, 1], not [64, 128, 1, 1]",
    ] {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[test]
fn inputs_and_classes_out_of_range_are_refused() {
    let config = DeepLabConfig { classes: 0, ..DeepLabConfig::cityscapes(Depth::ResNet50) };
    assert!(config.parameters().unwrap_err().to_string().starts_with("classes is 0"));
    let config = DeepLabConfig { classes: 2, ..config };
    let network = load(&config, &formula_weights(&config.parameters().unwrap()), Execution::default());
    for size in [&[1, 4, 32, 32][..], &[3, 32, 32], &[0, 3, 32, 32]] {
        let error = network.forward(&Tensor::zeros(size, (Kind::Float, CPU))).unwrap_err();
        assert!(error.to_string().contains("[N, 3, H, W]"), "{error}");
    }
    // The smallest picture has logits too.
    assert_eq!(
        network.forward(&Tensor::zeros([1, 3, 1, 1], (Kind::Float, CPU))).unwrap().size(),
        [1, 2, 1, 1]
    );
}
