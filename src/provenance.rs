//! Where class statistics come from: network, pictures, day. What two measurements do not share is dropped when they are merged.

use serde::{Deserialize, Serialize};

/// Where statistics come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Number of images measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// Name of the model, or of the file with its logits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// SHA-256 of the model's weights, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_sha256: Option<String>,
    /// Name of the dataset, where the images are one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Its split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Parts of it that were measured, as "2/5"; none when all of it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<String>,
    /// Number of files that were measured, pictures and labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Digest over names and contents of these files, whatever their order (`dataset::ContentHash`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_sha256: Option<String>,
    /// Images that could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
    /// How pixels were assigned to classes: "predicted class" as the paper does, or "ground-truth class".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditioned_on: Option<String>,
    /// Day of the measurement, as YYYY-MM-DD (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Files that were imported or merged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Names of the classes, by train id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
}

impl Provenance {
    /// What holds for both together.
    pub(crate) fn merge(&self, other: &Self) -> Self {
        let same = |a: &Option<String>, b: &Option<String>| a.clone().filter(|_| a == b);
        let (files, content_sha256) = self.merged_content(other).unzip();
        let left_out = self.left_out.unwrap_or(0) + other.left_out.unwrap_or(0);
        Self {
            images: self.images.zip(other.images).map(|(a, b)| a + b),
            model: same(&self.model, &other.model),
            model_sha256: same(&self.model_sha256, &other.model_sha256),
            dataset: same(&self.dataset, &other.dataset),
            split: same(&self.split, &other.split),
            shards: merged_shards(
                &self.shards,
                &other.shards,
                self.dataset == other.dataset && self.split == other.split,
            ),
            files,
            content_sha256,
            left_out: (left_out > 0).then_some(left_out),
            conditioned_on: same(&self.conditioned_on, &other.conditioned_on),
            date: self.date.clone().max(other.date.clone()),
            sources: merged_sources(&self.sources, &other.sources),
            class_names: self.class_names.clone(),
        }
    }

    /// Number and digest of the files of both, where both know them.
    #[cfg(feature = "files")]
    fn merged_content(&self, other: &Self) -> Option<(u64, String)> {
        let content = |provenance: &Self| {
            crate::dataset::ContentHash::from_parts(provenance.files?, provenance.content_sha256.as_deref()?)
        };
        let mut merged = content(self)?;
        merged.merge(&content(other)?);
        Some((merged.files(), merged.sha256()))
    }

    #[cfg(not(feature = "files"))]
    fn merged_content(&self, _other: &Self) -> Option<(u64, String)> {
        None
    }
}

/// The parts of both, or none when they are all parts of one whole.
fn merged_shards(a: &[String], b: &[String], of_one_set: bool) -> Vec<String> {
    let mut shards: Vec<String> = a.iter().chain(b).cloned().collect();
    let count = |shard: &String| shard.split_once('/').and_then(|(_, count)| count.parse::<usize>().ok());
    let whole = shards.first().and_then(count).is_some_and(|count| {
        // No more are compared than there are: the number may be any.
        of_one_set
            && count == shards.len()
            && (1..=count).all(|index| shards.contains(&format!("{index}/{count}")))
    });
    if whole {
        shards.clear();
    }
    shards
}

/// The sources of both, each once.
fn merged_sources(a: &[String], b: &[String]) -> Vec<String> {
    let new = b.iter().filter(|source| !a.contains(source));
    a.iter().chain(new).cloned().collect()
}
