//! What identifies a set of files: their names and contents, whatever their order.
//!
//! Versions of the same dataset differ, and results were found irreproducible for that reason; so every result carries the
//! number of files that were read and a digest over them. Each file contributes SHA-256 of its name and of the SHA-256 of its
//! bytes, taken as a number of 256 bits, and the digest of a set is the sum of these numbers modulo 2^256. A sum needs no
//! memory, does not depend on the order, and the sums of the parts of a set add up to that of the whole. (Exclusive or would
//! do that too, but a file that is met twice would vanish.) It tells versions apart; it is no defence against someone who
//! constructs files for a given sum.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Number of files and a digest over their names and contents.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct ContentHash {
    files: u64,
    /// Modulo 2^256, least significant limb first.
    sum: [u64; 4],
}

impl ContentHash {
    /// Adds a file. `name` is its path within the set, with `/` between its parts.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        let mut hash = Sha256::new();
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update(Sha256::digest(bytes));
        let digest = hash.finalize();
        let mut number = [0; 4];
        for (limb, bytes) in number.iter_mut().rev().zip(digest.chunks_exact(8)) {
            *limb = bytes.iter().fold(0, |limb, &byte| limb << 8 | u64::from(byte));
        }
        self.merge(&Self { files: 1, sum: number });
    }

    /// Adds all files that `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        self.files += other.files;
        let mut carry = false;
        for (mine, theirs) in self.sum.iter_mut().zip(other.sum) {
            let (sum, over) = mine.overflowing_add(theirs);
            let (sum, over_by_carry) = sum.overflowing_add(u64::from(carry));
            (*mine, carry) = (sum, over || over_by_carry);
        }
    }

    /// Number of files.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// The digest, as 64 hexadecimal digits in lower case.
    pub fn sha256(&self) -> String {
        self.sum.iter().rev().map(|limb| format!("{limb:016x}")).collect()
    }

    /// The hash that was written as [`files`](Self::files) and [`sha256`](Self::sha256); `None` when the digest has another
    /// form.
    pub fn from_parts(files: u64, sha256: &str) -> Option<Self> {
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let limb = |index: usize| u64::from_str_radix(&sha256[16 * (3 - index)..16 * (4 - index)], 16).ok();
        Some(Self { files, sum: [limb(0)?, limb(1)?, limb(2)?, limb(3)?] })
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files, {}", self.files, self.sha256())
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    files: u64,
    sha256: String,
}

impl From<ContentHash> for Written {
    fn from(hash: ContentHash) -> Self {
        Self { files: hash.files, sha256: hash.sha256() }
    }
}

impl TryFrom<Written> for ContentHash {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        Self::from_parts(written.files, &written.sha256).ok_or("sha256 is not 64 hexadecimal digits")
    }
}

#[cfg(test)]
mod tests {
    use super::ContentHash;

    fn hash(files: &[(&str, &str)]) -> ContentHash {
        let mut hash = ContentHash::default();
        files.iter().for_each(|(name, text)| hash.add(name, text.as_bytes()));
        hash
    }

    #[test]
    fn names_and_contents_count_and_order_does_not() {
        let (a, b) = (("a.png", "1"), ("b.png", "2"));
        let both = hash(&[a, b]);
        assert_eq!(both, hash(&[b, a]));
        assert_eq!(both.files(), 2);
        let exchanged = hash(&[("a.png", "2"), ("b.png", "1")]);
        for other in [hash(&[a]), hash(&[a, b, b]), exchanged, hash(&[a, ("b.pn", "g2")])] {
            assert_ne!(both.sha256(), other.sha256());
        }
    }

    #[test]
    fn a_single_file_is_the_digest_that_is_documented() {
        // Python: sha256(len(name).to_bytes(8, "little") + name + sha256(b"x").digest()).hexdigest()
        let one = hash(&[("a/b.c", "x")]);
        assert_eq!(one.sha256(), "9b1e12d06d97a492b1d1ca6265f8bb7ae9dd1137bd1f3af82e0f9808524e2e2d");
    }

    #[test]
    fn parts_add_up_with_carries() {
        let names: Vec<String> = (0..50).map(|n| format!("{n}.png")).collect();
        let whole = names.iter().fold(ContentHash::default(), |mut hash, name| {
            hash.add(name, name.as_bytes());
            hash
        });
        let mut merged = ContentHash::default();
        for part in 0..3 {
            let mut hash = ContentHash::default();
            names.iter().skip(part).step_by(3).for_each(|name| hash.add(name, name.as_bytes()));
            merged.merge(&hash);
        }
        assert_eq!(merged, whole);
        let all_ones = "f".repeat(64);
        let mut wrapped = ContentHash::from_parts(1, &all_ones).unwrap();
        wrapped.merge(&ContentHash::from_parts(1, &format!("{:064x}", 2)).unwrap());
        assert_eq!(wrapped.sha256(), format!("{:064x}", 1));
    }

    #[test]
    fn the_written_form_is_read_back() {
        let one = hash(&[("a", "1")]);
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<ContentHash>(&text).unwrap(), one);
        for wrong in ["", "é", &"g".repeat(64), &"0".repeat(63)] {
            assert_eq!(ContentHash::from_parts(1, wrong), None);
        }
    }
}
