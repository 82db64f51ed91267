//! Scores as 32-bit keys that sort as unsigned integers the way scores sort as numbers, and lists of such keys.

use super::radix;

/// The key of a score that is not NaN: `key(a) < key(b)` exactly when `a < b`, and both zeros share one key.
#[inline(always)]
pub(super) fn key(score: f32) -> u32 {
    // Adding zero turns -0.0 into 0.0 and changes nothing else.
    let bits = (score + 0.0).to_bits();
    // Negative numbers sort backwards by their bits, and before the positive ones: flip all their bits, and lift the
    // others above them. The shift spreads the sign over the word, so that no branch is needed.
    bits ^ (((bits as i32 >> 31) as u32) | 1 << 31)
}

/// The score of a key. Keys beyond the infinities, which no score has, give the infinities.
pub(super) fn score(key: u32) -> f32 {
    let key = key.clamp(self::key(f32::NEG_INFINITY), self::key(f32::INFINITY));
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

/// Keys of a block at most: 1 MiB of them. What a block has room for beyond its keys is all that is wasted.
const LARGEST_BLOCK: usize = 1 << 18;
/// Keys of a block at least.
const SMALLEST_BLOCK: usize = 1 << 8;

/// Keys in no particular order until they are asked for in order.
///
/// They lie in blocks, because a growing `Vec` takes up to twice its length, and three times while it is moved.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    blocks: Vec<Vec<u32>>,
    len: usize,
    /// There is one block at most, and it is in order.
    sorted: bool,
}

impl Keys {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn extend(&mut self, mut keys: &[u32]) {
        if keys.is_empty() {
            return;
        }
        self.sorted = false;
        if let Some(last) = self.blocks.last_mut() {
            let room = (last.capacity() - last.len()).min(keys.len());
            let (fitting, rest) = keys.split_at(room);
            last.extend_from_slice(fitting);
            (keys, self.len) = (rest, self.len + room);
        }
        if !keys.is_empty() {
            // As many again as there are, within bounds, so that few pixels take little memory.
            let capacity = self.len.clamp(SMALLEST_BLOCK, LARGEST_BLOCK).max(keys.len());
            let mut block = Vec::with_capacity(capacity);
            block.extend_from_slice(keys);
            self.blocks.push(block);
            self.len += keys.len();
        }
    }

    /// Takes the keys of another list; blocks of some size move without being copied.
    pub fn append(&mut self, other: Self) {
        for block in other.blocks {
            if self.is_empty() || block.len() * 2 > LARGEST_BLOCK {
                self.sorted = false;
                self.len += block.len();
                // In front of the one that is being filled.
                let last = self.blocks.len().saturating_sub(1);
                self.blocks.insert(last, block);
            } else {
                self.extend(&block);
            }
        }
    }

    /// All keys, the lowest first. Sorting takes as much memory again as the keys, for its duration.
    pub fn sorted(&mut self) -> &[u32] {
        if !self.sorted {
            self.blocks = vec![radix::sort(std::mem::take(&mut self.blocks))];
            self.sorted = true;
        }
        self.blocks.first().map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_scores_and_come_back() {
        let ascending =
            [f32::NEG_INFINITY, f32::MIN, -1.5, -1e-40, 0.0, 1e-40, 0.5, 1.0, f32::MAX, f32::INFINITY];
        for pair in ascending.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
        for value in ascending {
            assert_eq!(score(key(value)), value);
        }
        assert_eq!(key(-0.0), key(0.0));
        assert_eq!((score(0), score(u32::MAX)), (f32::NEG_INFINITY, f32::INFINITY));
    }

    #[test]
    fn lists_grow_by_parts_and_by_each_other() {
        let mut all = Keys::default();
        for part in [0..3_u32, 3..1000, 1000..1001, 1001..700_000] {
            let mut keys = Keys::default();
            part.rev().collect::<Vec<_>>().chunks(4096).for_each(|keys_of_part| keys.extend(keys_of_part));
            all.append(keys);
        }
        assert_eq!(all.len(), 700_000);
        assert!(all.sorted().iter().copied().eq(0..700_000));
        all.extend(&[7]);
        assert_eq!((all.len(), all.sorted()[7], all.sorted()[8]), (700_001, 7, 7));
    }

    #[test]
    fn memory_stays_close_to_the_keys() {
        let mut keys = Keys::default();
        for start in 0..2000_u32 {
            keys.extend(&vec![start; 1013]);
        }
        let reserved: usize = keys.blocks.iter().map(Vec::capacity).sum();
        assert!(reserved - keys.len() <= LARGEST_BLOCK, "{reserved} for {}", keys.len());
    }
}
