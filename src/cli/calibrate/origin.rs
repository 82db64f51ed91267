//! What a measurement is of, in words: for comparison with a checkpoint, and for the statistics' provenance.

use super::Arguments;
use super::checkpoint::{Identity, digest_of};
use super::inputs::Inputs;
use super::measurement::Measured;
use crate::Provenance;
use crate::dataset::Shard;
use crate::torch::Backbone;

impl Arguments {
    /// What a checkpoint must agree in.
    pub(super) fn identity(&self, inputs: &Inputs, backbone: Option<&dyn Backbone>) -> Identity {
        let mut identity = Identity::new();
        let mut say = |name: &str, value: String| identity.insert(name.to_owned(), value);
        say("version", env!("CARGO_PKG_VERSION").to_owned());
        say("inputs", format!("{} with digest {}", inputs.len(), digest_of(inputs)));
        if let Inputs::Dataset(dataset) = inputs {
            say(
                "dataset",
                [dataset.name(), dataset.split().unwrap_or_default()].join(" ").trim_end().to_owned(),
            );
        }
        if let Some(shard) = self.shard {
            say("shard", shard.to_string());
        }
        say("condition", self.condition_on.words().to_owned());
        say("mIoU", self.miou.to_string());
        if let Some(backbone) = backbone {
            say("model", backbone.name().to_owned());
            say("model's digest", backbone.digest().to_owned());
            say("device", format!("{:?}", backbone.device()));
            say("preprocessing", format!("{:?}", backbone.preprocessing()));
            say("precision and layout", format!("{:?}", backbone.input_format()));
        } else {
            say("size", self.size.map_or("its own".to_owned(), |size| size.to_string()));
            say("align-corners", self.align_corners.unwrap_or_default().to_string());
            say("layout", format!("{:?}", crate::Layout::from(self.layout.unwrap_or_default())));
        }
        identity
    }

    /// What the statistics say about where they come from.
    pub(super) fn provenance(
        &self,
        inputs: &Inputs,
        backbone: Option<&dyn Backbone>,
        measured: &Measured,
    ) -> Provenance {
        let (dataset, split) = match inputs {
            Inputs::Dataset(dataset) => (Some(dataset.name().to_owned()), dataset.split().map(str::to_owned)),
            _ => (None, None),
        };
        let content = Some(measured.content).filter(|content| content.files() > 0);
        let sources = self.dataset.root.iter().chain(&self.inputs);
        Provenance {
            images: Some(measured.images),
            model: backbone.map(|backbone| backbone.name().to_owned()),
            model_sha256: backbone.map(|backbone| backbone.digest().to_owned()),
            dataset,
            split,
            shards: self.shard.iter().map(Shard::to_string).collect(),
            files: content.map(|content| content.files()),
            content_sha256: content.map(|content| content.sha256()),
            left_out: Some(measured.failures.len() as u64).filter(|&failures| failures > 0),
            conditioned_on: Some(self.condition_on.words().to_owned()),
            date: Some(super::super::today()),
            sources: sources.map(|path| path.display().to_string()).collect(),
            class_names: backbone.map_or(Vec::new(), |backbone| backbone.class_names().to_vec()),
        }
    }
}
