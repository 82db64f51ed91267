//! The optimisation: weighted cross-entropy, AdamW, warm-up and cosine decay.

use std::f64::consts::PI;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use sml::files::write_whole;
use sml::metrics::IGNORED_TRAIN_ID;
use sml::torch::{DabNet, DabNetConfig, serialize_weights, torch_error};
use sml::{Error, Result, cityscapes};
use tch::nn::{AdamW, Optimizer, OptimizerConfig, VarStore};
use tch::{Device, Reduction, TchError, Tensor};

use crate::batches::{Batch, draw_in_background};
use crate::pipeline::load_network;
use crate::splits::{Split, normal_scene};
use crate::validate;

const LEARNING_RATE: f64 = 2e-3;
const WEIGHT_DECAY: f64 = 1e-4;
/// Steps over which the learning rate rises from zero.
const WARM_UP: f64 = 100.0;
/// The loss is taken at half the pictures' resolution: a quarter of the memory traffic at hardly any loss of detail.
const LOSS_STRIDE: i64 = 2;
/// Scenes whose labels are counted for the class weights.
const COUNTED_SCENES: u64 = 64;
const STEPS_A_LINE: u64 = 10;
const STEPS_A_VALIDATION: u64 = 250;
/// Scenes of an intermediate validation.
const VALIDATION_SCENES: u64 = 12;

/// A network in training.
pub struct Training {
    seed: u64,
    steps_done: u64,
    batches: Receiver<Batch>,
    variables: VarStore,
    network: DabNet,
    optimizer: Optimizer,
    class_weights: Tensor,
    log: String,
}

impl Training {
    /// Initial weights (from libtorch's seed), class weights and the thread that draws batches.
    pub fn new(seed: u64, batch_size: u64) -> Result<Self> {
        let variables = VarStore::new(Device::Cpu);
        let network = DabNet::new(&variables.root(), &DabNetConfig::demo())?;
        let optimizer = AdamW { wd: WEIGHT_DECAY, ..AdamW::default() }
            .build(&variables, LEARNING_RATE)
            .map_err(torch_error("set up the optimiser"))?;
        let parameters: usize = variables.trainable_variables().iter().map(Tensor::numel).sum();
        eprintln!("{parameters} parameters, {} threads", tch::get_num_threads());
        Ok(Self {
            seed,
            steps_done: 0,
            class_weights: class_weights(seed)?,
            batches: draw_in_background(seed, batch_size),
            variables,
            network,
            optimizer,
            log: "step,learning_rate,loss,validation_miou\n".to_owned(),
        })
    }

    /// Trains for `steps` steps, or `minutes` if they are over sooner. A checkpoint and the table of losses are written
    /// into `folder` at every validation.
    pub fn run(&mut self, steps: u64, minutes: Option<u64>, folder: &Path) -> Result<()> {
        let start = Instant::now();
        let limit = minutes.map(|minutes| Duration::from_secs(60 * minutes));
        let mut losses = Vec::new();
        while self.steps_done < steps {
            let in_time = limit.map_or(0.0, |limit| start.elapsed().as_secs_f64() / limit.as_secs_f64());
            if in_time >= 1.0 {
                break;
            }
            let rate = learning_rate(self.steps_done, in_time.max(self.steps_done as f64 / steps as f64));
            losses.push(self.step(rate)?);
            let last = self.steps_done == steps;
            if last || self.steps_done.is_multiple_of(STEPS_A_LINE) {
                self.report(rate, &mut losses, start.elapsed(), last, folder)?;
            }
        }
        Ok(())
    }

    /// One step of the optimiser; its loss.
    fn step(&mut self, rate: f64) -> Result<f64> {
        let batch = self.batches.recv().map_err(|_| Error::Torch {
            action: "receive a batch of scenes".to_owned(),
            message: "the thread that draws them ended early".to_owned(),
        })?;
        let (pictures, labels) = batch.tensors()?;
        let logits = self.network.forward(&pictures, true)?;
        let loss = self.loss(&logits, &labels).map_err(torch_error("compute the loss"))?;
        self.optimizer.set_lr(rate);
        self.optimizer.backward_step(&loss);
        self.steps_done += 1;
        loss.f_double_value(&[]).map_err(torch_error("read the loss"))
    }

    /// Cross-entropy at half resolution. Which of the four pixels of a 2 x 2 square gives the label alternates from
    /// step to step, so that none is preferred.
    fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor, TchError> {
        let (down, right) = ((self.steps_done / 2 % 2).cast_signed(), (self.steps_done % 2).cast_signed());
        let labels = labels.f_slice(1, down, None, LOSS_STRIDE)?.f_slice(2, right, None, LOSS_STRIDE)?;
        let size = labels.size();
        logits.f_upsample_bilinear2d([size[1], size[2]], false, None, None)?.f_cross_entropy_loss(
            &labels,
            Some(&self.class_weights),
            Reduction::Mean,
            i64::from(IGNORED_TRAIN_ID),
            0.0,
        )
    }

    fn report(
        &mut self,
        rate: f64,
        losses: &mut Vec<f64>,
        elapsed: Duration,
        last: bool,
        folder: &Path,
    ) -> Result<()> {
        let loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        losses.clear();
        let validated = last || self.steps_done.is_multiple_of(STEPS_A_VALIDATION);
        let (mut column, mut remark) = (String::new(), String::new());
        if validated {
            // The weights as they are on disk, so that what is validated is what can be used.
            let network = load_network(&self.write_weights(folder)?)?;
            column = format!("{:.4}", validate::confusion(&network, self.seed, VALIDATION_SCENES)?.miou()?);
            remark = format!(", validation mIoU {column}");
        }
        let speed = self.steps_done as f64 / elapsed.as_secs_f64();
        eprintln!("step {}: loss {loss:.4}, {speed:.2} steps/s{remark}", self.steps_done);
        // Writing to a String cannot fail.
        let _ = writeln!(self.log, "{},{rate:.3e},{loss:.5},{column}", self.steps_done);
        if validated {
            write_whole(&folder.join("training.csv"), |out| out.write_all(self.log.as_bytes()))?;
        }
        Ok(())
    }

    /// Writes the weights into `folder` and returns the file's path.
    pub fn write_weights(&self, folder: &Path) -> Result<PathBuf> {
        let note = format!(
            "DABNet, half width, trained on synthetic street scenes only (examples/train_demo): seed {}, {} steps",
            self.seed, self.steps_done
        );
        let file = folder.join("demo.safetensors");
        let bytes = serialize_weights(&self.variables, &note)?;
        write_whole(&file, |out| out.write_all(&bytes))?;
        Ok(file)
    }
}

/// Linear warm-up, then a cosine from the full rate to a hundredth of it at `progress` 1.
fn learning_rate(step: u64, progress: f64) -> f64 {
    let cosine = 0.5 * (1.0 + (PI * progress.min(1.0)).cos());
    LEARNING_RATE * ((step + 1) as f64 / WARM_UP).min(1.0) * (0.01 + 0.99 * cosine)
}

/// Weight of each class in the loss, 1 / ln(1.1 + frequency): rare classes weigh up to about ten, a class that covers
/// half of all pixels about two (Paszke et al., "ENet", 2016, section 5.2, with their c raised from 1.02).
fn class_weights(seed: u64) -> Result<Tensor> {
    let mut counts = [0_u64; cityscapes::CLASSES.len()];
    for index in 0..COUNTED_SCENES {
        for &label in normal_scene(seed, Split::Training, index).1.as_raw() {
            if let Some(count) = counts.get_mut(usize::from(label)) {
                *count += 1;
            }
        }
    }
    let total = counts.iter().sum::<u64>().max(1) as f64;
    let weights = counts.map(|count| (1.0 / (1.1 + count as f64 / total).ln()) as f32);
    Tensor::f_from_slice(&weights).map_err(torch_error("hold the class weights"))
}
