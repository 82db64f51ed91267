//! What a calibration tells at its end: lines for a person on stderr, one JSON object on stdout.

use std::path::Path;

use serde_json::{Value, json};

use super::super::counted;
use super::measurement::{ConditionOn, Measured};
use crate::render::table::text_table;
use crate::{ClassStatistics, cityscapes};

/// A finished measurement.
pub(super) struct Summary<'a> {
    pub output: &'a Path,
    pub measured: &'a Measured,
    pub statistics: &'a ClassStatistics,
    pub condition: ConditionOn,
}

impl Summary<'_> {
    /// For a person.
    pub fn tell(&self) {
        let Self { output, measured, statistics, .. } = self;
        let without = statistics.classes_without_statistics();
        eprintln!(
            "{}, {} of {} classes with statistics -> {}",
            counted(measured.images, "image"),
            statistics.classes().len() - without.len(),
            statistics.classes().len(),
            output.display()
        );
        if measured.content.files() > 0 {
            eprintln!("{}, sha256 {}", counted(measured.content.files(), "file"), measured.content.sha256());
        }
        if let Some((miou, rows)) = self.closed_set() {
            let named: Vec<Vec<String>> =
                rows.iter().map(|(name, iou)| vec![name.clone(), percent(iou)]).collect();
            eprint!("{}", text_table(&["class", "IoU"], &named));
            eprintln!("mIoU {} over the classes that have one", percent(&miou));
        }
        if !without.is_empty() {
            let found = if self.condition == ConditionOn::Label { "labelled" } else { "predicted" };
            eprintln!("sml: warning: classes {without:?} were seldom or never {found}; more images may help");
        }
        if self.non_finite() > 0 {
            eprintln!("sml: warning: {} pixels with NaN or infinite max logits left out", self.non_finite());
        }
        if !measured.failures.is_empty() {
            eprintln!("sml: warning: {} left out", counted(measured.failures.len() as u64, "input"));
        }
    }

    /// For a machine.
    pub fn to_json(&self) -> Value {
        let Self { output, measured, statistics, .. } = self;
        let provenance = statistics.provenance();
        let class = |(class, name): (usize, String)| {
            let moments = statistics.classes()[class];
            json!({ "name": name, "count": moments.count, "mean": moments.mean, "variance": moments.variance })
        };
        let closed_set = self.closed_set();
        json!({
            "statistics": output.display().to_string(),
            "images": measured.images,
            "dataset": provenance.dataset,
            "split": provenance.split,
            "shards": provenance.shards,
            "files": provenance.files,
            "sha256": provenance.content_sha256,
            "model": provenance.model,
            "model_sha256": provenance.model_sha256,
            "conditioned_on": provenance.conditioned_on,
            "classes": self.class_names().into_iter().enumerate().map(class).collect::<Vec<_>>(),
            "without_statistics": statistics.classes_without_statistics(),
            "non_finite": self.non_finite(),
            "miou": closed_set.as_ref().map(|(miou, _)| miou),
            "iou": closed_set.map(|(_, rows)| rows.into_iter().collect::<serde_json::Map<String, Value>>()),
            "failures": measured.failures,
        })
    }

    /// mIoU, and the IoU of each class, where labels were compared.
    fn closed_set(&self) -> Option<(Value, Vec<(String, Value)>)> {
        let confusion = self.measured.confusion.as_ref()?;
        let rows = self.class_names().into_iter().zip(confusion.iou().into_iter().map(Value::from));
        Some((Value::from(confusion.miou().ok()), rows.collect()))
    }

    fn non_finite(&self) -> u64 {
        self.measured.sums.as_ref().map_or(0, crate::StatisticsAccumulator::non_finite)
    }

    /// Those of the network; without one those of Cityscapes if there are as many, or numbers.
    fn class_names(&self) -> Vec<String> {
        let classes = self.statistics.classes().len();
        let given = &self.statistics.provenance().class_names;
        match classes {
            n if n == given.len() => given.clone(),
            n if n == cityscapes::CLASSES.len() => cityscapes::class_names(),
            n => (0..n).map(|class| class.to_string()).collect(),
        }
    }
}

fn percent(share: &Value) -> String {
    share.as_f64().map_or("-".to_owned(), |share| format!("{:.2} %", 100.0 * share))
}
