//! Frames in every type, memory order and place for the result: the C interface gives the engine's bits.

use std::ptr::null_mut;

use half::{bf16, f16};
use sml::c_interface::*;
use sml::{
    AnomalyMapMut, Capacity, ClassStatistics, Device, Engine, Layout, Logits, LogitsData, LogitsShape,
    Params, ScoreMut, Size,
};

const CLASSES: usize = 4;
const BATCH: usize = 2;
const LOGITS: Size = Size { height: 9, width: 13 };
const RESULT: Size = Size { height: 20, width: 26 };
const MEAN: [f64; CLASSES] = [5.0, 4.0, 3.0, f64::NAN];
const VARIANCE: [f64; CLASSES] = [1.0, 2.0, 0.5, f64::NAN];
/// Pixels of both images.
const PIXELS: usize = BATCH * RESULT.height * RESULT.width;

fn shape() -> LogitsShape {
    LogitsShape::new(BATCH, CLASSES, LOGITS.height, LOGITS.width).unwrap()
}

/// An engine of the C interface, with the default parameters.
struct CEngine {
    engine: *mut sml_engine,
}

impl CEngine {
    fn new(threads: usize) -> Self {
        let options = sml_engine_options {
            struct_size: size_of::<sml_engine_options>(),
            device: std::ptr::null(),
            batch: BATCH,
            classes: CLASSES,
            logits_height: LOGITS.height,
            logits_width: LOGITS.width,
            height: RESULT.height,
            width: RESULT.width,
            threads,
            cuda_graph: 0,
            reserved: 0,
        };
        let (mut statistics, mut engine) = (null_mut(), null_mut());
        // SAFETY: arrays of that many numbers, a structure that says how long it is, and places for handles.
        unsafe {
            let (mean, variance) = (MEAN.as_ptr(), VARIANCE.as_ptr());
            let none = std::ptr::null();
            let status = sml_statistics_from_vectors(mean, variance, none, CLASSES, &raw mut statistics);
            assert_eq!(status, SML_OK);
            let status = sml_engine_create(&raw const options, std::ptr::null(), statistics, &raw mut engine);
            assert_eq!((status, sml_statistics_destroy(statistics)), (SML_OK, SML_OK));
        }
        Self { engine }
    }

    fn warnings(&self) -> Vec<String> {
        let (mut count, mut text) = (0, std::ptr::null());
        // SAFETY: places for the results; the text ends with a NUL and is copied while the engine lives.
        unsafe {
            assert_eq!(sml_engine_warning_count(self.engine, &raw mut count), SML_OK);
            (0..count)
                .map(|index| {
                    assert_eq!(sml_engine_warning(self.engine, index, &raw mut text), SML_OK);
                    std::ffi::CStr::from_ptr(text).to_str().unwrap().to_owned()
                })
                .collect()
        }
    }

    /// Through both functions; what they give is the same.
    fn submit(&self, logits: &sml_logits, half: bool) -> Result {
        let mut into = Result::new(half);
        let score = match &mut into.score {
            Scores::F32(score) => score.as_mut_ptr().cast(),
            Scores::F16(score) => score.as_mut_ptr().cast(),
        };
        let output = sml_output {
            struct_size: size_of::<sml_output>(),
            height: RESULT.height,
            width: RESULT.width,
            score_type: if half { SML_F16 } else { SML_F32 },
            reserved: 0,
            score,
            prediction: into.prediction.as_mut_ptr(),
            non_finite: into.non_finite.as_mut_ptr(),
        };
        // SAFETY: structures that say how long they are, logits and memory as large as they say.
        assert_eq!(unsafe { sml_engine_submit_into(self.engine, logits, &raw const output) }, SML_OK);
        into.compare_with(&self.submit_to_engines_memory(logits));
        into
    }

    fn submit_to_engines_memory(&self, logits: &sml_logits) -> Result {
        let mut map = sml_anomaly_map {
            struct_size: size_of::<sml_anomaly_map>(),
            batch: 0,
            height: 0,
            width: 0,
            score: std::ptr::null(),
            prediction: std::ptr::null(),
            non_finite: std::ptr::null(),
        };
        let Size { height, width } = RESULT;
        // SAFETY: structures that say how long they are, logits as many as they say. The result is read before the next call.
        unsafe {
            assert_eq!(sml_engine_submit(self.engine, logits, height, width, &raw mut map), SML_OK);
            assert_eq!((map.batch, map.height, map.width), (BATCH, height, width));
            Result {
                score: Scores::F32(std::slice::from_raw_parts(map.score, PIXELS).to_vec()),
                prediction: std::slice::from_raw_parts(map.prediction, PIXELS).to_vec(),
                non_finite: std::slice::from_raw_parts(map.non_finite, BATCH).to_vec(),
            }
        }
    }
}

impl Drop for CEngine {
    fn drop(&mut self) {
        assert_eq!(sml_engine_destroy(self.engine), SML_OK);
    }
}

struct Result {
    score: Scores,
    prediction: Vec<u8>,
    non_finite: Vec<u64>,
}

enum Scores {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl Result {
    /// Filled with what no frame gives.
    fn new(half: bool) -> Self {
        let score = if half {
            Scores::F16(vec![f16::NEG_INFINITY; PIXELS])
        } else {
            Scores::F32(vec![f32::NEG_INFINITY; PIXELS])
        };
        Self { score, prediction: vec![255; PIXELS], non_finite: vec![u64::MAX; BATCH] }
    }

    fn bits(&self) -> Vec<u16> {
        match &self.score {
            Scores::F32(score) => score.iter().map(|&score| f16::from_f32(score).to_bits()).collect(),
            Scores::F16(score) => score.iter().map(|score| score.to_bits()).collect(),
        }
    }

    /// As float32 where both are, else as float16.
    fn compare_with(&self, other: &Self) {
        if let (Scores::F32(mine), Scores::F32(theirs)) = (&self.score, &other.score) {
            let differ = mine.iter().zip(theirs).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            assert_eq!(differ, 0);
        }
        assert!(self.bits() == other.bits());
        assert!(self.prediction == other.prediction);
        assert_eq!(self.non_finite, other.non_finite);
    }
}

/// What the engine makes of them.
fn expected(logits: &Logits<'_>, half: bool) -> Result {
    let statistics = ClassStatistics::from_vectors(&MEAN, &VARIANCE, Default::default()).unwrap();
    let capacity = Capacity::of(shape(), RESULT);
    let mut engine = Engine::new(Device::Cpu, Params::default(), Some(&statistics), capacity).unwrap();
    let mut result = Result::new(half);
    let score = match &mut result.score {
        Scores::F32(score) => ScoreMut::F32(score),
        Scores::F16(score) => ScoreMut::F16(score),
    };
    let (prediction, non_finite) = (&mut result.prediction[..], &mut result.non_finite[..]);
    engine.submit_into(logits, AnomalyMapMut { size: RESULT, score, prediction, non_finite }).unwrap();
    result
}

/// Rows that are three elements apart and images that are seven: the strides of a part of something larger.
fn padded() -> [usize; 4] {
    let row = LOGITS.width + 3;
    let class = LOGITS.height * row;
    [CLASSES * class + 7, class, row, 1]
}

#[test]
fn frames_of_every_kind_give_the_engines_bits() {
    let engine = CEngine::new(1);
    let single: Vec<f32> = (0..1200).map(|i| 4.0 + 3.0 * (i as f32 * 0.7).sin()).collect();
    let half: Vec<f16> = single.iter().map(|&logit| f16::from_f32(logit)).collect();
    let brain: Vec<bf16> = single.iter().map(|&logit| bf16::from_f32(logit)).collect();
    let data: [(sml_element_type, LogitsData<'_>, *const std::ffi::c_void); 3] = [
        (SML_F32, single[..].into(), single.as_ptr().cast()),
        (SML_F16, half[..].into(), half.as_ptr().cast()),
        (SML_BF16, brain[..].into(), brain.as_ptr().cast()),
    ];
    let layouts = [
        (SML_NCHW, Layout::Nchw.strides(shape())),
        (SML_NHWC, Layout::Nhwc.strides(shape())),
        (SML_STRIDED, padded()),
    ];
    for (element_type, elements, address) in data {
        for (layout, strides) in layouts {
            let logits = sml_logits {
                struct_size: size_of::<sml_logits>(),
                data: address,
                element_type,
                layout,
                batch: BATCH,
                classes: CLASSES,
                height: LOGITS.height,
                width: LOGITS.width,
                // Looked at for SML_STRIDED only.
                strides: if layout == SML_STRIDED { strides } else { [usize::MAX; 4] },
            };
            for half in [false, true] {
                let given = Logits::strided(elements, shape(), strides).unwrap();
                engine.submit(&logits, half).compare_with(&expected(&given, half));
            }
        }
    }
}

#[test]
fn warnings_are_the_engines() {
    let engine = CEngine::new(0);
    let expected = "classes [3] have no usable statistics: standardized with the pooled ones";
    assert_eq!(engine.warnings(), [expected]);
}
