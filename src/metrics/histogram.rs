//! Scores counted in bins: constant memory for any number of pixels, with a bound on what that costs.
//!
//! A bin holds the scores whose [keys](super::keys) share their 20 leading bits: sign, exponent and 11 bits of
//! mantissa, so that the scores of a bin differ by less than 0.05 %. Bins are the same in every histogram, which
//! makes histograms add up.
//!
//! [`ScoreHistogram`] counts one kind of pixels and gives thresholds by rate; [`ScoreHistograms`] counts unexpected
//! and normal pixels, and gives the metrics of [`PixelScores`](super::PixelScores) with their error bounds.

use std::io::{self, Read, Write};

use rayon::prelude::*;

use super::bin_counting::{Counting, ENTRIES, IGNORED_BINS};
use super::bounds::{BoundedMetrics, Cumulative};
use super::checksum::{Sink, Source};
use super::curve::{self, CurvePoint, ThresholdAt, ThresholdRow};
use super::keys::{key, score};
use super::ranking::{both_present, check};
use crate::Result;
use crate::instruction_set::InstructionSet;

/// Bits of a key that a histogram keeps.
pub(super) const KEPT_BITS: u32 = 20;
/// Number of bins.
pub(super) const BINS: usize = 1 << KEPT_BITS;
/// Keys of a bin.
pub(super) const KEYS_A_BIN: u32 = 1 << (u32::BITS - KEPT_BITS);

/// Pixels for which one more thread is worth while.
const PIXELS_A_THREAD: usize = 1 << 17;
/// Most threads that count one image, each in bins of its own.
const MOST_LANES: usize = 4;

/// Bin of a score that is not NaN; bins are in the order of the scores.
#[inline(always)]
fn bin(score: f32) -> usize {
    (key(score) / KEYS_A_BIN) as usize
}

/// Smallest score of a bin.
fn lower_edge(bin: usize) -> f32 {
    score(bin as u32 * KEYS_A_BIN)
}

/// Histogram of anomaly scores over all float32 values. 8 MiB.
#[derive(Clone, Debug)]
pub struct ScoreHistogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for ScoreHistogram {
    fn default() -> Self {
        Self { counts: vec![0; BINS], total: 0 }
    }
}

impl ScoreHistogram {
    /// Counts one score. NaN is left out: no threshold finds it.
    pub fn add(&mut self, score: f32) {
        if !score.is_nan() {
            self.counts[bin(score)] += 1;
            self.total += 1;
        }
    }

    /// Adds all that another histogram has counted.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
    }

    /// Number of scores counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The highest threshold (lower edge of a bin) with at least the fraction `rate` of the scores at or above it.
    /// `None` while nothing is counted. It is finite: instead of an infinity it is the largest finite number of that
    /// sign, because JSON cannot hold another.
    pub fn threshold(&self, rate: f64) -> Option<f32> {
        self.thresholds([rate].into_iter()).next()
    }

    /// The threshold of each of some ascending rates, in one pass over the bins; none while nothing is counted.
    pub(crate) fn thresholds(&self, rates: impl Iterator<Item = f64>) -> impl Iterator<Item = f32> {
        let mut bins = self.counts.iter().enumerate().rev();
        let (mut above, mut lowest) = (0, 0);
        rates.map_while(move |rate| {
            let wanted = (rate * self.total as f64).ceil().max(1.0) as u64;
            while above < wanted {
                let (bin, &count) = bins.next()?;
                (above, lowest) = (above + count, bin);
            }
            Some(lower_edge(lowest).clamp(f32::MIN, f32::MAX))
        })
    }
}

/// Entries of the sums: those of a table of counts, and last what is ignored.
const SUMS: usize = ENTRIES + 1;
const IGNORED: usize = ENTRIES;

/// Pixels that are counted at once at most, so that 32 bits hold their counts.
const MOST_AT_ONCE: usize = 1 << 30;

/// Histograms of the scores of normal and of unexpected pixels, collected over any number of images in constant
/// memory: 16 MiB, and 8 MiB for each thread that counts, of which there are at most four.
///
/// ```
/// use sml::metrics::ScoreHistograms;
///
/// let mut scores = ScoreHistograms::new();
/// scores.add(&[0.9, 0.2, 0.4, 7.0], &[1, 0, 0, 255])?;
/// scores.add(&[0.3, 0.1], &[1, 0])?;
/// let result = scores.evaluate()?;
/// assert!((result.metrics.auroc - 5.0 / 6.0).abs() <= result.bounds.auroc);
/// # Ok::<(), sml::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ScoreHistograms {
    sums: Vec<u64>,
    /// What is not in the sums yet, a table of [`ENTRIES`] for each thread.
    lanes: Vec<Vec<u32>>,
    /// Pixels in the lanes.
    unsettled: usize,
}

impl Default for ScoreHistograms {
    fn default() -> Self {
        Self { sums: vec![0; SUMS], lanes: Vec::new(), unsettled: 0 }
    }
}

impl ScoreHistograms {
    /// No pixels yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the pixels of an image, or of a part of one, as [`PixelScores::add`](super::PixelScores::add) does.
    ///
    /// # Errors
    /// As [`PixelScores::add`](super::PixelScores::add); after an error nothing of this image has been added.
    pub fn add(&mut self, scores: &[f32], labels: &[u8]) -> Result<()> {
        if scores.len() != labels.len() {
            return check(scores, labels);
        }
        if scores.len() > MOST_AT_ONCE {
            check(scores, labels)?;
            let mut parts = scores.chunks(MOST_AT_ONCE).zip(labels.chunks(MOST_AT_ONCE));
            return parts.try_for_each(|(scores, labels)| self.add(scores, labels));
        }
        if self.unsettled + scores.len() > MOST_AT_ONCE {
            self.settle();
        }
        let arch = InstructionSet::chosen()?.arch().unwrap_or(pulp::Arch::Scalar);
        let lanes = (scores.len() / PIXELS_A_THREAD).clamp(1, rayon::current_num_threads().min(MOST_LANES));
        while self.lanes.len() < lanes {
            self.lanes.push(vec![0; ENTRIES]);
        }
        if self.count(scores, labels, lanes, arch, 1) {
            self.unsettled += scores.len();
            return Ok(());
        }
        // Memory is read once where all is well; where it is not, what was added is taken back.
        self.count(scores, labels, lanes, arch, u32::MAX);
        check(scores, labels)
    }

    /// Adds `amount` for each pixel, wrapping around. False if a labelled score is NaN.
    fn count(&mut self, scores: &[f32], labels: &[u8], lanes: usize, arch: pulp::Arch, amount: u32) -> bool {
        let part = scores.len().div_ceil(lanes).max(1);
        let parts = scores.par_chunks(part).zip(labels.par_chunks(part));
        let counted = self
            .lanes
            .par_iter_mut()
            .zip(parts)
            .map(|(table, (scores, labels))| arch.dispatch(Counting { table, scores, labels, amount }));
        counted.reduce(|| true, |one, other| one & other)
    }

    /// Adds all that other histograms have counted, such as those of another shard.
    pub fn merge(&mut self, other: &Self) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += more);
        for lane in &other.lanes {
            self.sums.iter_mut().zip(lane).for_each(|(sum, &count)| *sum += u64::from(count));
        }
        self.move_ignored();
    }

    /// The metrics as if all scores of a bin were equal, and how far off that may be. More may be added afterwards.
    ///
    /// # Errors
    /// [`Error::UndefinedMetric`](crate::Error::UndefinedMetric) when there is no unexpected or no normal pixel.
    pub fn evaluate(&mut self) -> Result<BoundedMetrics> {
        let ignored = self.settled()[IGNORED];
        self.cumulative()?.evaluate(ignored)
    }

    /// Thresholds and what they find, in the order of the requests. The rates are exact for the threshold that stands
    /// with them; that threshold is the lower edge of the bin that holds the wanted one.
    ///
    /// # Errors
    /// As [`PixelScores::thresholds`](super::PixelScores::thresholds).
    pub fn thresholds(&mut self, wanted: &[ThresholdAt]) -> Result<Vec<ThresholdRow>> {
        curve::rows(&self.cumulative()?, wanted)
    }

    /// The curve as at most `most` points (at least 2), from the highest threshold down, as
    /// [`PixelScores::curve`](super::PixelScores::curve): every point lies on the exact curve.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn curve(&mut self, most: usize) -> Result<Vec<CurvePoint>> {
        Ok(curve::thin(&self.cumulative()?, most))
    }

    /// Takes the histograms apart: normal, unexpected.
    pub fn into_parts(mut self) -> (ScoreHistogram, ScoreHistogram) {
        let histogram =
            |counts: &[u64]| ScoreHistogram { counts: counts.to_vec(), total: counts.iter().sum() };
        let table = self.settled();
        (histogram(&table[..BINS]), histogram(&table[BINS..2 * BINS]))
    }

    /// Writes the state: the bins that are not empty, with a checksum.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn write_to(&mut self, out: &mut impl Write) -> io::Result<()> {
        let table = self.settled();
        let filled = || (0_u32..).zip(table.iter()).filter(|&(_, &count)| count > 0);
        let mut sink = Sink::new(out);
        sink.write(MAGIC)?;
        sink.write(&(filled().count() as u64).to_le_bytes())?;
        for (index, count) in filled() {
            sink.write(&index.to_le_bytes())?;
            sink.write(&count.to_le_bytes())?;
        }
        sink.finish()
    }

    /// Reads a state that [`write_to`](Self::write_to) wrote. What is read is taken for damaged until its checksum has
    /// been compared.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for anything else, [`io::ErrorKind::UnexpectedEof`] for a state that is cut
    /// short, and what `input` returns.
    pub fn read_from(input: &mut impl Read) -> io::Result<Self> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut source = Source::new(input);
        if source.array::<8>()? != *MAGIC {
            return Err(invalid("no histograms of scores"));
        }
        let mut sums = vec![0_u64; SUMS];
        let mut total = 0_u64;
        for _ in 0..u64::from_le_bytes(source.array()?) {
            let index = u32::from_le_bytes(source.array()?);
            let count = u64::from_le_bytes(source.array()?);
            let bin = sums.get_mut(index as usize).ok_or_else(|| invalid("a bin that does not exist"))?;
            if count == 0 || std::mem::replace(bin, count) > 0 {
                return Err(invalid("a bin that is empty or there twice"));
            }
            total = total.saturating_add(count);
            if total > MOST_PIXELS {
                return Err(invalid("more pixels than there can be"));
            }
        }
        source.finish()?;
        Ok(Self { sums, ..Self::default() })
    }

    /// One table of everything.
    fn settled(&mut self) -> &[u64] {
        self.settle();
        &self.sums
    }

    /// Moves what the lanes have counted into the sums.
    fn settle(&mut self) {
        if std::mem::take(&mut self.unsettled) == 0 {
            return;
        }
        for lane in &mut self.lanes {
            self.sums.iter_mut().zip(lane).for_each(|(sum, count)| *sum += u64::from(std::mem::take(count)));
        }
        self.move_ignored();
    }

    /// Puts the pixels of the bins for ignored ones into the place that they have in the sums.
    fn move_ignored(&mut self) {
        let ignored: u64 = self.sums[..IGNORED_BINS].iter_mut().map(std::mem::take).sum();
        self.sums[IGNORED] += ignored;
    }

    fn cumulative(&mut self) -> Result<Cumulative> {
        let (normal, unexpected) = self.settled()[..2 * BINS].split_at(BINS);
        let cumulative = Cumulative::new(normal, unexpected);
        let total = cumulative.counted();
        both_present(total.found, total.alarms)?;
        Ok(cumulative)
    }
}

/// What a written state begins with.
const MAGIC: &[u8; 8] = b"SMLhist1";

/// More pixels than anyone has: a bound on what is read, so that sums of many states do not overflow.
const MOST_PIXELS: u64 = 1 << 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_keep_the_order_of_scores() {
        let scores = [f32::NEG_INFINITY, -1e9, -3.5, -1e-30, 0.0, 1e-30, 0.25, 7.0, 1e9, f32::INFINITY];
        assert!(scores.windows(2).all(|pair| bin(pair[0]) < bin(pair[1])));
        for score in scores {
            let edge = lower_edge(bin(score));
            assert!(edge <= score, "{score} in the bin of {edge}");
            if score.is_finite() {
                assert!((score - edge) <= score.abs() * 5e-4, "{score} in the bin of {edge}");
            }
        }
        assert_eq!(bin(-0.0), bin(0.0));
        assert!(bin(f32::NEG_INFINITY) >= IGNORED_BINS, "ignored pixels have bins of their own");
    }

    #[test]
    fn thresholds_of_one_kind_are_finite_and_reach_the_rate() {
        let mut histogram = ScoreHistogram::default();
        assert_eq!(histogram.threshold(0.5), None);
        for score in [f32::NEG_INFINITY, 1.0, 2.0, f32::INFINITY, f32::NAN] {
            histogram.add(score);
        }
        assert_eq!(histogram.total(), 4);
        for (rate, threshold) in [(0.0, f32::MAX), (0.25, f32::MAX), (0.5, 2.0), (0.75, 1.0), (1.0, f32::MIN)]
        {
            assert_eq!(histogram.threshold(rate), Some(threshold), "{rate}");
        }
    }

    #[test]
    fn threads_and_merging_change_nothing() {
        let scores: Vec<f32> =
            (0..700_001_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32).collect();
        let labels: Vec<u8> = (0..700_001_u32).map(|i| [0, 1, 255][(i % 7 % 3) as usize]).collect();
        let mut whole = ScoreHistograms::new();
        whole.add(&scores, &labels).unwrap();
        let mut parts = ScoreHistograms::new();
        for (scores, labels) in scores.chunks(300_000).zip(labels.chunks(300_000)) {
            let mut part = ScoreHistograms::new();
            part.add(scores, labels).unwrap();
            parts.merge(&part);
        }
        assert_eq!(whole.settled(), parts.settled());
        // An image that is refused leaves nothing behind.
        let mut broken = scores.clone();
        broken[500_000] = f32::NAN;
        assert_ne!(labels[500_000], 255);
        assert!(whole.add(&broken, &labels).is_err());
        assert_eq!(whole.settled(), parts.settled());
        let mut written = Vec::new();
        whole.write_to(&mut written).unwrap();
        let mut read = ScoreHistograms::read_from(&mut &written[..]).unwrap();
        assert_eq!(whole.settled(), read.settled());
    }

    #[test]
    fn counts_move_into_the_sums_before_they_overflow() {
        let mut scores = ScoreHistograms::new();
        scores.add(&[0.5, 1.5, 2.5, f32::NAN], &[0, 1, 255, 7]).unwrap();
        scores.lanes[0].iter_mut().filter(|count| **count > 0).for_each(|count| *count = u32::MAX);
        scores.unsettled = MOST_AT_ONCE;
        scores.add(&[0.5, 1.5], &[0, 1]).unwrap();
        assert_eq!(scores.unsettled, 2);
        let metrics = scores.evaluate().unwrap().metrics;
        let most = u64::from(u32::MAX);
        assert_eq!((metrics.positives, metrics.negatives, metrics.ignored), (most + 1, most + 1, 2 * most));
    }

    #[test]
    fn a_damaged_state_is_refused() {
        let mut scores = ScoreHistograms::new();
        scores.add(&[0.5, 1.5, 2.5], &[0, 1, 255]).unwrap();
        let mut written = Vec::new();
        scores.write_to(&mut written).unwrap();
        for length in 0..written.len() {
            let error = ScoreHistograms::read_from(&mut &written[..length]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut to {length}");
        }
        for index in 0..written.len() {
            for bit in [1, 0x80] {
                let mut damaged = written.clone();
                damaged[index] ^= bit;
                assert!(ScoreHistograms::read_from(&mut &damaged[..]).is_err(), "byte {index}");
            }
        }
    }
}
