//! How well scores rank the pixels of each predicted class by itself.
//!
//! SML makes the scores of different classes comparable. Within one class it changes no order, so that the AUROC of a
//! class shows how well its max logits rank alone, and the suppression and smoothing what they add.

use super::keys::key;
use super::ranking::{AnomalyMetrics, PixelScores, check};
use crate::{Error, Result};

/// Keys that are collected before they are added: a stretch of pixels of one class and label.
const STRETCH: usize = 1 << 10;

/// Pixel scores with their labels, kept apart by predicted class. Takes the memory of [`PixelScores`], which it can be
/// turned into.
///
/// ```
/// use sml::metrics::ClassRanking;
///
/// let mut ranking = ClassRanking::new(2)?;
/// ranking.add(&[0.9, 0.2, 5.0, 6.0], &[1, 0, 1, 0], &[0, 0, 1, 1])?;
/// assert_eq!(ranking.auroc(), [Some(1.0), Some(0.0)]);
/// assert_eq!(ranking.into_total().evaluate()?.auroc, 0.5);
/// # Ok::<(), sml::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClassRanking {
    classes: Vec<PixelScores>,
}

impl ClassRanking {
    /// No pixels yet, of the classes `0..classes`.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless there are 1 to 256 classes.
    pub fn new(classes: usize) -> Result<Self> {
        if !(1..=256).contains(&classes) {
            let given = classes.to_string();
            return Err(Error::InvalidParameter { field: "classes", given, expected: "1 to 256" });
        }
        Ok(Self { classes: vec![PixelScores::new(); classes] })
    }

    /// Adds the pixels of an image, as [`PixelScores::add`], with the predicted class of each.
    ///
    /// # Errors
    /// As [`PixelScores::add`]; also [`Error::Shape`] when there are more or fewer predictions than scores, or a
    /// prediction is no class. After an error nothing of this image has been added.
    pub fn add(&mut self, scores: &[f32], labels: &[u8], predictions: &[u8]) -> Result<()> {
        check(scores, labels)?;
        let wrong = |what, given: usize, expected| Error::Shape { what, given: given.to_string(), expected };
        if predictions.len() != scores.len() {
            let expected = format!("one a score, {}", scores.len());
            return Err(wrong("number of predictions", predictions.len(), expected));
        }
        let highest = usize::from(predictions.iter().copied().max().unwrap_or(0));
        if highest >= self.classes.len() {
            return Err(wrong("a predicted class", highest, format!("below {}", self.classes.len())));
        }
        let kinds = predictions.iter().copied().zip(labels.iter().copied());
        let (mut keys, mut kind) = (Vec::with_capacity(STRETCH), (0, 0));
        for (&score, next) in scores.iter().zip(kinds) {
            if next != kind || keys.len() == STRETCH {
                self.extend(kind, &keys);
                keys.clear();
                kind = next;
            }
            keys.push(key(score));
        }
        self.extend(kind, &keys);
        Ok(())
    }

    fn extend(&mut self, (class, label): (u8, u8), keys: &[u32]) {
        self.classes[usize::from(class)].extend(label, keys);
    }

    /// Adds all pixels of another collection.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when it has another number of classes.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if other.classes.len() != self.classes.len() {
            return Err(Error::InvalidParameter {
                field: "classes",
                given: other.classes.len().to_string(),
                expected: "the same number in everything that is merged",
            });
        }
        self.classes.iter_mut().zip(other.classes).for_each(|(class, more)| class.merge(more));
        Ok(())
    }

    /// The metrics over the pixels of each predicted class; `None` where a class lacks unexpected or normal pixels.
    pub fn evaluate(&mut self) -> Vec<Option<AnomalyMetrics>> {
        // Nothing but a missing kind of pixels can fail.
        self.classes.iter_mut().map(|class| class.evaluate().ok()).collect()
    }

    /// AUROC over the pixels of each predicted class; `None` where a class lacks unexpected or normal pixels.
    pub fn auroc(&mut self) -> Vec<Option<f64>> {
        self.evaluate().into_iter().map(|metrics| metrics.map(|metrics| metrics.auroc)).collect()
    }

    /// All pixels together.
    pub fn into_total(self) -> PixelScores {
        self.classes.into_iter().fold(PixelScores::new(), |mut total, class| {
            total.merge(class);
            total
        })
    }
}
