//! The parameters of a network, taken from a checkpoint by name while the network is built.
//!
//! A layer asks for what it needs, by name and shape. What the checkpoint lacks, or has in another shape, is noted and
//! replaced, so that one pass over the network finds all that is wrong; [`Parameters::finish`] then refuses the
//! checkpoint with the whole list. Without a checkpoint the same pass lists the network's parameters.

use std::collections::{BTreeMap, HashMap};

use tch::{Kind, TchError, Tensor};

use super::torch_error;
use crate::files::{Checkpoint, StoredTensor, StoredType};
use crate::{Error, Result};

/// PyTorch counts training batches in a buffer of this name beside every batch norm; no forward pass reads it.
pub(super) const BATCH_COUNTER: &str = "num_batches_tracked";

/// A checkpoint that a network is built from.
pub(super) struct Parameters<'a, 'b> {
    checkpoint: Option<&'a mut Checkpoint<'b>>,
    /// Where each tensor lies in the checkpoint.
    indices: HashMap<String, usize>,
    /// What was asked for.
    asked: BTreeMap<String, Vec<i64>>,
    missing: Vec<String>,
    misfits: Vec<String>,
}

impl<'a, 'b> Parameters<'a, 'b> {
    /// Takes parameters from `checkpoint`.
    pub fn from(checkpoint: &'a mut Checkpoint<'b>) -> Self {
        let names = checkpoint.tensors().iter().enumerate();
        let indices = names.map(|(index, tensor)| (tensor.name.clone(), index)).collect();
        Self { indices, ..Self::nothing(Some(checkpoint)) }
    }

    /// Notes what is asked for, without any values.
    pub fn names_only() -> Self {
        Self::nothing(None)
    }

    fn nothing(checkpoint: Option<&'a mut Checkpoint<'b>>) -> Self {
        let indices = HashMap::new();
        Self { checkpoint, indices, asked: BTreeMap::new(), missing: Vec::new(), misfits: Vec::new() }
    }

    /// The parameter `name`, float32 on the host.
    ///
    /// Something of that shape stands in for one that is not there or does not fit.
    ///
    /// # Errors
    /// Those of [`Checkpoint::read`]; [`Error::Torch`] when there is no memory.
    pub fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.asked.insert(name.to_owned(), shape.to_vec());
        let unreadable = || torch_error(format!("read the weights {name}"));
        let Some(checkpoint) = &mut self.checkpoint else {
            return placeholder(shape).map_err(unreadable());
        };
        let Some(&index) = self.indices.get(name) else {
            self.missing.push(format!("{name} {shape:?}"));
            return placeholder(shape).map_err(unreadable());
        };
        let stored = &checkpoint.tensors()[index];
        let Some(kind) = floating_kind(stored).filter(|_| has_shape(stored, shape)) else {
            self.misfits.push(format!("{name} is {} {:?}, not {shape:?}", stored.element, stored.shape));
            return placeholder(shape).map_err(unreadable());
        };
        let bytes = checkpoint.read(index)?;
        let tensor = || Tensor::f_from_data_size(&bytes, shape, kind)?.f_to_kind(Kind::Float);
        tensor().map_err(unreadable())
    }

    /// What was asked for: names and shapes.
    pub fn into_asked(self) -> BTreeMap<String, Vec<i64>> {
        self.asked
    }

    /// Refuses a checkpoint that lacks something, has it in another shape, or holds what the network does not know.
    ///
    /// Counters of batches, and names that begin with one of `unused`, may stay over.
    ///
    /// # Errors
    /// [`Error::File`] that lists every name.
    pub fn finish(self, network: &str, unused: &[&str]) -> Result<()> {
        let Some(checkpoint) = self.checkpoint else { return Ok(()) };
        let known = |name: &str| {
            self.asked.contains_key(name)
                || name.ends_with(BATCH_COUNTER)
                || unused.iter().any(|start| name.starts_with(start))
        };
        let names = checkpoint.tensors().iter().map(|tensor| &tensor.name);
        let unexpected: Vec<String> = names.filter(|name| !known(name)).cloned().collect();
        let lists = [
            ("missing", self.missing),
            ("unexpected", unexpected),
            ("of another shape or type", self.misfits),
        ];
        let problems: Vec<String> = lists
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{} {what} ({})", names.len(), names.join(", ")))
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        let problem = format!("its parameters are not those of {network}: {}", problems.join("; "));
        let expected = format!("the {} parameters of that network", self.asked.len());
        Err(Error::file(checkpoint.path(), problem, expected))
    }
}

/// Number of elements that training changes among tensors given by name and shape: all but running statistics and counters.
pub fn trained_parameters(tensors: &BTreeMap<String, Vec<i64>>) -> u64 {
    let is_trained = |name: &str| !name.contains("running_") && !name.ends_with(BATCH_COUNTER);
    let elements = |shape: &[i64]| shape.iter().product::<i64>().unsigned_abs();
    tensors.iter().filter(|(name, _)| is_trained(name)).map(|(_, shape)| elements(shape)).sum()
}

/// A tensor of any shape that takes no memory to speak of.
fn placeholder(shape: &[i64]) -> Result<Tensor, TchError> {
    Tensor::f_ones([1], (Kind::Float, tch::Device::Cpu))?.f_expand(shape, false)
}

fn floating_kind(stored: &StoredTensor) -> Option<Kind> {
    match stored.element {
        StoredType::F64 => Some(Kind::Double),
        StoredType::F32 => Some(Kind::Float),
        StoredType::F16 => Some(Kind::Half),
        StoredType::BF16 => Some(Kind::BFloat16),
        _ => None,
    }
}

fn has_shape(stored: &StoredTensor, shape: &[i64]) -> bool {
    stored.shape.iter().map(|&side| i64::try_from(side).unwrap_or(i64::MAX)).eq(shape.iter().copied())
}
