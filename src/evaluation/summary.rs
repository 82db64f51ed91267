//! From what was measured on the images to the result: one score after the other, so that memory holds one.

use std::path::{Path, PathBuf};

use ndarray::{ArrayView2, ShapeError};

use super::journal::{Done, Journal};
use super::kept::{self, KeptImage};
use super::records::{Record, Records};
use super::tally::Tally;
use super::{
    ClosedSet, ComponentMetrics, DatasetFacts, Entry, Evaluation, Failure, Mode, Plan, ScoreResult,
    ThresholdRow,
};
use crate::dataset::ContentHash;
use crate::metrics::{
    ClassRanking, ComponentScores, ComponentSizes, ConfusionMatrix, PixelScores, ScoreHistograms, ThresholdAt,
};
use crate::render::ClassScoreHistograms;
use crate::{Error, Result, Size};

/// Points of a curve that a result keeps at most.
const CURVE_POINTS: usize = 500;

/// Thresholds that a result tells the rates of.
const THRESHOLDS: [ThresholdAt; 9] = [
    ThresholdAt::Tpr(0.99),
    ThresholdAt::Tpr(0.95),
    ThresholdAt::Tpr(0.9),
    ThresholdAt::Tpr(0.8),
    ThresholdAt::Fpr(0.1),
    ThresholdAt::Fpr(0.05),
    ThresholdAt::Fpr(0.01),
    ThresholdAt::Fpr(0.001),
    ThresholdAt::BestF1,
];

/// States that are done with, of one run or of all shards.
pub struct Measured {
    states: Vec<(PathBuf, Done)>,
    plan: Plan,
    /// One a score, in histogram mode.
    histograms: Vec<ScoreHistograms>,
}

impl Measured {
    /// Reads the states in `folders`.
    ///
    /// # Errors
    /// [`Error::File`] when a folder holds no state, their plans differ, or two hold the same image; [`Error::Io`].
    pub fn read(folders: &[PathBuf]) -> Result<Self> {
        let mut states: Vec<(PathBuf, Done)> = Vec::new();
        let mut first: Option<(Plan, &Path)> = None;
        let mut histograms: Vec<ScoreHistograms> = Vec::new();
        let mut seen = std::collections::HashMap::new();
        for folder in folders {
            let (plan, mut done) = Journal::read(folder)?;
            if plan.mode == Mode::Histogram {
                let tally = Tally::open(folder, plan.rows.len())?;
                done.entries = tally.entries;
                if histograms.is_empty() {
                    histograms = tally.histograms;
                } else {
                    histograms.iter_mut().zip(&tally.histograms).for_each(|(sum, more)| sum.merge(more));
                }
            }
            for (index, name) in places(&done) {
                if let Some(other) = seen.insert(index, folder) {
                    let problem = format!("holds {name}, and so does {}", other.display());
                    return Err(Error::file(folder, problem, "each image in one part"));
                }
            }
            match &first {
                None => first = Some((plan, folder)),
                Some((wanted, other)) => {
                    if let Some(difference) = wanted.difference(&plan) {
                        let problem = format!("does not go together with {}: {difference}", other.display());
                        return Err(Error::file(folder, problem, "parts of one evaluation"));
                    }
                }
            }
            states.push((folder.clone(), done));
        }
        let (plan, _) = first.ok_or_else(|| Error::UndefinedMetric {
            metric: "evaluation",
            problem: "no part of one was given".to_owned(),
        })?;
        Ok(Self { states, plan, histograms })
    }

    /// What was evaluated.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Images of the whole set that no state knows of, neither as measured nor as failed.
    pub fn missing(&self) -> usize {
        let known: usize = self.states.iter().map(|(_, done)| places(done).count()).sum();
        self.plan.images.saturating_sub(known)
    }

    /// Images that were measured.
    pub fn images(&self) -> usize {
        self.states.iter().map(|(_, done)| done.entries.len()).sum()
    }

    /// Pixels with a NaN or infinite logit in all images.
    pub fn non_finite(&self) -> u64 {
        self.entries().map(|entry| entry.non_finite).sum()
    }

    /// Whether any image has labels.
    pub fn is_labelled(&self) -> bool {
        self.entries().any(|entry| entry.height > 0 || entry.confusion.is_some())
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.states.iter().flat_map(|(_, done)| &done.entries)
    }

    /// The result, with component metrics if `components` tells the sizes of objects that count. `date` is today's;
    /// `progress` is told before each score, and may end it all by an error.
    ///
    /// # Errors
    /// That of `progress`;
    /// [`Error::UndefinedMetric`] when no image was measured, or nothing is labelled unexpected, or nothing normal;
    /// [`Error::InvalidParameter`] for component metrics of histograms; [`Error::Io`].
    pub fn evaluate(
        &mut self,
        date: String,
        components: Option<ComponentSizes>,
        mut progress: impl FnMut(&str) -> Result<()>,
    ) -> Result<Evaluation> {
        if self.images() == 0 || !self.is_labelled() {
            return Err(self.nothing());
        }
        if components.is_some() && self.plan.mode == Mode::Histogram {
            return Err(Error::InvalidParameter {
                field: "--components",
                given: "given with --mode histogram".to_owned(),
                expected: "to come with --mode exact, which keeps the maps that objects are found in",
            });
        }
        let labelled = self.entries().any(|entry| entry.height > 0);
        let mut scores = Vec::new();
        if labelled {
            for number in 0..self.plan.rows.len() {
                progress(&self.plan.rows[number].name)?;
                let score = match self.plan.mode {
                    Mode::Exact => self.score(number, components),
                    Mode::Histogram => self.score_by_histogram(number),
                };
                scores.push(score.map_err(|error| self.of_the_set(error))?);
            }
        }
        let plan = &self.plan;
        Ok(Evaluation {
            schema: Evaluation::SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            date,
            dataset: self.facts(),
            model: plan.model.clone(),
            model_sha256: plan.model_sha256.clone(),
            device: plan.device.clone(),
            statistics_sha256: plan.statistics_sha256.clone(),
            params: plan.rows.last().and_then(|row| row.params),
            mode: plan.mode,
            class_names: plan.class_names.clone(),
            scores,
            closed_set: self.closed_set()?,
            failures: self.failures(),
        })
    }

    /// Lets a metric that is not defined name the set, and what may be wrong with its labels.
    fn of_the_set(&self, error: Error) -> Error {
        let Error::UndefinedMetric { metric, problem } = error else { return error };
        let problem = format!(
            "{problem} in {} of {}; for labels with other values there is --dataset folders with --anomaly-value and \
             --normal-value",
            super::tables::counted(self.images() as u64, "image"),
            self.plan.dataset
        );
        Error::UndefinedMetric { metric, problem }
    }

    fn nothing(&self) -> Error {
        let failures = self.failures();
        let problem = match failures.first() {
            Some(first) => format!(
                "none of {} images could be measured; the first, {}: {}",
                failures.len(),
                first.image,
                first.problem
            ),
            None if self.images() > 0 => "no image has labels".to_owned(),
            None => "there are no images".to_owned(),
        };
        Error::UndefinedMetric { metric: "evaluation", problem }
    }

    /// Images that could not be measured, in the order of the set.
    pub fn failures(&self) -> Vec<Failure> {
        let mut failures: Vec<_> = self.states.iter().flat_map(|(_, done)| done.failures.clone()).collect();
        failures.sort_by_key(|(index, _)| *index);
        failures.into_iter().map(|(_, failure)| failure).collect()
    }

    /// The images with their records; those without labels have none.
    pub(super) fn records(&self) -> Records<'_> {
        let states: Vec<(&Path, &[Entry])> =
            self.states.iter().map(|(folder, done)| (&**folder, &done.entries[..])).collect();
        Records::new(&states, !self.plan.rows.is_empty())
    }

    /// The images that were kept as a whole.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::File`] when one cannot be read back.
    pub fn kept(&self) -> Result<Vec<KeptImage>> {
        let mut images = Vec::new();
        for (folder, done) in &self.states {
            for entry in &done.entries {
                images.extend(kept::read(folder, entry.index, &entry.name, self.plan.rows.len())?);
            }
        }
        images.sort_by_key(|image: &KeptImage| image.index);
        Ok(images)
    }

    /// The distributions of a row's score in each predicted class; `None` when classes are not known of all images, there is
    /// no such row, or pixels were counted in histograms.
    ///
    /// # Errors
    /// [`Error::Io`] when the records cannot be read.
    pub fn class_scores(&self, row: &str) -> Result<Option<ClassScoreHistograms>> {
        let number = self.plan.rows.iter().position(|other| other.name == row);
        let Some(number) = number.filter(|_| self.plan.mode == Mode::Exact && self.knows_classes()) else {
            return Ok(None);
        };
        let mut histograms = ClassScoreHistograms::new(&self.plan.class_names);
        self.records().each(number, |record| {
            let labels = record.labels_of_labelled();
            // Which pixel lies where does not matter: the labelled ones as one row.
            let row = (1, labels.len());
            let shape = |error: ShapeError| Error::Shape {
                what: "record of an image",
                given: error.to_string(),
                expected: "as many scores and classes as labels".to_owned(),
            };
            histograms.add(
                ArrayView2::from_shape(row, record.scores).map_err(shape)?,
                ArrayView2::from_shape(row, record.predictions).map_err(shape)?,
                ArrayView2::from_shape(row, &labels).map_err(shape)?,
            )
        })?;
        Ok(Some(histograms))
    }

    fn knows_classes(&self) -> bool {
        !self.plan.class_names.is_empty() && self.entries().all(|entry| entry.predicted)
    }

    fn score(&self, number: usize, components: Option<ComponentSizes>) -> Result<ScoreResult> {
        let (mut pixels, auroc_by_class) = if self.knows_classes() {
            let mut ranking = ClassRanking::new(self.plan.class_names.len())?;
            self.records().each(number, |record| {
                ranking.add(record.scores, &record.labels_of_labelled(), record.predictions)
            })?;
            let by_class = ranking.auroc();
            (ranking.into_total(), by_class)
        } else {
            let mut pixels = PixelScores::new();
            self.records().each(number, |record| pixels.add(record.scores, &record.labels_of_labelled()))?;
            (pixels, Vec::new())
        };
        let mut metrics = pixels.evaluate()?;
        let all: usize = self.entries().map(|entry| entry.height * entry.width).sum();
        metrics.ignored = all as u64 - metrics.positives - metrics.negatives;
        let thresholds = distinct(pixels.thresholds(&THRESHOLDS)?);
        let best = pixels.thresholds(&[ThresholdAt::BestF1])?.first().map(|row| row.threshold);
        let curve = pixels.curve(CURVE_POINTS)?;
        drop(pixels);
        let components = match components.zip(best) {
            Some((sizes, threshold)) => self.components(number, threshold, sizes)?,
            None => None,
        };
        Ok(ScoreResult {
            name: self.plan.rows[number].name.clone(),
            pixels: metrics,
            error_bound: None,
            components,
            auroc_by_class,
            thresholds,
            curve,
        })
    }

    /// Objects found at `threshold`; `None` when there is none of the least size.
    fn components(
        &self,
        number: usize,
        threshold: f32,
        sizes: ComponentSizes,
    ) -> Result<Option<ComponentMetrics>> {
        let mut found = ComponentScores::new(threshold, sizes)?;
        self.records().each(number, |record: &Record<'_>| {
            let size = Size::new(record.entry.height, record.entry.width);
            found.add(&record.map(f32::NEG_INFINITY), record.labels, size)
        })?;
        match found.evaluate() {
            Ok(metrics) => Ok(Some(metrics)),
            Err(Error::UndefinedMetric { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn score_by_histogram(&mut self, number: usize) -> Result<ScoreResult> {
        let histograms = &mut self.histograms[number];
        let bounded = histograms.evaluate()?;
        Ok(ScoreResult {
            name: self.plan.rows[number].name.clone(),
            pixels: bounded.metrics,
            error_bound: Some(bounded.error_bound()),
            components: None,
            auroc_by_class: Vec::new(),
            thresholds: distinct(histograms.thresholds(&THRESHOLDS)?),
            curve: histograms.curve(CURVE_POINTS)?,
        })
    }

    fn closed_set(&self) -> Result<Option<ClosedSet>> {
        let mut total: Option<ConfusionMatrix> = None;
        for confusion in self.entries().filter_map(|entry| entry.confusion.as_ref()) {
            match &mut total {
                Some(total) => total.merge(confusion)?,
                None => total = Some(confusion.clone()),
            }
        }
        let Some(total) = total else { return Ok(None) };
        let names = self.plan.class_names.iter().cloned();
        Ok(Some(ClosedSet { miou: total.miou()?, iou: names.zip(total.iou()).collect() }))
    }

    fn facts(&self) -> DatasetFacts {
        let mut files = ContentHash::default();
        self.entries().for_each(|entry| files.merge(&entry.files));
        DatasetFacts {
            name: self.plan.dataset.clone(),
            split: self.plan.split.clone(),
            images: self.images() as u64,
            files: files.files(),
            sha256: files.sha256(),
        }
    }
}

/// Place and name of every image that a state knows of.
fn places(done: &Done) -> impl Iterator<Item = (usize, &str)> {
    let measured = done.entries.iter().map(|entry| (entry.index, entry.name.as_str()));
    measured.chain(done.failures.iter().map(|(index, failure)| (*index, failure.image.as_str())))
}

/// From the highest threshold down, each once.
fn distinct(mut rows: Vec<ThresholdRow>) -> Vec<ThresholdRow> {
    rows.sort_by(|a, b| b.threshold.total_cmp(&a.threshold));
    rows.dedup_by_key(|row| row.threshold);
    rows
}
