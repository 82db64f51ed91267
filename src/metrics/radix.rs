//! Sorts 32-bit keys on all threads, with as much memory again as the keys take and no more.
//!
//! The range of the keys is cut into up to 2048 equal intervals. One parallel pass counts the keys of each interval,
//! a second moves every key to its interval's place in a new list: each thread owns a part of the input and, in every
//! interval, a part of the output of exactly the length that it will fill. Then the intervals are sorted side by
//! side, each of a size that fits a cache, by their remaining bits (least significant digit first). An interval that
//! holds much of a large input, because few keys lie far from the others, is itself cut as the whole was.
//!
//! The result is the sorted list, hence the same for every number of threads.

use std::slice::IterMut;

use rayon::prelude::*;

/// Most intervals that a range is cut into, as a power of two.
const INTERVAL_BITS: u32 = 11;
/// Up to this many keys, one thread sorts by comparison.
const FEW: usize = 1 << 9;
/// From this many keys on, several threads are worth while.
const MANY: usize = 1 << 16;
/// Parts of the input for each thread, so that no thread waits for the slowest for long.
const PARTS_A_THREAD: usize = 2;
/// Widest digit of a pass within an interval: its counts fit the L1 cache with room for the keys.
const DIGIT_BITS: u32 = 8;
/// Passes within an interval at most, since an interval spans at most 2^(32 - 11) keys.
const MOST_PASSES: usize = 4;

/// The keys of `blocks`, the lowest first. The blocks are freed before anything else is allocated for sorting.
pub(super) fn sort(blocks: Vec<Vec<u32>>) -> Vec<u32> {
    let total = blocks.iter().map(Vec::len).sum();
    if total <= MANY {
        let mut keys = blocks.concat();
        keys.sort_unstable();
        return keys;
    }
    let mut sorted = vec![0; total];
    let sources: Vec<&[u32]> = blocks.iter().map(Vec::as_slice).collect();
    let cut = Cut::scatter(&sources, &mut sorted);
    drop(blocks);
    cut.sort_intervals(&mut sorted);
    sorted
}

/// How a range of keys is cut into intervals of `1 << shift` keys, the first of which begins at `lowest`.
struct Cut {
    lowest: u32,
    shift: u32,
    /// Keys of each interval.
    lengths: Vec<usize>,
}

impl Cut {
    /// Moves the keys of all sources, which are not empty, into their intervals in `sorted`.
    fn scatter(sources: &[&[u32]], sorted: &mut [u32]) -> Self {
        let extremes =
            |keys: &[u32]| keys.iter().fold((u32::MAX, 0), |(low, high), &key| (key.min(low), key.max(high)));
        let parts = parts(sources, rayon::current_num_threads() * PARTS_A_THREAD);
        let (lowest, highest) = parts
            .par_iter()
            .flat_map_iter(|part| part.iter().map(|keys| extremes(keys)))
            .reduce(|| (u32::MAX, 0), |a, b| (a.0.min(b.0), a.1.max(b.1)));
        let spanned = u32::BITS - highest.saturating_sub(lowest).leading_zeros();
        let shift = spanned.saturating_sub(INTERVAL_BITS);
        let mut cut = Self { lowest, shift, lengths: vec![0; 1 << INTERVAL_BITS] };
        let counts: Vec<Vec<usize>> = parts.par_iter().map(|part| cut.count(part)).collect();
        for of_part in &counts {
            cut.lengths.iter_mut().zip(of_part).for_each(|(length, count)| *length += count);
        }
        let places = places(&counts, sorted);
        parts.par_iter().zip(places).for_each(|(part, places)| cut.place(part, places));
        cut
    }

    fn interval(&self, key: u32) -> usize {
        // The mask changes nothing, and spares the bounds checks.
        ((key.wrapping_sub(self.lowest) >> self.shift) as usize) & ((1 << INTERVAL_BITS) - 1)
    }

    fn count(&self, part: &[&[u32]]) -> Vec<usize> {
        let mut counts = vec![0; 1 << INTERVAL_BITS];
        for &key in part.iter().copied().flatten() {
            counts[self.interval(key)] += 1;
        }
        counts
    }

    fn place(&self, part: &[&[u32]], mut places: Vec<IterMut<'_, u32>>) {
        for &key in part.iter().copied().flatten() {
            // Every place is as long as was counted, and so never ends.
            if let Some(place) = places[self.interval(key)].next() {
                *place = key;
            }
        }
    }

    /// Sorts each interval of `keys`.
    fn sort_intervals(&self, keys: &mut [u32]) {
        if self.shift == 0 {
            return; // An interval is one key.
        }
        let large = (keys.len() / (2 * rayon::current_num_threads())).max(MANY);
        let mut intervals = Vec::with_capacity(self.lengths.len());
        let mut rest = keys;
        for &length in &self.lengths {
            let (interval, behind) = rest.split_at_mut(length);
            intervals.push(interval);
            rest = behind;
        }
        intervals.into_par_iter().filter(|interval| interval.len() > 1).for_each(|interval| {
            if interval.len() < large {
                sort_low_bits(interval, self.lowest, self.shift);
            } else {
                let copy = interval.to_vec();
                let cut = Self::scatter(&[&copy], interval);
                drop(copy);
                cut.sort_intervals(interval);
            }
        });
    }
}

/// Distributes slices over about `count` parts of equal numbers of keys, cutting slices where needed.
fn parts<'a>(sources: &[&'a [u32]], count: usize) -> Vec<Vec<&'a [u32]>> {
    let total: usize = sources.iter().map(|keys| keys.len()).sum();
    let size = total.div_ceil(count.max(1)).max(1);
    let (mut parts, mut part, mut room) = (Vec::with_capacity(count), Vec::new(), size);
    for &source in sources {
        let mut rest = source;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(room.min(rest.len()));
            part.push(piece);
            (rest, room) = (behind, room - piece.len());
            if room == 0 {
                parts.push(std::mem::take(&mut part));
                room = size;
            }
        }
    }
    parts.push(part);
    parts
}

/// For each part, where the keys of each interval go: `keys` is divided by interval, and within it by part.
fn places<'a>(counts: &[Vec<usize>], keys: &'a mut [u32]) -> Vec<Vec<IterMut<'a, u32>>> {
    let mut places: Vec<Vec<_>> = counts.iter().map(|_| Vec::with_capacity(1 << INTERVAL_BITS)).collect();
    let mut rest = keys;
    for interval in 0..1 << INTERVAL_BITS {
        for (of_part, places) in counts.iter().zip(&mut places) {
            let (place, behind) = rest.split_at_mut(of_part[interval]);
            places.push(place.iter_mut());
            rest = behind;
        }
    }
    places
}

/// Sorts keys that differ only in the lowest `bits` of their distance from `lowest`, on this thread.
fn sort_low_bits(keys: &mut [u32], lowest: u32, bits: u32) {
    if keys.len() <= FEW {
        keys.sort_unstable();
        return;
    }
    let passes = bits.div_ceil(DIGIT_BITS).min(MOST_PASSES as u32);
    let width = bits.div_ceil(passes);
    let digit = |key: u32, pass: u32| {
        ((key.wrapping_sub(lowest) >> (pass * width)) & ((1 << width) - 1)) as usize & ((1 << DIGIT_BITS) - 1)
    };
    let mut counts = [[0_usize; 1 << DIGIT_BITS]; MOST_PASSES];
    for &key in keys.iter() {
        for (pass, counts) in (0..passes).zip(&mut counts) {
            counts[digit(key, pass)] += 1;
        }
    }
    let mut other = vec![0; keys.len()];
    let (mut from, mut to): (&mut [u32], &mut [u32]) = (keys, &mut other);
    let mut swapped = false;
    for (pass, counts) in (0..passes).zip(&mut counts) {
        if counts.contains(&from.len()) {
            continue; // All share this digit.
        }
        let mut next = 0;
        for count in counts.iter_mut() {
            next += std::mem::replace(count, next);
        }
        for &key in from.iter() {
            let next = &mut counts[digit(key, pass)];
            to[*next] = key;
            *next += 1;
        }
        (from, to, swapped) = (to, from, !swapped);
    }
    if swapped {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(blocks: Vec<Vec<u32>>) {
        let mut expected = blocks.concat();
        expected.sort_unstable();
        assert!(sort(blocks) == expected);
    }

    /// A generator that is good enough to shuffle keys.
    fn random(seed: u32) -> impl Iterator<Item = u32> {
        let mut state = u64::from(seed);
        std::iter::from_fn(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Some((state >> 32) as u32)
        })
    }

    #[test]
    fn every_distribution_is_sorted() {
        let many = 3 * MANY + 5;
        let distributions: [&dyn Fn(u32) -> u32; 8] = [
            &|key| key,
            &|key| key & 1,
            &|_| u32::MAX,
            &|_| 0,
            &|key| key & 0xffff | 0x8000_0000,
            // Nearly all within one interval of one interval, and few far away.
            &|key| if key % 1000 == 0 { key } else { 0x4000_0000 + (key & 0x3ff) },
            &|key| if key % 30_000 == 0 { key } else { 0x4000_0000 + (key & 0xf_ffff) },
            // Differences that span the whole range.
            &|key| if key & 1 == 0 { 0 } else { u32::MAX - (key & 2) },
        ];
        for distribution in distributions {
            let keys: Vec<u32> = random(1).take(many).map(distribution).collect();
            check(keys.chunks(10_007).map(<[u32]>::to_vec).collect());
            check(vec![keys]);
        }
        check(Vec::new());
        check(vec![Vec::new(); 3]);
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let keys: Vec<u32> = random(2).take(5 * MANY).collect();
        let sorted = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| sort(vec![keys.clone()]))
        };
        assert!(sorted(1) == sorted(7));
    }

    proptest! {
        #[test]
        fn low_bits_are_sorted(keys in prop::collection::vec(any::<u32>(), 0..3000), lowest: u32, bits in 1_u32..=21) {
            let keys: Vec<u32> = keys.iter().map(|key| lowest.saturating_add(key & ((1 << bits) - 1))).collect();
            let (mut got, mut want) = (keys.clone(), keys);
            sort_low_bits(&mut got, lowest, bits);
            want.sort_unstable();
            prop_assert_eq!(got, want);
        }

        #[test]
        fn any_split_into_parts_keeps_all(lengths in prop::collection::vec(0_usize..50, 0..20), count in 1_usize..9) {
            let blocks: Vec<Vec<u32>> = lengths.iter().map(|&n| random(n as u32).take(n).collect()).collect();
            let sources: Vec<&[u32]> = blocks.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(parts(&sources, count).concat().concat(), blocks.concat());
        }
    }
}
