//! Bytes that carry a checksum behind them, so that what a crash or a full disk left is told from what was written.
//!
//! The checksum is 64 bits over the words of the data. Each step is one-to-one in its state and in its word: data that
//! differ in one word never share a checksum, other damage does with a chance of about 2^-64. It is no protection
//! against intent.

use std::io::{self, Read, Write};

/// An odd number without structure (the fraction of the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Goes on with a checksum over `bytes`.
fn absorb(state: u64, bytes: &[u8]) -> u64 {
    let step = |state: u64, word: u64| (state.rotate_left(29) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let state = words.iter().fold(state, |state, word| step(state, u64::from_le_bytes(*word)));
    // The length tells padding from data.
    step(step(state, u64::from_le_bytes(last)), bytes.len() as u64)
}

/// Writes bytes, and at the end their checksum.
pub(super) struct Sink<W> {
    out: W,
    state: u64,
}

impl<W: Write> Sink<W> {
    pub fn new(out: W) -> Self {
        Self { out, state: FACTOR }
    }

    /// Writes `bytes`, which are read back in one piece.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.state = absorb(self.state, bytes);
        self.out.write_all(bytes)
    }

    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&self.state.to_le_bytes())
    }
}

/// Reads bytes, and at the end compares their checksum.
pub(super) struct Source<R> {
    input: R,
    state: u64,
}

impl<R: Read> Source<R> {
    pub fn new(input: R) -> Self {
        Self { input, state: FACTOR }
    }

    pub fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.state = absorb(self.state, &bytes);
        Ok(bytes)
    }

    pub fn finish(mut self) -> io::Result<()> {
        let mut written = [0; 8];
        self.input.read_exact(&mut written)?;
        if u64::from_le_bytes(written) == self.state {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum does not match"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_order_and_content_count() {
        let of = |bytes: &[u8]| absorb(FACTOR, bytes);
        let all = [of(b""), of(b"\0"), of(b"\0\0"), of(b"ab"), of(b"ba"), of(b"abcdefgh"), of(b"abcdefgi")];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one), "{i}");
        }
    }
}
