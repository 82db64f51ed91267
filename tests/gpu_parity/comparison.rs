//! The CPU engine's result for the same frame, and what differs from it.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use half::{bf16, f16};
use sml::{ElementType, Layout, Logits, Params, Score, Size};

use crate::frames::{Frame, logits, statistics};
use crate::on_gpu::{Map, Setting, engine, memory, on_gpu, rounded};

pub const ELEMENTS: [ElementType; 3] = [ElementType::F32, ElementType::F16, ElementType::BF16];

/// What the CPU engine makes of the logits as the element type holds them.
pub fn on_cpu(frame: &Frame, setting: &Setting) -> Map {
    let frame = Frame { logits: frame.logits.mapv(|v| rounded(v, setting.element)), ..frame.clone() };
    let (bits, prediction, non_finite) = frame.run(&mut frame.engine());
    let half = |v: f32| if setting.half_score { f16::from_f32(v).to_f32() } else { v };
    Map { score: bits.into_iter().map(|bits| half(f32::from_bits(bits))).collect(), prediction, non_finite }
}

/// What differs. Scores are equal to the last bit, but for those that take exponentials and logarithms.
pub fn difference(frame: &Frame, setting: &Setting, got: &Map) -> Option<String> {
    let want = on_cpu(frame, setting);
    if got.prediction != want.prediction || got.non_finite != want.non_finite {
        let wrong = got.prediction.iter().zip(&want.prediction).filter(|(got, want)| got != want).count();
        return Some(format!("{wrong} predictions, counts {:?} for {:?}", got.non_finite, want.non_finite));
    }
    let scale = want.score.iter().filter(|v| v.is_finite()).fold(1.0_f32, |scale, v| scale.max(v.abs()));
    let tolerance = match (matches!(frame.params.score, Score::Sml | Score::MaxLogit), setting.half_score) {
        (true, _) => 0.0,
        (false, false) => 3e-6 * scale,
        (false, true) => 1e-3 * scale,
    };
    let same = |got: f32, want: f32| {
        got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance
    };
    let at = (0..want.score.len()).find(|&i| !same(got.score[i], want.score[i]))?;
    Some(format!("score {at} is {} and not {} within {tolerance:e}", got.score[at], want.score[at]))
}

/// Runs a frame and fails where the results differ.
pub fn check(frame: &Frame, setting: Setting, stream: &Arc<CudaStream>) {
    let got = on_gpu(frame, &setting, &mut engine(frame, setting.graph), stream);
    if let Some(difference) = difference(frame, &setting, &got) {
        panic!("{:?} -> {}, {setting:?}, {:?}: {difference}", frame.shape(), frame.size, frame.params);
    }
}

pub fn frame(shape: [usize; 4], size: (usize, usize), params: Params) -> Frame {
    let [n, c, h, w] = shape;
    Frame {
        logits: logits(n, c, h, w, 7),
        size: Size::new(size.0, size.1),
        params,
        statistics: statistics(c, 0x5_1234_9876),
    }
}

/// Without a GPU too: what the tests hand to the GPU is the frame.
#[test]
fn the_memory_holds_the_frame() {
    let frame = frame([2, 5, 11, 70], (11, 70), Params::default());
    for element in ELEMENTS {
        for (layout, gaps, offset) in [(Layout::Nchw, [3, 5], 7), (Layout::Nhwc, [0, 0], 1)] {
            let setting = Setting { gaps, offsets: [offset, 0, 0], ..Setting::new(element, layout) };
            let (shape, strides) = (frame.shape(), setting.strides(frame.shape()));
            let bytes = memory(&frame.logits, &setting, strides);
            let halves = || bytes.chunks_exact(2).skip(offset).map(|b| u16::from_le_bytes([b[0], b[1]]));
            let values: Vec<f32> = match element {
                ElementType::F32 => bytes
                    .chunks_exact(4)
                    .skip(offset)
                    .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                    .collect(),
                ElementType::F16 => halves().map(|bits| f16::from_bits(bits).to_f32()).collect(),
                ElementType::BF16 => halves().map(|bits| bf16::from_bits(bits).to_f32()).collect(),
            };
            let logits = Logits::strided(&values[..], shape, strides).unwrap();
            let mut engine = frame.engine();
            let map = engine.submit(&logits, frame.size).unwrap();
            let got = Map {
                score: map.score.iter().copied().collect(),
                prediction: map.prediction.iter().copied().collect(),
                non_finite: map.non_finite.to_vec(),
            };
            assert_eq!(difference(&frame, &setting, &got), None, "{setting:?}");
        }
    }
}
