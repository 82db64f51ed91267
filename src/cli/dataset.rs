//! `sml dataset`: whether a copy of a dataset is complete, and the options that choose a dataset for every other command.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{counted, stdout};
use crate::dataset::{Check, Dataset, DatasetKind, Finding, FindingKind, FolderLabels};
use crate::{Error, Result};

/// A dataset on disk.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Dataset")]
pub struct DatasetArgs {
    /// Which dataset lies in --root; by default told by its structure
    #[arg(long, value_name = "NAME", value_enum, requires = "root")]
    pub dataset: Option<DatasetKind>,

    /// Folder of the dataset
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Split, such as train or val, where the dataset has several
    #[arg(long, value_name = "NAME", requires = "root")]
    pub split: Option<String>,

    /// For `folders`: the pictures, relative to --root; `images` by default
    #[arg(long, value_name = "DIR", requires = "root")]
    pub image_folder: Option<PathBuf>,

    /// For `folders`: the labels (PNG), relative to --root; `labels` by default
    #[arg(long, value_name = "DIR", requires = "root")]
    pub label_folder: Option<PathBuf>,

    /// For `folders`: label value of unexpected pixels, repeatable; 1 by default
    #[arg(long, value_name = "0-255", requires = "root")]
    pub anomaly_value: Vec<u8>,

    /// For `folders`: label value of normal pixels, repeatable; 0 by default
    #[arg(long, value_name = "0-255", requires = "root")]
    pub normal_value: Vec<u8>,

    /// For `folders`: label value of ignored pixels, repeatable; all others by default
    #[arg(long, value_name = "0-255", requires = "root")]
    pub ignore: Vec<u8>,
}

impl DatasetArgs {
    /// Opens the dataset; `None` when no root is given.
    ///
    /// # Errors
    /// As [`Dataset::open`], and when options of `folders` are given with another dataset.
    #[cfg_attr(not(feature = "torch"), allow(dead_code, reason = "for commands that run a network"))]
    pub fn open(&self) -> Result<Option<Dataset>> {
        let Some(root) = &self.root else { return Ok(None) };
        let (kind, folders) = self.kind()?;
        Dataset::open(kind, root, self.split.as_deref(), &folders).map(Some)
    }

    /// The dataset's kind, and the label values of `folders`: any of these options means it.
    fn kind(&self) -> Result<(Option<DatasetKind>, FolderLabels)> {
        let values = [&self.anomaly_value, &self.normal_value, &self.ignore];
        let folder_options = self.image_folder.is_some()
            || self.label_folder.is_some()
            || values.iter().any(|values| !values.is_empty());
        let kind = match self.dataset {
            None if folder_options => Some(DatasetKind::Folders),
            Some(kind) if folder_options && kind != DatasetKind::Folders => {
                return Err(Error::InvalidParameter {
                    field: "--image-folder, --label-folder, --anomaly-value, --normal-value or --ignore",
                    given: format!("given with --dataset {kind}"),
                    expected: "to come with --dataset folders only: the others define their own",
                });
            }
            kind => kind,
        };
        let or_default =
            |given: &Vec<u8>, default: Vec<u8>| if given.is_empty() { default } else { given.clone() };
        let default = FolderLabels::default();
        let folders = FolderLabels {
            images: self.image_folder.clone().unwrap_or(default.images),
            labels: self.label_folder.clone().unwrap_or(default.labels),
            anomaly: or_default(&self.anomaly_value, default.anomaly),
            normal: or_default(&self.normal_value, default.normal),
            ignore: self.ignore.clone(),
        };
        Ok((kind, folders))
    }
}

/// Verify copies of datasets
#[derive(Args)]
#[command(after_help = "Layouts (ROOT is what --root names; splits and cities as the datasets have them):
  cityscapes                  leftImg8bit/ and gtFine/, or in leftImg8bit_trainvaltest/ and gtFine_trainvaltest/
  fishyscapes-lost-and-found  as cityscapes, or images/ and labels_masks/, or fishyscapes_lostandfound/ beside
                              Lost and Found's leftImg8bit/
  fishyscapes-static          as cityscapes, or images/ and labels_masks/
  lost-and-found              leftImg8bit/ and gtCoarse/
  road-anomaly                frames/NAME.webp and frames/NAME.labels/, or images/ and labels_masks/
  road-anomaly21              images/ and labels_masks/NAME_labels_semantic.png
  road-obstacle21             images/ and labels_masks/NAME_labels_semantic.png
  street-hazards              train/images/training/, train/annotations/training/, test/images/test/ ...
  folders                     any two folders: --image-folder, --label-folder, --anomaly-value, --normal-value

Examples:
  sml dataset check --root cityscapes/
  sml dataset check --dataset fishyscapes-static --root fs_static/ --deep")]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Read every file of a dataset, tell what is missing or does not fit, and print the number of files with a digest over
    /// their names and contents
    Check {
        #[command(flatten)]
        dataset: DatasetArgs,

        /// Also decode every picture and every label file: damage, sizes, values of labels
        #[arg(long)]
        deep: bool,

        /// Print the result as one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When the dataset cannot be opened, or something about it does not fit.
    pub(super) fn run(&self) -> Result<()> {
        match &self.action {
            Action::Check { dataset, deep, json } => check(dataset, *deep, *json),
        }
    }
}

fn check(arguments: &DatasetArgs, deep: bool, as_json: bool) -> Result<()> {
    let Some(root) = &arguments.root else {
        return Err(Error::InvalidParameter {
            field: "--root",
            given: "missing".to_owned(),
            expected: "the folder of a dataset",
        });
    };
    let (kind, folders) = arguments.kind()?;
    let (kind, present) = Dataset::splits(kind, root, &folders)?;
    let mut findings = Vec::new();
    let splits: Vec<Option<String>> = match &arguments.split {
        Some(split) => vec![Some(split.clone())],
        None if present.is_empty() => vec![None],
        // "all" is not a split of its own.
        None => present.iter().filter(|split| *split != "all").cloned().map(Some).collect(),
    };
    if arguments.split.is_none() && !present.is_empty() {
        for split in kind.official_splits().iter().filter(|split| !present.iter().any(|name| name == *split))
        {
            let problem = format!("holds no pictures of the split {split}");
            findings.push(Finding { kind: FindingKind::Missing, path: root.clone(), problem });
        }
    }
    let mut results = Vec::new();
    for split in splits {
        let dataset = Dataset::open(Some(kind), root, split.as_deref(), &folders)?;
        let progress = super::progress_bar(dataset.items().len(), "checking");
        let check = dataset.check(deep, || progress.inc(1))?;
        progress.finish_and_clear();
        findings.extend(check.findings.iter().cloned());
        results.push((split, check));
    }
    match as_json {
        true => stdout::print_json(&as_object(kind, &results, &findings))?,
        false => stdout::print(&as_text(kind, &results, &findings))?,
    }
    match findings.len() as u64 {
        0 => Ok(()),
        found => {
            let problem = format!("{}, told on stdout", counted(found, "finding"));
            Err(Error::file(root, problem, "a complete copy of the dataset"))
        }
    }
}

fn as_object(
    kind: DatasetKind,
    results: &[(Option<String>, Check)],
    findings: &[Finding],
) -> serde_json::Value {
    let split = |(split, check): &(Option<String>, Check)| {
        json!({
            "split": split,
            "images": check.images,
            "official_images": kind.official_images(split.as_deref()),
            "labelled": check.labelled,
            "files": check.content.files(),
            "sha256": check.content.sha256(),
        })
    };
    json!({
        "dataset": kind,
        "splits": results.iter().map(split).collect::<Vec<_>>(),
        "findings": findings,
    })
}

fn as_text(kind: DatasetKind, results: &[(Option<String>, Check)], findings: &[Finding]) -> String {
    /// Findings of one kind that are shown; a copy may lack thousands of files.
    const MOST: usize = 10;
    let mut lines = Vec::new();
    for (split, check) in results {
        let split = split.as_ref().map_or(String::new(), |split| format!(" {split}"));
        let (images, files) = (counted(check.images, "picture"), counted(check.content.files(), "file"));
        lines.push(format!("{kind}{split}: {images}, {} with labels, {files}", check.labelled));
        lines.push(format!("  sha256 {}", check.content.sha256()));
    }
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    for finding in findings {
        let count = shown.entry(format!("{:?}", finding.kind)).or_default();
        *count += 1;
        if *count <= MOST {
            lines.push(super::on_one_line(&finding.to_string()));
        }
    }
    for (kind, count) in shown.iter().filter(|(_, count)| **count > MOST) {
        lines.push(format!("and {} more like this ({kind}): --json lists all", count - MOST));
    }
    lines.join("\n") + "\n"
}
