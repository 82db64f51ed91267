//! What is going to be measured, by what: the options checked and turned into inputs, a plan and a scorer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::evaluate::{EvaluateArgs, ModeArg};
use super::scorer::Scorer;
use super::source::{Inputs, Kind};
use crate::dataset::{Dataset, DatasetKind};
use crate::evaluation::{Engines, Mode, Plan, Row, Setting, Sweep};
use crate::files::{LogitsFile, read_at_most};
use crate::params::{Score, Stage};
use crate::{ClassStatistics, Error, Params, Result, cityscapes};

/// Findings about a dataset that are printed; `sml dataset check` prints all.
const MOST_FINDINGS: usize = 3;

impl EvaluateArgs {
    /// Finds the images and builds what scores them.
    ///
    /// # Errors
    /// When options contradict each other, or the set, the network or the statistics are not usable.
    pub(super) fn prepare(&self) -> Result<(Inputs, Plan, Scorer)> {
        // What contradicts itself is told before anything is read.
        if self.dataset.root.is_some() && self.labels.is_some() {
            return Err(invalid("--labels", "given with --root", "one of both: where the labels are"));
        }
        if self.logits.is_none() && (self.layout.is_some() || self.align_corners.is_some()) {
            let expected = "to come with --logits only: a network brings its own";
            return Err(invalid("--layout or --align-corners", "given without --logits", expected));
        }
        if self.output.components.is_some() && matches!(self.mode, ModeArg::Histogram) {
            let expected = "to come with --mode exact, which keeps the maps that objects are found in";
            return Err(invalid("--components", "given with --mode histogram", expected));
        }
        let dataset = self.dataset.open()?;
        if let Some(dataset) = &dataset {
            warn_of_findings(dataset);
        }
        let saved = match &self.logits {
            Some(folder) => Some((Kind::Logits, vec![folder.clone()])),
            None if !self.scores.is_empty() => Some((Kind::Scores, self.scores.clone())),
            None => None,
        };
        let Some((kind, folders)) = saved else { return self.with_network(dataset) };
        #[cfg(feature = "torch")]
        self.model.check_unused()?;
        let inputs = match (dataset, &self.labels) {
            (Some(dataset), _) => Inputs::saved_for(kind, &folders, dataset)?,
            (None, Some(labels)) => Inputs::saved(kind, &folders, labels)?,
            (None, None) => {
                return Err(missing("--labels", "the folder with the labels, or --root of a dataset"));
            }
        };
        if kind == Kind::Scores { self.with_scores(inputs) } else { self.with_logits(inputs) }
    }

    /// Saved scores as they are.
    fn with_scores(&self, inputs: Inputs) -> Result<(Inputs, Plan, Scorer)> {
        if self.stats.is_some() {
            return Err(invalid("--stats", "given with --scores", "to come with a network or with --logits"));
        }
        if !labels_unexpected(&inputs) {
            let given = "given for a dataset that labels nothing unexpected";
            return Err(invalid("--scores", given, "a dataset with unexpected objects"));
        }
        let mut plan = self.plan(&inputs);
        plan.rows = names_of(&self.scores).into_iter().map(|name| Row { name, params: None }).collect();
        Ok((inputs, plan, Scorer::Saved))
    }

    /// Saved logits, with the engines on the CPU.
    fn with_logits(&self, inputs: Inputs) -> Result<(Inputs, Plan, Scorer)> {
        let statistics = self.stats.as_ref().map(ClassStatistics::read).transpose()?;
        let classes = match inputs.first_file() {
            Some(path) => {
                LogitsFile::read(path, None)?.logits(self.layout.unwrap_or_default().into())?.shape().classes
            }
            None => 0,
        };
        let mut plan = self.plan(&inputs);
        plan.class_names = class_names(classes, statistics.as_ref());
        let layout = self.layout.unwrap_or_default();
        plan.options.insert("--layout".to_owned(), format!("{layout:?}").to_lowercase());
        let align_corners = self.align_corners.unwrap_or_default();
        let engines = self.engines(&inputs, &mut plan, align_corners, statistics)?;
        Ok((inputs, plan, Scorer::Logits { engines: Box::new(engines), layout }))
    }

    #[cfg(not(feature = "torch"))]
    fn with_network(&self, _: Option<Dataset>) -> Result<(Inputs, Plan, Scorer)> {
        Err(missing("--logits or --scores", "one of them: this build of sml runs no network"))
    }

    /// A network on the pictures of a dataset.
    #[cfg(feature = "torch")]
    fn with_network(&self, dataset: Option<Dataset>) -> Result<(Inputs, Plan, Scorer)> {
        let Some(dataset) = dataset else {
            return Err(missing("--root, --logits or --scores", "one of them: what to evaluate"));
        };
        let inputs = Inputs::pictures(dataset);
        let backbone = self.model.load()?;
        let statistics = self.model.statistics(self.stats.as_deref(), &*backbone)?;
        let mut plan = self.plan(&inputs);
        plan.model = Some(backbone.name().to_owned());
        plan.model_sha256 = Some(backbone.digest().to_owned());
        plan.class_names = backbone.class_names().to_vec();
        plan.device = Some(match backbone.device() {
            tch::Device::Cuda(ordinal) => format!("cuda:{ordinal}"),
            other => format!("{other:?}").to_lowercase(),
        });
        let engines = self.engines(&inputs, &mut plan, backbone.align_corners(), statistics)?;
        Ok((inputs, plan, Scorer::Network { engines: Box::new(engines), backbone }))
    }

    /// The rows of the plan and the engines that make them.
    fn engines(
        &self,
        inputs: &Inputs,
        plan: &mut Plan,
        align_corners: bool,
        statistics: Option<ClassStatistics>,
    ) -> Result<Engines> {
        let train_ids = inputs.dataset().is_some_and(|dataset| dataset.kind() == DatasetKind::Cityscapes);
        if train_ids && plan.class_names.len() != cityscapes::CLASSES.len() {
            let given = "a network of other classes";
            return Err(invalid("--model", given, "one of Cityscapes' 19 classes, for Cityscapes"));
        }
        let params = self.method.params(align_corners);
        if !labels_unexpected(inputs) {
            eprintln!("{} labels nothing unexpected: the known classes alone are evaluated", inputs.name);
            // Any score tells the prediction; this one costs the least and needs no statistics.
            let bare = Params { score: Score::MaxLogit, ..params }.through(Stage::Standardize);
            return Engines::new(&[Setting::new(bare)], None);
        }
        if let Some(path) = self.stats.as_ref().filter(|_| statistics.is_some()) {
            plan.statistics_sha256 = Some(hex_digest(&read_at_most(path, u64::MAX)?));
        } else if let Some(statistics) = &statistics {
            plan.statistics_sha256 = Some(hex_digest(statistics.to_json().as_bytes()));
        }
        if let Some(known) = &statistics
            && known.classes().len() != plan.class_names.len()
        {
            let problem = format!("{} classes", known.classes().len());
            let expected = format!("{}, as the logits have", plan.class_names.len());
            let error = Error::InvalidStatistics { problem, expected };
            return Err(crate::cli::naming(self.stats.as_deref())(error));
        }
        let settings = self.settings(&params)?;
        let engines = Engines::new(&settings, statistics)?;
        plan.rows = settings.into_iter().map(Row::from).collect();
        Ok(engines)
    }

    fn settings(&self, params: &Params) -> Result<Vec<Setting>> {
        if self.sweep.is_empty() {
            return Ok(Setting::comparison(params));
        }
        let sweep = Sweep::new(params, &self.sweep)?;
        for line in &sweep.skipped {
            eprintln!("sml: {line}");
        }
        Ok(sweep.settings)
    }

    /// What is known of the plan without a network.
    fn plan(&self, inputs: &Inputs) -> Plan {
        Plan {
            dataset: inputs.name.clone(),
            split: inputs.split.clone(),
            images: inputs.images.len(),
            images_sha256: inputs.digest_of_names(),
            model: None,
            model_sha256: None,
            statistics_sha256: None,
            class_names: Vec::new(),
            rows: Vec::new(),
            mode: match self.mode {
                ModeArg::Exact => Mode::Exact,
                ModeArg::Histogram => Mode::Histogram,
            },
            options: BTreeMap::new(),
            device: None,
            shard: self.shard.map(|shard| shard.to_string()),
        }
    }
}

/// Whether the labels tell unexpected pixels. Cityscapes' tell classes.
fn labels_unexpected(inputs: &Inputs) -> bool {
    inputs.dataset().is_none_or(|dataset| dataset.kind() != DatasetKind::Cityscapes)
}

fn warn_of_findings(dataset: &Dataset) {
    let findings = dataset.findings();
    for finding in findings.iter().take(MOST_FINDINGS) {
        eprintln!("sml: warning: {finding}");
    }
    if findings.len() > MOST_FINDINGS {
        let more = findings.len() - MOST_FINDINGS;
        eprintln!(
            "sml: warning: and {more} more like these (sml dataset check --root {})",
            dataset.root().display()
        );
    }
}

fn missing(field: &'static str, expected: &'static str) -> Error {
    invalid(field, "missing", expected)
}

fn invalid(field: &'static str, given: &str, expected: &'static str) -> Error {
    Error::InvalidParameter { field, given: given.to_owned(), expected }
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names of the methods whose scores lie in these folders: the folders' own, where they differ.
fn names_of(folders: &[PathBuf]) -> Vec<String> {
    let short = |folder: &Path| folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let names: Vec<Option<String>> = folders.iter().map(|folder| short(folder)).collect();
    let is_unique = |name: &&String| names.iter().flatten().filter(|other| other == name).count() == 1;
    folders
        .iter()
        .zip(&names)
        .map(|(folder, name)| match name.as_ref().filter(is_unique) {
            Some(name) => name.clone(),
            None => folder.display().to_string(),
        })
        .collect()
}

/// Names of the classes that logits are for.
fn class_names(classes: usize, statistics: Option<&ClassStatistics>) -> Vec<String> {
    let named = statistics.map(|statistics| statistics.provenance().class_names.clone()).unwrap_or_default();
    if named.len() == classes {
        named
    } else if classes == cityscapes::CLASSES.len() {
        cityscapes::class_names()
    } else {
        (0..classes).map(|class| format!("class {class}")).collect()
    }
}
