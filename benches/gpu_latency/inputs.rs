//! The frame in one form on the GPU: the inputs that take turns, the outputs, and the comparison with the CPU engine.

use std::fmt;
use std::fs;
use std::path::Path;

use sml::torch::OutputTensors;
use sml::{ClassStatistics, ElementType, Engine, Layout, LogitsShape, Params};
use tch::{Device, Kind, Tensor};

use crate::Failure;
use crate::frame::{CLASSES, Frame, output, result_bytes};

/// "Cold" figures rotate inputs of this many times the L2 cache: nothing of one is left when its turn comes again.
const COLD_FACTOR: u64 = 3;
const MOST_SETS: u64 = 256;
const GPU: Device = Device::Cuda(0);

/// Element type, memory order and resolution of the logits.
#[derive(Clone, Copy)]
pub struct Form {
    element_type: ElementType,
    layout: Layout,
    /// Pixels of the result for each row or column of the logits.
    stride: usize,
}

impl Form {
    pub const fn new(element_type: ElementType, layout: Layout, stride: usize) -> Self {
        Self { element_type, layout, stride }
    }

    pub fn dtype(self) -> &'static str {
        match self.element_type {
            ElementType::F32 => "f32",
            ElementType::F16 => "f16",
            ElementType::BF16 => "bf16",
        }
    }

    pub fn layout(self) -> &'static str {
        match self.layout {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        }
    }

    pub fn stride(self) -> usize {
        self.stride
    }

    /// Whether the peers are measured on it too.
    pub fn is_for_peers(self) -> bool {
        matches!((self.element_type, self.layout), (ElementType::F32 | ElementType::F16, Layout::Nchw))
    }

    /// The least that a stage must read and write.
    pub fn bytes(self, stage: &str) -> u64 {
        let pixels = output().pixels() as u64;
        let element = if self.element_type == ElementType::F32 { 4 } else { 2 };
        match stage {
            "suppress" => 9 * pixels,
            "smooth" => 8 * pixels,
            _ => CLASSES as u64 * pixels / (self.stride * self.stride) as u64 * element + result_bytes(),
        }
    }

    fn kind(self) -> Kind {
        match self.element_type {
            ElementType::F32 => Kind::Float,
            ElementType::F16 => Kind::Half,
            ElementType::BF16 => Kind::BFloat16,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} 1/{}", self.dtype(), self.layout(), self.stride)
    }
}

/// Logits that take turns, and memory for one result.
pub struct Inputs {
    form: Form,
    frame: std::rc::Rc<Frame>,
    sets: std::rc::Rc<Vec<Tensor>>,
    score: Tensor,
    prediction: Tensor,
    non_finite: Tensor,
}

impl Inputs {
    /// As many inputs as push each other out of a cache of `l2_bytes`; two at least.
    pub fn new(form: Form, l2_bytes: u64) -> Result<Self, Failure> {
        let frame = Frame::new(form.element_type, form.layout, form.stride);
        let shape = frame.shape();
        let [classes, height, width] = [shape.classes, shape.size.height, shape.size.width].map(|n| n as i64);
        let (dimensions, width_at) = match form.layout {
            Layout::Nchw => ([1, classes, height, width], 3),
            Layout::Nhwc => ([1, height, width, classes], 2),
        };
        let logits = Tensor::f_from_data_size(frame.elements_as_bytes(), &dimensions, form.kind())?
            .f_to_device(GPU)?;
        let number = (COLD_FACTOR * l2_bytes).div_ceil(frame.bytes()).clamp(2, MOST_SETS) as i64;
        // Others by moving the scene sideways: as many borders and the same statistics, in other memory.
        let set = |turn: i64| -> Result<Tensor, tch::TchError> {
            let moved = logits.f_roll([turn * width / number], [width_at])?;
            match form.layout {
                Layout::Nchw => Ok(moved),
                Layout::Nhwc => moved.f_permute([0, 3, 1, 2]),
            }
        };
        let sets = (0..number).map(set).collect::<Result<Vec<_>, _>>()?;
        let [score, prediction, non_finite] = outputs();
        Ok(Self { form, frame: frame.into(), sets: sets.into(), score, prediction, non_finite })
    }

    /// The same inputs, with outputs of its own.
    pub fn with_outputs(&self) -> Self {
        let [score, prediction, non_finite] = outputs();
        Self {
            form: self.form,
            frame: self.frame.clone(),
            sets: self.sets.clone(),
            score,
            prediction,
            non_finite,
        }
    }

    pub fn form(&self) -> Form {
        self.form
    }

    pub fn shape(&self) -> LogitsShape {
        self.frame.shape()
    }

    pub fn statistics(&self) -> &ClassStatistics {
        self.frame.statistics()
    }

    /// How many inputs take turns.
    pub fn sets(&self) -> usize {
        self.sets.len()
    }

    /// Gives the input whose turn it is to the engine.
    pub fn submit(&mut self, engine: &mut Engine, turn: usize) -> Result<(), Failure> {
        let output = OutputTensors {
            score: &mut self.score,
            prediction: &mut self.prediction,
            non_finite: &mut self.non_finite,
        };
        Ok(engine.submit_tensor_into(&self.sets[turn % self.sets.len()], output)?)
    }

    /// How the result of the frame differs from the CPU engine's; `None` if they agree. The outputs hold other numbers
    /// before, so that what the kernels leave unwritten shows.
    pub fn difference_from_cpu(&mut self, engine: &mut Engine) -> Result<Option<String>, Failure> {
        let _ = self.score.f_fill_(f64::NAN)?;
        let _ = self.prediction.f_fill_(0xAA)?;
        let _ = self.non_finite.f_fill_(-1)?;
        self.submit(engine, 0)?;
        let [score, prediction, non_finite] = self.result()?;
        let (score, prediction) = (elements::<f32>(&score)?, elements::<u8>(&prediction)?);
        let mut cpu = self.frame.engine(Params::default());
        let want = cpu.submit(&self.frame.logits(), output())?;
        let labels = prediction.iter().zip(want.prediction).filter(|(got, want)| got != want).count();
        // Bit for bit: both backends keep to one order of operations.
        let differs = |(got, want): &(&f32, &f32)| got.to_bits() != want.to_bits();
        let scores = score.iter().zip(want.score).filter(differs).count();
        let largest = score.iter().zip(want.score).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
        let counts = elements::<i64>(&non_finite)?;
        if labels == 0 && scores == 0 && counts == [0] {
            return Ok(None);
        }
        Ok(Some(format!(
            "{labels} predictions and {scores} scores differ from the CPU engine's (by up to {largest:e}), \
             non-finite pixels: {counts:?}"
        )))
    }

    /// Writes logits, score and prediction of the frame as plain numbers without a header, and its statistics.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        fs::create_dir_all(folder)?;
        let mut inputs = self.with_outputs();
        let mut engine = crate::engine(self, false)?;
        inputs.submit(&mut engine, 0)?;
        let [score, prediction, _] = inputs.result()?;
        let name = |what: &str, kind: &str| {
            folder.join(format!("{what}-{}-{}.{kind}", self.form.dtype(), self.form.stride))
        };
        fs::write(name("statistics", "json"), self.frame.statistics().to_json())?;
        fs::write(name("logits", "bin"), self.frame.elements_as_bytes())?;
        fs::write(name("score", "bin"), bytemuck::cast_slice(&elements::<f32>(&score)?))?;
        fs::write(name("prediction", "bin"), elements::<u8>(&prediction)?)?;
        Ok(())
    }

    fn result(&self) -> Result<[Tensor; 3], tch::TchError> {
        let host = |tensor: &Tensor| tensor.f_to_device(Device::Cpu);
        Ok([host(&self.score)?, host(&self.prediction)?, host(&self.non_finite)?])
    }
}

fn outputs() -> [Tensor; 3] {
    let size = [1, output().height as i64, output().width as i64];
    [
        Tensor::empty(size, (Kind::Float, GPU)),
        Tensor::empty(size, (Kind::Uint8, GPU)),
        Tensor::empty([1], (Kind::Int64, GPU)),
    ]
}

fn elements<T: tch::kind::Element + Copy + Default>(tensor: &Tensor) -> Result<Vec<T>, tch::TchError> {
    let mut elements = vec![T::default(); tensor.numel()];
    tensor.f_copy_data(&mut elements, tensor.numel())?;
    Ok(elements)
}
