//! How a score is distributed over the pixels of each predicted class, as histograms that add up.
//!
//! A histogram has bins 1/32 wide, and room only between its lowest and its highest value: some thousand numbers a class
//! for any number of images. That is far finer than a figure shows, and too coarse for metrics, which have their own.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::metrics::{NORMAL, UNEXPECTED};
use crate::{Error, Result};

/// Bins in a step of 1.
const BINS_PER_UNIT: f64 = 32.0;
/// Values beyond this are counted in the outermost bin.
const FARTHEST: f64 = 1024.0;

/// Histograms of max logits (or standardized max logits) by predicted class, of normal and of unexpected pixels apart.
///
/// ```
/// use ndarray::array;
/// use sml::render::ClassScoreHistograms;
///
/// let mut histograms = ClassScoreHistograms::new(&["road".into(), "car".into()]);
/// let (scores, prediction) = (array![[-9.0, -8.5, 0.25]], array![[0, 0, 1]]);
/// histograms.add(scores.view(), prediction.view(), array![[0, 0, 1]].view())?;
/// assert_eq!(histograms.classes()[0].normal.total(), 2);
/// assert_eq!(histograms.classes()[1].unexpected.total(), 1);
/// # Ok::<(), sml::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassScoreHistograms {
    classes: Vec<ClassScores>,
}

/// The histograms of one predicted class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// Name of the class.
    pub name: String,
    /// Pixels labelled normal (0).
    pub normal: ScoreCounts,
    /// Pixels labelled unexpected (1).
    pub unexpected: ScoreCounts,
}

/// Counts of values in bins 1/32 wide.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "AnyCounts")]
pub struct ScoreCounts {
    /// The first bin, which begins at `first / 32`.
    first: i32,
    counts: Vec<u64>,
}

impl ClassScoreHistograms {
    /// Nothing counted yet. `class_names` are those of the network, by train id.
    pub fn new(class_names: &[String]) -> Self {
        let class = |name: &String| ClassScores { name: name.clone(), ..ClassScores::default() };
        Self { classes: class_names.iter().map(class).collect() }
    }

    /// Counts the pixels of an image, or of a part of one (each H x W).
    ///
    /// `scores` are anomaly scores as an engine gives them, of which the minus is counted: the max logit, or the
    /// standardized one. `prediction` are train ids, `labels` 0 (normal) or 1 (unexpected). Pixels with another
    /// label, with a train id beyond the classes or with a score that is not finite are left out.
    ///
    /// # Errors
    /// [`Error::Shape`] when the three differ in shape; nothing is counted then.
    pub fn add(
        &mut self,
        scores: ArrayView2<'_, f32>,
        prediction: ArrayView2<'_, u8>,
        labels: ArrayView2<'_, u8>,
    ) -> Result<()> {
        for (what, dim) in [("prediction", prediction.dim()), ("label map", labels.dim())] {
            if dim != scores.dim() {
                return Err(Error::Shape {
                    what,
                    given: format!("{} x {}", dim.0, dim.1),
                    expected: format!("the scores' size, {} x {}", scores.dim().0, scores.dim().1),
                });
            }
        }
        for ((&score, &class), &label) in scores.iter().zip(prediction).zip(labels) {
            let Some(class) = self.classes.get_mut(usize::from(class)).filter(|_| score.is_finite()) else {
                continue;
            };
            match label {
                NORMAL => class.normal.add(-f64::from(score)),
                UNEXPECTED => class.unexpected.add(-f64::from(score)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds what `other` has counted.
    ///
    /// # Errors
    /// [`Error::Shape`] when it is of other classes.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let names = |histograms: &Self| -> Vec<String> {
            histograms.classes.iter().map(|class| class.name.clone()).collect()
        };
        if names(self) != names(other) {
            return Err(Error::Shape {
                what: "classes of the histograms to add",
                given: names(other).join(", "),
                expected: names(self).join(", "),
            });
        }
        for (mine, theirs) in self.classes.iter_mut().zip(&other.classes) {
            mine.normal.merge(&theirs.normal);
            mine.unexpected.merge(&theirs.unexpected);
        }
        Ok(())
    }

    /// The classes, by train id.
    pub fn classes(&self) -> &[ClassScores] {
        &self.classes
    }
}

impl ScoreCounts {
    /// Counts a finite value.
    fn add(&mut self, value: f64) {
        let bin = (value.clamp(-FARTHEST, FARTHEST) * BINS_PER_UNIT).floor() as i32;
        *self.slot(bin) += 1;
    }

    /// The count of a bin, for which room is made.
    fn slot(&mut self, bin: i32) -> &mut u64 {
        if self.counts.is_empty() {
            self.first = bin;
        }
        if bin < self.first {
            let more = (self.first - bin) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = bin;
        }
        let index = (bin - self.first) as usize;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        &mut self.counts[index]
    }

    fn merge(&mut self, other: &Self) {
        for (bin, &count) in (other.first..).zip(&other.counts) {
            if count > 0 {
                *self.slot(bin) += count;
            }
        }
    }

    /// Values counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bins that were met, ascending: lower edge and count. Each is 1/32 wide.
    pub fn bins(&self) -> impl Iterator<Item = (f64, u64)> {
        (self.first..).zip(&self.counts).map(|(bin, &count)| (f64::from(bin) / BINS_PER_UNIT, count))
    }

    /// The value that the share `share` (`0.0..=1.0`) of the values lies below, linear within a bin; `None` while
    /// nothing is counted.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share.clamp(0.0, 1.0) * self.total() as f64;
        let mut below = 0.0;
        let mut found = None;
        for (edge, count) in self.bins().filter(|&(_, count)| count > 0) {
            let count = count as f64;
            found = Some(edge + ((wanted - below) / count).clamp(0.0, 1.0) / BINS_PER_UNIT);
            below += count;
            if below >= wanted {
                break;
            }
        }
        found
    }
}

/// What a file may hold in the place of [`ScoreCounts`].
#[derive(Deserialize)]
struct AnyCounts {
    first: i32,
    counts: Vec<u64>,
}

impl TryFrom<AnyCounts> for ScoreCounts {
    type Error = Error;

    fn try_from(AnyCounts { first, counts }: AnyCounts) -> Result<Self> {
        let farthest = (FARTHEST * BINS_PER_UNIT) as i64;
        let last = i64::from(first) + counts.len() as i64;
        let whole = counts.iter().try_fold(0_u64, |sum, &count| sum.checked_add(count));
        if i64::from(first) < -farthest || last > farthest + 1 || whole.is_none() {
            return Err(Error::Shape {
                what: "histogram of a class",
                given: format!("{} bins from {first}", counts.len()),
                expected: format!("bins from {} to {farthest} with counts that add up", -farthest),
            });
        }
        Ok(Self { first, counts })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    fn counted(values: &[f64]) -> ScoreCounts {
        let mut counts = ScoreCounts::default();
        values.iter().for_each(|&value| counts.add(value));
        counts
    }

    #[test]
    fn order_and_parts_do_not_matter() {
        let values: Vec<f64> = (0..500).map(|i| f64::from((i * 7919) % 1000) / 40.0 - 9.0).collect();
        let whole = counted(&values);
        let mut parts = counted(&values[123..]);
        parts.merge(&counted(&values[..123]));
        assert_eq!(parts.bins().collect::<Vec<_>>(), whole.bins().collect::<Vec<_>>());
        assert_eq!(parts.total(), 500);
        for (edge, count) in whole.bins() {
            let want = values.iter().filter(|&&v| (edge..edge + 1.0 / 32.0).contains(&v)).count();
            assert_eq!(count, want as u64, "{edge}");
        }
    }

    #[test]
    fn quantiles_are_within_a_bin() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i) / 100.0).collect();
        let counts = counted(&values);
        for share in [0.0, 0.25, 0.5, 0.95, 1.0] {
            let got = counts.quantile(share).unwrap();
            assert!((got - 10.0 * share).abs() <= 1.0 / 32.0, "{share}: {got}");
        }
        assert_eq!(ScoreCounts::default().quantile(0.5), None);
    }

    #[test]
    fn extremes_take_no_room_beyond_the_farthest() {
        let counts = counted(&[f64::MAX, f64::MIN, 0.0]);
        assert_eq!(counts.counts.len(), 2 * 1024 * 32 + 1);
    }

    #[test]
    fn pixels_go_to_their_class_and_label() {
        let mut histograms = ClassScoreHistograms::new(&["a".into(), "b".into()]);
        let scores = array![[-1.0, -2.0, f32::NAN, 3.0], [4.0, 5.0, f32::INFINITY, -7.0]];
        let prediction = array![[0, 1, 0, 1], [9, 1, 0, 0]];
        let labels = array![[0, 0, 0, 1], [0, 255, 1, 1]];
        histograms.add(scores.view(), prediction.view(), labels.view()).unwrap();
        let bins = |counts: &ScoreCounts| counts.bins().filter(|bin| bin.1 > 0).collect::<Vec<_>>();
        let [a, b] = histograms.classes() else { panic!() };
        assert_eq!((bins(&a.normal), bins(&a.unexpected)), (vec![(1.0, 1)], vec![(7.0, 1)]));
        assert_eq!((bins(&b.normal), bins(&b.unexpected)), (vec![(2.0, 1)], vec![(-3.0, 1)]));
        let wrong = Array2::zeros((4, 2));
        assert!(histograms.add(scores.view(), wrong.view(), labels.view()).is_err());
    }

    #[test]
    fn json_comes_back_and_nonsense_does_not() {
        let mut histograms = ClassScoreHistograms::new(&["a".into()]);
        histograms.add(array![[-1.5]].view(), array![[0]].view(), array![[0]].view()).unwrap();
        let json = serde_json::to_string(&histograms).unwrap();
        assert_eq!(serde_json::from_str::<ClassScoreHistograms>(&json).unwrap(), histograms);
        for wrong in
            ["{\"first\":2147483647,\"counts\":[1,2]}", "{\"first\":0,\"counts\":[18446744073709551615,1]}"]
        {
            assert!(serde_json::from_str::<ScoreCounts>(wrong).is_err(), "{wrong}");
        }
        let other = ClassScoreHistograms::new(&["b".into()]);
        assert!(histograms.merge(&other).is_err());
    }
}
