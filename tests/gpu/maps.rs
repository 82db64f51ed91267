//! Frames as tensors, and results side by side.

use sml::cuda::CudaOptions;
use sml::torch::{HostAnomalyMap, OutputTensors};
use sml::{Capacity, Engine, Params, Score, Size};
use tch::{Device, Kind, Tensor};

use crate::frames::{Frame, logits, statistics};

pub const KINDS: [Kind; 3] = [Kind::Float, Kind::Half, Kind::BFloat16];

pub fn frame([n, c, h, w]: [usize; 4], (height, width): (usize, usize), params: Params, seed: u64) -> Frame {
    let size = Size::new(height, width);
    Frame { logits: logits(n, c, h, w, seed), size, params, statistics: statistics(c, 0x5_1234_9876) }
}

/// The frame's logits on the host, packed NCHW.
pub fn tensor(frame: &Frame, kind: Kind) -> Tensor {
    let (n, c, h, w) = frame.logits.dim();
    let shape = [n, c, h, w].map(|length| length as i64);
    Tensor::from_slice(frame.logits.as_slice().unwrap()).view(shape).to_kind(kind)
}

/// The same numbers in another order of memory.
pub fn channels_last(logits: &Tensor) -> Tensor {
    logits.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

pub fn engine_there(frame: &Frame, graph: bool) -> Engine {
    let options = CudaOptions { graph };
    let capacity = Capacity::of(frame.shape(), frame.size);
    Engine::on_cuda(0, options, frame.params, Some(&frame.statistics), capacity).unwrap()
}

/// The CPU engine's result for the same logits, brought to the host where they are elsewhere.
pub fn on_host(frame: &Frame, logits: &Tensor) -> HostAnomalyMap {
    let mut engine = frame.engine();
    engine.submit_tensor(&logits.to_device(Device::Cpu), frame.size).unwrap().to_host().unwrap()
}

/// Tensors of a caller, filled with what no result is.
pub struct Outputs {
    pub score: Tensor,
    pub prediction: Tensor,
    pub non_finite: Tensor,
}

impl Outputs {
    pub fn new(batch: usize, size: Size, kind: Kind, device: Device) -> Self {
        let shape = [batch, size.height, size.width].map(|length| length as i64);
        Self {
            score: Tensor::full(shape, -777.0, (kind, device)),
            prediction: Tensor::full(shape, 254, (Kind::Uint8, device)),
            non_finite: Tensor::full(&shape[..1], -7, (Kind::Int64, device)),
        }
    }

    pub fn of(frame: &Frame, kind: Kind, device: Device) -> Self {
        Self::new(frame.shape().batch, frame.size, kind, device)
    }

    pub fn lend(&mut self) -> OutputTensors<'_> {
        let Self { score, prediction, non_finite } = self;
        OutputTensors { score, prediction, non_finite }
    }

    /// Waits for the work that writes them, on libtorch's current stream.
    pub fn to_host(&self) -> HostAnomalyMap {
        let score = self.score.to_device(Device::Cpu).to_kind(Kind::Float);
        let (n, h, w) = score.size3().unwrap();
        let dim = (n as usize, h as usize, w as usize);
        let numbers = |tensor: Tensor| Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap();
        let bytes = Vec::<u8>::try_from(self.prediction.to_device(Device::Cpu).flatten(0, -1)).unwrap();
        let counts = Vec::<i64>::try_from(self.non_finite.to_device(Device::Cpu)).unwrap();
        HostAnomalyMap {
            score: ndarray::Array3::from_shape_vec(dim, numbers(score)).unwrap(),
            prediction: ndarray::Array3::from_shape_vec(dim, bytes).unwrap(),
            non_finite: counts.into_iter().map(|count| u64::try_from(count).unwrap()).collect(),
        }
    }
}

/// Panics where the results differ. Scores are equal to the last bit, but for those that take exponentials and logarithms.
pub fn assert_same(got: &HostAnomalyMap, want: &HostAnomalyMap, score: Score, what: &str) {
    assert_eq!(got.score.dim(), want.score.dim(), "{what}");
    let wrong = got.prediction.iter().zip(&want.prediction).filter(|(got, want)| got != want).count();
    assert_eq!(wrong, 0, "{what}: predictions");
    assert_eq!(got.non_finite, want.non_finite, "{what}");
    let scale = want.score.iter().filter(|v| v.is_finite()).fold(1.0_f32, |scale, v| scale.max(v.abs()));
    let tolerance = if matches!(score, Score::Sml | Score::MaxLogit) { 0.0 } else { 3e-6 * scale };
    for ((at, got), want) in got.score.indexed_iter().zip(&want.score) {
        let same = got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance;
        assert!(same, "{what}: the score at {at:?} is {got} and not {want} within {tolerance:e}");
    }
}
