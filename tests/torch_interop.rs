//! Tensors of libtorch as logits and results of the engine: nothing is copied, and what does not fit is refused.

#![cfg(feature = "torch")]
// `unsafe` borrows a tensor and makes one that is wrong; clippy's leave for tests does not cover their helpers.
#![allow(clippy::unwrap_used, unsafe_code)]

use sml::torch::{OutputTensors, borrow_logits};
use sml::{Capacity, ClassStatistics, Device, Engine, Layout, Logits, LogitsData, LogitsShape, Params, Size};
use tch::{Device as TorchDevice, IndexOp, Kind, Tensor};

const SHAPE: [i64; 4] = [2, 3, 5, 7];
const SIZE: Size = Size { height: 10, width: 14 };

fn shape() -> LogitsShape {
    LogitsShape::new(2, 3, 5, 7).unwrap()
}

fn engine() -> Engine {
    let statistics =
        ClassStatistics::from_json(r#"{"mean": [1.0, 2.0, 3.0], "variance": [1.0, 4.0, 0.5]}"#).unwrap();
    Engine::new(Device::Cpu, Params::default(), Some(&statistics), Capacity::of(shape(), SIZE)).unwrap()
}

/// Logits that differ everywhere and are exact in every element type.
fn logits() -> Tensor {
    let elements: i64 = SHAPE.iter().product();
    let numbers = Tensor::arange(elements, (Kind::Float, TorchDevice::Cpu));
    ((numbers * 37.0).remainder(64.0) / 8.0).view(SHAPE)
}

fn counts() -> Tensor {
    Tensor::full([2], 9, (Kind::Int64, TorchDevice::Cpu))
}

fn outputs() -> (Tensor, Tensor) {
    let shape = [2, SIZE.height as i64, SIZE.width as i64];
    (
        Tensor::zeros(shape, (Kind::Float, TorchDevice::Cpu)),
        Tensor::zeros(shape, (Kind::Uint8, TorchDevice::Cpu)),
    )
}

fn address(data: LogitsData<'_>) -> usize {
    match data {
        LogitsData::F32(data) => data.as_ptr() as usize,
        LogitsData::F16(data) => data.as_ptr() as usize,
        LogitsData::BF16(data) => data.as_ptr() as usize,
    }
}

/// The result for the same logits as a plain packed slice.
fn expected() -> (Vec<f32>, Vec<u8>) {
    let elements = Vec::<f32>::try_from(logits().flatten(0, -1)).unwrap();
    let mut engine = engine();
    let map = engine.submit(&Logits::packed(&elements[..], shape(), Layout::Nchw).unwrap(), SIZE).unwrap();
    (map.score.iter().copied().collect(), map.prediction.iter().copied().collect())
}

/// Submits both ways and compares.
fn check(tensor: &Tensor) {
    let (score, prediction) = expected();
    let mut engine = engine();
    let map = engine.submit_tensor(tensor, SIZE).unwrap();
    let map = map.to_host().unwrap();
    assert!(map.score.iter().eq(&score) && map.prediction.iter().eq(&prediction));

    let (mut score_tensor, mut prediction_tensor) = outputs();
    let output = OutputTensors {
        score: &mut score_tensor,
        prediction: &mut prediction_tensor,
        non_finite: &mut counts(),
    };
    engine.submit_tensor_into(tensor, output).unwrap();
    assert_eq!(Vec::<f32>::try_from(score_tensor.flatten(0, -1)).unwrap(), score);
    assert_eq!(Vec::<u8>::try_from(prediction_tensor.flatten(0, -1)).unwrap(), prediction);
}

/// The error of a submission, which must leave the outputs as they were.
fn refusal(tensor: &Tensor, score: &mut Tensor, prediction: &mut Tensor) -> String {
    let (scores, predictions) = (score.copy(), prediction.copy());
    let output =
        OutputTensors { score: &mut *score, prediction: &mut *prediction, non_finite: &mut counts() };
    let error = engine().submit_tensor_into(tensor, output).unwrap_err().to_string();
    assert_eq!((&*score, &*prediction), (&scores, &predictions), "{error}");
    assert!(!error.contains('\n'), "{error}");
    error
}

fn refused_logits(tensor: &Tensor) -> String {
    let (mut score, mut prediction) = outputs();
    let error = refusal(tensor, &mut score, &mut prediction);
    assert_eq!(engine().submit_tensor(tensor, SIZE).unwrap_err().to_string(), error);
    error
}

#[test]
fn the_logits_are_the_tensors_own_memory() {
    for kind in [Kind::Float, Kind::Half, Kind::BFloat16] {
        let tensor = logits().to_kind(kind);
        // SAFETY: nothing writes to the tensor while the view is used.
        let view = unsafe { borrow_logits(&tensor) }.unwrap();
        assert_eq!(address(view.data()), tensor.data_ptr() as usize, "{kind:?}");
        assert_eq!((view.shape(), view.strides()), (shape(), [105, 35, 7, 1]));

        let part = tensor.i((1.., 1..3, .., 2..5));
        // SAFETY: as above.
        let view = unsafe { borrow_logits(&part) }.unwrap();
        let first = (105 + 35 + 2) * kind.elt_size_in_bytes();
        assert_eq!(
            address(view.data()),
            tensor.data_ptr() as usize + first,
            "{kind:?}: a slice begins within"
        );
        assert_eq!(view.strides(), [105, 35, 7, 1]);
    }
}

#[test]
fn the_results_are_the_tensors_own_memory() {
    let (score, prediction) = outputs();
    // Views that were made before see the results, and the addresses stay.
    let (mut score_handle, mut prediction_handle) = (score.view([-1]), prediction.shallow_clone());
    let addresses = (score.data_ptr(), prediction.data_ptr());
    let mut score_output = score.shallow_clone();
    let output = OutputTensors {
        score: &mut score_output,
        prediction: &mut prediction_handle,
        non_finite: &mut counts(),
    };
    engine().submit_tensor_into(&logits(), output).unwrap();
    assert_eq!((score_output.data_ptr(), prediction_handle.data_ptr()), addresses);
    let (expected_score, expected_prediction) = expected();
    assert_eq!(Vec::<f32>::try_from(&score_handle).unwrap(), expected_score);
    assert_eq!(Vec::<u8>::try_from(prediction.flatten(0, -1)).unwrap(), expected_prediction);
    let _ = score_handle.zero_();
    assert_eq!(score_output.abs().sum(Kind::Float).double_value(&[]), 0.0);
}

#[test]
fn every_element_type_and_memory_order_gives_the_same_result() {
    let packed = logits();
    for kind in [Kind::Float, Kind::Half, Kind::BFloat16] {
        check(&packed.to_kind(kind));
    }
    let channels_last = packed.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    assert_eq!(channels_last.stride(), [105, 1, 21, 3]);
    check(&channels_last);
    check(&packed.transpose(2, 3).contiguous().transpose(2, 3));
    let larger = Tensor::full([3, 4, 6, 9], -1e30, (Kind::Float, TorchDevice::Cpu));
    let within = larger.i((1.., 1.., 1.., 1..8));
    within.shallow_clone().copy_(&packed);
    check(&within);
}

#[test]
fn an_image_without_batch_and_an_expanded_one_are_taken() {
    let packed = logits();
    let mut engine = engine();
    let mut submit = |tensor: &Tensor| engine.submit_tensor(tensor, SIZE).unwrap().to_host().unwrap();
    let first: Vec<f32> = submit(&packed.i(0..1)).score.iter().copied().collect();
    let map = submit(&packed.i(0));
    assert_eq!(map.score.dim(), (1, 10, 14));
    assert!(map.score.iter().eq(&first));
    let repeated = packed.i(0..1).expand([2, 3, 5, 7], false);
    assert_eq!(repeated.stride()[0], 0);
    let map = submit(&repeated);
    assert!(map.score.iter().eq(first.iter().chain(&first)));

    let mut score = Tensor::zeros([10, 14], (Kind::Half, TorchDevice::Cpu));
    let mut prediction = Tensor::zeros([10, 14], (Kind::Uint8, TorchDevice::Cpu));
    let output = OutputTensors {
        score: &mut score,
        prediction: &mut prediction,
        non_finite: &mut counts().narrow(0, 0, 1),
    };
    engine.submit_tensor_into(&packed.i(0), output).unwrap();
    let rounded: Vec<f32> = first.iter().map(|&value| half::f16::from_f32(value).to_f32()).collect();
    assert_eq!(Vec::<f32>::try_from(score.to_kind(Kind::Float).flatten(0, -1)).unwrap(), rounded);
}

#[test]
fn pixels_with_non_finite_logits_are_counted() {
    let tensor = logits();
    let _ = tensor.i((1, 0, 0, 0)).fill_(f64::NAN);
    let (mut score, mut prediction) = outputs();
    let mut non_finite = counts();
    let output =
        OutputTensors { score: &mut score, prediction: &mut prediction, non_finite: &mut non_finite };
    engine().submit_tensor_into(&tensor, output).unwrap();
    let non_finite = Vec::<i64>::try_from(&non_finite).unwrap();
    assert!(non_finite[0] == 0 && non_finite[1] > 0, "{non_finite:?}");
}

#[test]
fn logits_that_do_not_fit_are_refused() {
    let packed = logits();
    for (tensor, told) in [
        (packed.i((0, 0)), "of shape [5, 7]: expected 4 dimensions"),
        (packed.unsqueeze(0), "of shape [1, 2, 3, 5, 7]: expected 4 dimensions"),
        (packed.to_kind(Kind::Int64), "of element type Int64: expected Float or Half or BFloat16"),
        (packed.to_kind(Kind::Double), "of element type Double"),
        (packed.i((.., .., 0..0, ..)), "expected at least one element"),
        (packed.i((0, 0)).to_sparse_csr(None), "sparse or opaque layout"),
        (packed.to_sparse(None, None::<&[i64]>, None), "sparse or opaque layout"),
        (packed.to_mkldnn(), "sparse or opaque layout"),
        (Tensor::complex(&packed, &packed).conj().imag(), "lazily negated"),
        (Tensor::new(), "logits tensor is"),
    ] {
        let error = refused_logits(&tensor);
        assert!(error.starts_with("logits tensor is ") && error.contains(told), "{told}: {error}");
    }
}

#[test]
fn outputs_that_do_not_fit_are_refused() {
    let tensor = logits();
    let (score, prediction) = outputs();
    let refuse = |mut score: Tensor, mut prediction: Tensor| refusal(&tensor, &mut score, &mut prediction);
    for (given, told) in [
        (score.to_kind(Kind::Double), "score tensor is of element type Double: expected Float or Half"),
        (score.i((0, 0)), "score tensor is of shape [14]: expected 3 dimensions"),
        (score.transpose(1, 2).contiguous().transpose(1, 2), "score tensor is of strides"),
        (score.i((0..1, .., ..)).expand([2, 10, 14], false), "score tensor is of strides"),
        (score.copy().set_requires_grad(true), "score tensor is of requires_grad true"),
        (score.i((.., 0..9, ..)).contiguous(), "size of the prediction tensor is 10x14: expected 9x14"),
        (score.i(0..1), "score tensor is of shape [1, 10, 14]: expected 2 images"),
    ] {
        let error = refuse(given, prediction.copy());
        assert!(error.starts_with(told), "{told}: {error}");
    }
    let error = refuse(score.copy(), prediction.to_kind(Kind::Int64));
    assert!(error.starts_with("prediction tensor is of element type Int64: expected Uint8"), "{error}");
    for (mut given, told) in [
        (
            counts().to_kind(Kind::Float),
            "tensor of non-finite counts is of element type Float: expected Int64",
        ),
        (counts().view([2, 1]), "tensor of non-finite counts is of shape [2, 1]: expected 1 dimension"),
        (counts().narrow(0, 0, 1), "tensor of non-finite counts is of shape [1]: expected 2 images"),
    ] {
        let (mut score, mut prediction) = outputs();
        let output = OutputTensors { score: &mut score, prediction: &mut prediction, non_finite: &mut given };
        let error = engine().submit_tensor_into(&tensor, output).unwrap_err().to_string();
        assert!(error.starts_with(told), "{told}: {error}");
    }
}

#[test]
fn memory_that_is_shared_is_refused() {
    let (mut score, mut prediction) = outputs();
    // One block of memory, as float32 and as bytes.
    let block = Tensor::zeros([2, 10, 14 * 4], (Kind::Uint8, TorchDevice::Cpu));
    let mut as_scores = block.view_dtype(Kind::Float);
    let mut as_classes = block.view([-1]).i(4..4 + 280).view([2, 10, 14]);
    let error = refusal(&logits(), &mut as_scores, &mut as_classes);
    assert_eq!(
        error,
        "prediction tensor is in the same memory as the score tensor: expected memory of its own"
    );

    let numbers = Tensor::zeros([2 * 3 * 5 * 7 + 280], (Kind::Float, TorchDevice::Cpu));
    numbers.i(..210).copy_(&logits().view([-1]));
    let tensor = numbers.i(..210).view(SHAPE);
    let mut overlapping = numbers.i(209..489).view([2, 10, 14]);
    let error = refusal(&tensor, &mut overlapping, &mut prediction);
    assert_eq!(error, "score tensor is in the same memory as the logits tensor: expected memory of its own");
    // Side by side in one storage is not the same memory.
    let mut beside = numbers.i(210..490).view([2, 10, 14]);
    let output = OutputTensors { score: &mut beside, prediction: &mut prediction, non_finite: &mut counts() };
    engine().submit_tensor_into(&tensor, output).unwrap();
    let output = OutputTensors { score: &mut score, prediction: &mut prediction, non_finite: &mut counts() };
    engine().submit_tensor_into(&logits(), output).unwrap();
    assert_eq!(beside, score);
}

#[test]
fn an_address_that_is_not_aligned_is_refused() {
    let bytes = vec![0_u8; 4 * 210 + 4];
    let odd = bytes.as_ptr().wrapping_add(1 + bytes.as_ptr().align_offset(4));
    // SAFETY: the tensor covers 840 bytes within `bytes`, which outlives it; it is only ever refused.
    let tensor = unsafe { Tensor::from_blob(odd, &SHAPE, &[105, 35, 7, 1], Kind::Float, TorchDevice::Cpu) };
    let error = refused_logits(&tensor);
    assert!(error.contains("expected a multiple of the element's size"), "{error}");
}
