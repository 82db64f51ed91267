//! Counting scores in bins at the pace of memory.
//!
//! A thread counts in a table of its own, with 32-bit counts, half of what the sums take in the caches. Bins are found in
//! vectors, for so few pixels at a time that the next pixels are on their way from memory while these are counted. There
//! is no branch: ignored pixels go to bins that no score has.

use pulp::NullaryFnOnce;

use super::histogram::{BINS, KEPT_BITS, KEYS_A_BIN};
use super::keys::key;
use super::ranking::{NORMAL, UNEXPECTED};
use crate::cpu::prefetch;

/// Entries of a table of counts: the bins of normal pixels, then those of unexpected ones.
pub(super) const ENTRIES: usize = 2 * BINS;
/// Bins for ignored pixels, among those below minus infinity, which no score has. Several, so that neighbours do not wait for
/// each other.
pub(super) const IGNORED_BINS: usize = 16;

/// Pixels whose bins are found before they are counted: the first is arithmetic in vectors, the second is not. Few enough for
/// the processor to look past the counting at the pixels behind, and to have the loops unrolled.
const GROUP: usize = 64;

/// Pixels between those that are counted and those that memory is asked for: while a group is counted, the processor does not look past it.
const AHEAD: usize = 2048;

/// Pixels and the table that counts them.
pub(super) struct Counting<'a> {
    /// [`ENTRIES`] counts.
    pub table: &'a mut [u32],
    pub scores: &'a [f32],
    pub labels: &'a [u8],
    /// What is added for each.
    pub amount: u32,
}

impl NullaryFnOnce for Counting<'_> {
    /// No labelled score is NaN.
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        // A length that the compiler knows, so that it sees that every entry lies within.
        let table = &mut self.table[..ENTRIES];
        let (scores, last_scores) = self.scores.as_chunks::<GROUP>();
        let (labels, last_labels) = self.labels.as_chunks::<GROUP>();
        let mut entries = [0_u32; GROUP];
        let mut nan = false;
        for (scores, labels) in scores.iter().zip(labels) {
            prefetch::behind(scores, AHEAD);
            prefetch::behind(labels, AHEAD);
            nan |= find_entries(&mut entries, scores, labels);
            for &entry in &entries {
                let count = &mut table[entry as usize % ENTRIES];
                *count = count.wrapping_add(self.amount);
            }
        }
        nan |= find_entries(&mut entries, last_scores, last_labels);
        for &entry in &entries[..last_scores.len()] {
            let count = &mut table[entry as usize % ENTRIES];
            *count = count.wrapping_add(self.amount);
        }
        !nan
    }
}

/// The entry of each pixel in a table of counts. True if a labelled score is NaN.
#[inline(always)]
fn find_entries(entries: &mut [u32; GROUP], scores: &[f32], labels: &[u8]) -> bool {
    const { assert!(NORMAL == 0 && UNEXPECTED == 1, "the label is the number of the half that counts it") };
    let mut nan = 0;
    for (index, (entry, (&score, &label))) in entries.iter_mut().zip(scores.iter().zip(labels)).enumerate() {
        let label = u32::from(label);
        let counts = label <= u32::from(UNEXPECTED);
        nan |= u32::from(score.is_nan() & counts);
        let counted = (label << KEPT_BITS) | (key(score) / KEYS_A_BIN);
        *entry = if counts { counted } else { (index % IGNORED_BINS) as u32 };
    }
    nan != 0
}
