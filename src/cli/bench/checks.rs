//! Options that contradict each other or the device are refused before anything is measured.

use super::Arguments;
use super::settings::StagesArg;
use super::sweep::Axis;
#[cfg(not(all(feature = "torch", feature = "cuda")))]
use crate::DeviceRequest;
use crate::{Device, Error, Result, Size};

/// Whether the rule is broken, the option, what was given with it, and what would be right.
type Rule = (bool, &'static str, &'static str, &'static str);

impl Arguments {
    /// # Errors
    /// [`Error::InvalidParameter`] for the first contradiction.
    pub(super) fn check(&self) -> Result<()> {
        let several = self.concurrency > 1;
        let shape_batch = self.shape.and_then(|shape| shape.batch);
        let batches_differ =
            self.batch.zip(shape_batch).is_some_and(|(batch, images)| usize::from(batch) != images);
        obey(&[
            (
                batches_differ,
                "--batch",
                "another number of images than --shape's",
                "one of the two, or the same",
            ),
            (
                self.cold && several,
                "--cold",
                "given with --concurrency",
                "one engine: the flush before one's frame would run during another's",
            ),
            (
                self.sweep == Some(Axis::Threads) && several,
                "--concurrency",
                "given with --sweep threads",
                "one engine, whose threads are what is swept",
            ),
            (
                self.sweep == Some(Axis::Widths) && self.stages == StagesArg::Standardize,
                "--sweep",
                "widths with --stages standardize",
                "a stage that the boundary width has to do with",
            ),
            (
                self.sweep == Some(Axis::Widths) && self.stages == StagesArg::Smooth,
                "--sweep",
                "widths with --stages smooth",
                "a stage that the boundary width has to do with",
            ),
        ])?;
        self.check_network()
    }

    #[cfg(feature = "torch")]
    fn check_network(&self) -> Result<()> {
        let model = &self.model;
        if !self.has_network() {
            return obey(&[
                (model.weights.is_some(), "--weights", ALONE, NEEDS_NETWORK),
                (model.precision.is_some(), "--precision", ALONE, NEEDS_NETWORK),
                (model.channels_last, "--channels-last", ALONE, NEEDS_NETWORK),
                (model.output_stride.is_some(), "--output-stride", ALONE, NEEDS_NETWORK),
                (model.keep_batch_norm, "--keep-batch-norm", ALONE, NEEDS_NETWORK),
            ]);
        }
        let images = self.shape.and_then(|shape| shape.batch);
        obey(&[
            (self.from.is_some(), "--from", WITH_NETWORK, OWN_LOGITS),
            (self.dtype.is_some(), "--dtype", WITH_NETWORK, OWN_LOGITS),
            (self.layout.is_some(), "--layout", WITH_NETWORK, OWN_LOGITS),
            (
                self.stages != StagesArg::All,
                "--stages",
                WITH_NETWORK,
                "the engine alone: every part of whole frames is reported",
            ),
            (self.sweep.is_some(), "--sweep", WITH_NETWORK, "the engine alone"),
            (self.batch.is_some_and(|batch| batch != 1), "--batch", SEVERAL, ONE_PICTURE),
            (images.is_some_and(|images| images != 1), "--shape", SEVERAL, ONE_PICTURE),
        ])
    }

    #[cfg(not(feature = "torch"))]
    fn check_network(&self) -> Result<()> {
        Ok(())
    }

    /// Whether whole frames are measured.
    #[cfg(feature = "torch")]
    pub(super) fn has_network(&self) -> bool {
        self.model.model != super::NO_NETWORK
    }

    #[cfg(not(feature = "torch"))]
    pub(super) fn has_network(&self) -> bool {
        false
    }

    /// Where is measured.
    ///
    /// # Errors
    /// [`Error::Device`] for one that cannot be used.
    #[cfg(feature = "torch")]
    pub(super) fn device(&self) -> Result<Device> {
        Ok(match crate::torch::choose_device(self.model.device)? {
            #[cfg(feature = "cuda")]
            tch::Device::Cuda(ordinal) => Device::Cuda(ordinal),
            #[cfg(not(feature = "cuda"))]
            tch::Device::Cuda(_) if self.model.device != DeviceRequest::Auto => {
                return Err(no_gpus(self.model.device));
            }
            _ => Device::Cpu,
        })
    }

    #[cfg(not(feature = "torch"))]
    pub(super) fn device(&self) -> Result<Device> {
        match self.device {
            DeviceRequest::Cuda(_) => Err(no_gpus(self.device)),
            _ => Ok(Device::Cpu),
        }
    }

    /// Whether frames are CUDA graphs; `None` on the CPU, which has none.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] where they were asked for in vain.
    pub(super) fn graph_on(&self, device: Device) -> Result<Option<bool>> {
        let on = self.graph.map(|graph| graph == super::Switch::On);
        if device != Device::Cpu {
            let marked = self.stages != StagesArg::All && on == Some(true);
            obey(&[(
                marked,
                "--graph",
                "on with a single stage of --stages",
                "off: a stage is timed between marks in the stream, which graphs do not have",
            )])?;
            return Ok(Some(on.unwrap_or_default()));
        }
        obey(&[(on.is_some(), "--graph", "given with the CPU as device", "a GPU: the CPU has no graphs")])?;
        Ok(None)
    }
}

#[cfg(feature = "torch")]
const ALONE: &str = "given without a network";
#[cfg(feature = "torch")]
const NEEDS_NETWORK: &str = "to come with --backbone";
#[cfg(feature = "torch")]
const WITH_NETWORK: &str = "given with --backbone";
#[cfg(feature = "torch")]
const OWN_LOGITS: &str = "the engine alone: a network makes its own logits";
#[cfg(feature = "torch")]
const SEVERAL: &str = "a batch of several pictures with --backbone";
#[cfg(feature = "torch")]
const ONE_PICTURE: &str = "whole frames, one at a time: 1xCxHxW or HxW";

fn obey(rules: &[Rule]) -> Result<()> {
    match rules.iter().find(|(broken, ..)| *broken) {
        Some((_, field, given, expected)) => {
            Err(Error::InvalidParameter { field, given: (*given).to_owned(), expected })
        }
        None => Ok(()),
    }
}

/// # Errors
/// [`Error::InvalidParameter`] for logits of a broken number of rows or columns.
pub(super) fn divides(from: usize, size: Size) -> Result<()> {
    if size.height.is_multiple_of(from) && size.width.is_multiple_of(from) {
        return Ok(());
    }
    Err(Error::InvalidParameter {
        field: "--shape",
        given: format!("{size} with --from {from}"),
        expected: "a height and a width that --from divides",
    })
}

#[cfg(not(all(feature = "torch", feature = "cuda")))]
fn no_gpus(request: DeviceRequest) -> Error {
    Error::Device {
        device: request.to_string(),
        problem: "this build of sml measures on the CPU only".to_owned(),
        remedy: "use --device cpu, or build sml with its features torch and cuda".to_owned(),
    }
}
