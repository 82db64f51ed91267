//! What an evaluation is going to do: everything that its numbers depend on but the pictures themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Mode, Setting};

/// The identity of an evaluation. Two runs whose plans agree, but for device and shard, measure the same thing, and
/// may go on with each other's work or be merged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the dataset, or of where scores or logits come from.
    pub dataset: String,
    /// Its split, where it has several.
    pub split: Option<String>,
    /// Images in the whole set, all shards together.
    pub images: usize,
    /// SHA-256 over the names of these images, in their order.
    pub images_sha256: String,
    /// Name of the network.
    pub model: Option<String>,
    /// SHA-256 of its weights.
    pub model_sha256: Option<String>,
    /// SHA-256 of the class statistics' file.
    pub statistics_sha256: Option<String>,
    /// Names of the predicted classes; empty where none are predicted.
    pub class_names: Vec<String>,
    /// The rows of the table. A score that comes out of files has no parameters.
    pub rows: Vec<Row>,
    /// How pixel metrics are computed.
    pub mode: Mode,
    /// Other options that change numbers, by the names that the user knows them by.
    pub options: BTreeMap<String, String>,
    /// Where it runs; may differ between runs that go together.
    pub device: Option<String>,
    /// The part of the images that this run takes, as `2/5`; may differ likewise.
    pub shard: Option<String>,
}

/// A row of the table: its name and, where this program computes it, its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the score.
    pub name: String,
    /// Parameters of the post-processing that makes it.
    pub params: Option<crate::Params>,
}

impl From<Setting> for Row {
    fn from(setting: Setting) -> Self {
        Self { name: setting.name, params: Some(setting.params) }
    }
}

impl Plan {
    /// The rows that are shown as pictures: msp and max_logit where they are compared, and the last; else the first and the
    /// last.
    pub fn shown_rows(&self) -> Vec<usize> {
        let baseline = |row: &Row| row.name == "msp" || row.name == "max_logit";
        let mut shown: Vec<usize> = (0..self.rows.len()).filter(|&row| baseline(&self.rows[row])).collect();
        if shown.is_empty() && !self.rows.is_empty() {
            shown.push(0);
        }
        if let Some(last) = self.rows.len().checked_sub(1).filter(|last| !shown.contains(last)) {
            shown.push(last);
        }
        shown
    }

    /// What keeps the work of `other` from being used with this plan: the first thing that differs, as
    /// `model_sha256 is "ab…" and not "cd…"`. `None` when they go together.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let comparable = |plan: &Self| {
            let plan = Self { device: None, shard: None, ..plan.clone() };
            serde_json::to_value(plan).unwrap_or_default()
        };
        let (mine, theirs) = (comparable(self), comparable(other));
        first_difference("", &mine, &theirs)
    }
}

/// The first place in which two JSON values differ.
fn first_difference(name: &str, mine: &serde_json::Value, theirs: &serde_json::Value) -> Option<String> {
    use serde_json::Value::{Array, Object};
    if mine == theirs {
        return None;
    }
    if let (Object(mine), Object(theirs)) = (mine, theirs) {
        let null = serde_json::Value::Null;
        return mine.keys().chain(theirs.keys()).find_map(|key| {
            let inner =
                if name.is_empty() || name == "options" { key.clone() } else { format!("{name}.{key}") };
            first_difference(&inner, mine.get(key).unwrap_or(&null), theirs.get(key).unwrap_or(&null))
        });
    }
    if let (Array(mine), Array(theirs)) = (mine, theirs)
        && mine.len() == theirs.len()
    {
        let mut pairs = mine.iter().zip(theirs).enumerate();
        return pairs
            .find_map(|(place, (mine, theirs))| first_difference(&format!("{name}[{place}]"), mine, theirs));
    }
    Some(format!("{name} is {} and not {}", short(theirs), short(mine)))
}

/// A JSON value that fits into a message.
fn short(value: &serde_json::Value) -> String {
    const LONGEST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::evaluation) fn plan(scores: &[&str]) -> Plan {
        Plan {
            dataset: "folders".to_owned(),
            split: None,
            images: 3,
            images_sha256: "00".to_owned(),
            model: None,
            model_sha256: None,
            statistics_sha256: None,
            class_names: Vec::new(),
            rows: scores.iter().map(|name| Row { name: (*name).to_owned(), params: None }).collect(),
            mode: Mode::Exact,
            options: BTreeMap::from([("--layout".to_owned(), "nchw".to_owned())]),
            device: Some("cpu".to_owned()),
            shard: None,
        }
    }

    #[test]
    fn device_and_shard_may_differ_and_nothing_else() {
        let one = plan(&["score"]);
        let elsewhere =
            Plan { device: Some("cuda:0".to_owned()), shard: Some("1/2".to_owned()), ..one.clone() };
        assert_eq!(one.difference(&elsewhere), None);
        let other = Plan { images: 4, ..one.clone() };
        assert_eq!(one.difference(&other).unwrap(), "images is 4 and not 3");
        let options = BTreeMap::from([("--layout".to_owned(), "nhwc".to_owned())]);
        let other = Plan { options, ..one.clone() };
        assert_eq!(one.difference(&other).unwrap(), r#"--layout is "nhwc" and not "nchw""#);
        let other = Plan { model_sha256: Some("é".repeat(200)), ..one.clone() };
        assert!(one.difference(&other).unwrap().starts_with("model_sha256 is \"éé"));
    }
}
