//! Intersection over union of a semantic segmentation.
//!
//! A confusion matrix counts, for each pair of train ids, the pixels that carry the one as label and the other as
//! prediction. It is kept over all images: the IoU of a class is that of all its pixels, not a mean over images.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Train id of pixels that take no part in training or evaluation.
pub const IGNORED_TRAIN_ID: u8 = 255;

/// Pixel counts by label and prediction.
///
/// ```
/// use sml::metrics::ConfusionMatrix;
///
/// let mut confusion = ConfusionMatrix::new(3)?;
/// confusion.add(&[0, 0, 1, 255], &[0, 1, 1, 2])?;
/// assert_eq!(confusion.iou(), [Some(0.5), Some(0.5), None]);
/// assert_eq!(confusion.miou()?, 0.5);
/// # Ok::<(), sml::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct ConfusionMatrix {
    classes: usize,
    /// Rows are labels, columns predictions.
    counts: Vec<u64>,
}

/// More pixels than anyone has: a bound on what is read, so that sums of many matrices do not overflow.
const MOST_PIXELS: u64 = 1 << 48;

/// A matrix as it was read, which may be anything.
#[derive(Deserialize)]
struct Stored {
    classes: usize,
    counts: Vec<u64>,
}

impl TryFrom<Stored> for ConfusionMatrix {
    type Error = Error;

    fn try_from(Stored { classes, counts }: Stored) -> Result<Self> {
        let empty = Self::new(classes)?;
        let total = counts.iter().try_fold(0_u64, |total, &count| total.checked_add(count));
        if counts.len() != empty.counts.len() || total.is_none_or(|total| total > MOST_PIXELS) {
            return Err(Error::Shape {
                what: "number of counts of a confusion matrix",
                given: counts.len().to_string(),
                expected: format!("{}, of pixels that can be", empty.counts.len()),
            });
        }
        Ok(Self { classes, counts })
    }
}

impl ConfusionMatrix {
    /// An empty matrix over the train ids `0..classes`.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless there are 1 to 255 classes.
    pub fn new(classes: usize) -> Result<Self> {
        if !(1..=usize::from(IGNORED_TRAIN_ID)).contains(&classes) {
            return Err(Error::InvalidParameter {
                field: "classes",
                given: classes.to_string(),
                expected: "1 to 255",
            });
        }
        Ok(Self { classes, counts: vec![0; classes * classes] })
    }

    /// Adds the pixels of an image: train ids as labels, with [`IGNORED_TRAIN_ID`] where none is to be counted, and
    /// the predicted train ids.
    ///
    /// # Errors
    /// [`Error::Shape`] when the lengths differ or a counted pixel has a label or a prediction that is no class.
    /// After an error nothing of this image has been added.
    pub fn add(&mut self, labels: &[u8], predictions: &[u8]) -> Result<()> {
        if labels.len() != predictions.len() {
            return Err(Error::Shape {
                what: "number of predictions",
                given: predictions.len().to_string(),
                expected: format!("one a label, {}", labels.len()),
            });
        }
        let counted = |&(&label, _): &(&u8, &u8)| label != IGNORED_TRAIN_ID;
        let pixels = || labels.iter().zip(predictions).filter(counted);
        for (&label, &prediction) in pixels() {
            self.check("label", label)?;
            self.check("prediction", prediction)?;
        }
        for (&label, &prediction) in pixels() {
            self.counts[usize::from(label) * self.classes + usize::from(prediction)] += 1;
        }
        Ok(())
    }

    fn check(&self, what: &'static str, train_id: u8) -> Result<()> {
        if usize::from(train_id) < self.classes {
            return Ok(());
        }
        Err(Error::Shape {
            what,
            given: train_id.to_string(),
            expected: format!("train ids below {}, or label {IGNORED_TRAIN_ID} where ignored", self.classes),
        })
    }

    /// Adds all that another matrix has counted, such as that of another shard.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when it has another number of classes.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if other.classes != self.classes {
            return Err(Error::InvalidParameter {
                field: "classes",
                given: other.classes.to_string(),
                expected: "the same number in everything that is merged",
            });
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        Ok(())
    }

    /// Pixels with this label and this prediction; 0 for ids that are no class.
    pub fn count(&self, label: usize, prediction: usize) -> u64 {
        if label < self.classes && prediction < self.classes {
            self.counts[label * self.classes + prediction]
        } else {
            0
        }
    }

    /// Intersection over union of each class, in `0.0..=1.0`; `None` for a class that no counted pixel carries as
    /// label or as prediction.
    pub fn iou(&self) -> Vec<Option<f64>> {
        (0..self.classes)
            .map(|class| {
                let labelled: u64 = (0..self.classes).map(|other| self.count(class, other)).sum();
                let predicted: u64 = (0..self.classes).map(|other| self.count(other, class)).sum();
                let intersection = self.count(class, class);
                let union = labelled + predicted - intersection;
                (union > 0).then(|| intersection as f64 / union as f64)
            })
            .collect()
    }

    /// Mean of [`ConfusionMatrix::iou`] over the classes that have one, in `0.0..=1.0`.
    ///
    /// # Errors
    /// [`Error::UndefinedMetric`] when no pixel was counted.
    pub fn miou(&self) -> Result<f64> {
        let present: Vec<f64> = self.iou().into_iter().flatten().collect();
        if present.is_empty() {
            return Err(Error::UndefinedMetric {
                metric: "mIoU",
                problem: "no pixel has a label that is not ignored".to_owned(),
            });
        }
        Ok(present.iter().sum::<f64>() / present.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_classes_stay_out_of_the_mean_and_missed_ones_count_zero() {
        let mut confusion = ConfusionMatrix::new(4).unwrap();
        confusion.add(&[0, 0, 0, 1, 1], &[0, 0, 2, 0, 0]).unwrap();
        // Class 0: 2 of 5; class 1: never predicted; class 2: predicted only; class 3: nowhere.
        assert_eq!(confusion.iou(), [Some(0.4), Some(0.0), Some(0.0), None]);
        assert!((confusion.miou().unwrap() - 0.4 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn ignored_pixels_do_not_count_even_with_any_prediction() {
        let mut confusion = ConfusionMatrix::new(2).unwrap();
        confusion.add(&[255, 1], &[200, 1]).unwrap();
        assert_eq!(confusion.iou(), [None, Some(1.0)]);
    }

    #[test]
    fn images_add_up() {
        let (mut whole, mut parts) = (ConfusionMatrix::new(3).unwrap(), ConfusionMatrix::new(3).unwrap());
        let (labels, predictions) = ([0, 1, 2, 2, 1, 0], [0, 2, 2, 1, 1, 1]);
        whole.add(&labels, &predictions).unwrap();
        parts.add(&labels[..2], &predictions[..2]).unwrap();
        parts.add(&labels[2..], &predictions[2..]).unwrap();
        assert_eq!(whole, parts);
        assert_eq!((whole.count(2, 1), whole.count(1, 1), whole.count(3, 0)), (1, 1, 0));
    }

    #[test]
    fn wrong_ids_are_refused_whole() {
        let mut confusion = ConfusionMatrix::new(19).unwrap();
        let error = confusion.add(&[7, 33], &[7, 7]).unwrap_err();
        assert_eq!(error.to_string(), "label is 33: expected train ids below 19, or label 255 where ignored");
        assert!(confusion.add(&[7], &[19]).unwrap_err().to_string().starts_with("prediction is 19"));
        assert!(confusion.add(&[7], &[]).unwrap_err().to_string().starts_with("number of predictions is 0"));
        assert_eq!(confusion, ConfusionMatrix::new(19).unwrap());
        assert!(matches!(confusion.miou(), Err(Error::UndefinedMetric { .. })));
    }

    #[test]
    fn class_count_is_checked() {
        for classes in [0, 256] {
            assert!(matches!(ConfusionMatrix::new(classes), Err(Error::InvalidParameter { .. })));
        }
        assert!(ConfusionMatrix::new(255).is_ok());
    }

    #[test]
    fn matrices_merge_and_come_back_from_json() {
        let mut whole = ConfusionMatrix::new(3).unwrap();
        whole.add(&[0, 1, 2, 255], &[0, 1, 1, 0]).unwrap();
        let mut part = ConfusionMatrix::new(3).unwrap();
        part.add(&[0, 1], &[0, 1]).unwrap();
        let mut other = ConfusionMatrix::new(3).unwrap();
        other.add(&[2], &[1]).unwrap();
        part.merge(&other).unwrap();
        assert_eq!(part, whole);
        assert!(part.merge(&ConfusionMatrix::new(2).unwrap()).is_err());
        let json = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<ConfusionMatrix>(&json).unwrap(), whole);
        for wrong in [
            r#"{"classes":3,"counts":[1,2]}"#,
            r#"{"classes":0,"counts":[]}"#,
            r#"{"classes":99999999999,"counts":[]}"#,
            r#"{"classes":1,"counts":[18446744073709551615]}"#,
        ] {
            assert!(serde_json::from_str::<ConfusionMatrix>(wrong).is_err(), "{wrong}");
        }
    }
}
