//! Score maps on disk, one behind the other, while an evaluation goes on.
//!
//! An evaluation of several scores writes each map to the file of its score and later loads one score at a time:
//! memory holds one score, work can stop and go on, and a second pass over the maps is possible. Each map is a record
//! with lengths in front and a checksum behind. A process that was killed may leave half a record at the end, or a
//! stretch of zeros where the system had not written yet: [`Spool`] ends before the first record that is not whole,
//! and tells how long the file is up to there. All maps from there on have to be made again, and no damaged one is
//! ever used.
//!
//! A record is, in little-endian bytes: `SMLspool`, length of the name, height, width, 1 if there are predictions and
//! else 0 (32 bits each), a checksum of these, then the name in UTF-8, the scores (float32), the labels (one byte
//! each), the predictions (one byte each, if any) and a checksum of them.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use super::checksum::{Sink, Source};
use crate::Size;

/// What a record begins with.
const MAGIC: &[u8; 8] = b"SMLspool";

/// A score map with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreMap {
    /// Name of the image.
    pub name: String,
    /// Its height and width.
    pub size: Size,
    /// Anomaly scores, row by row.
    pub scores: Vec<f32>,
    /// Labels, as for [`PixelScores::add`](super::PixelScores::add).
    pub labels: Vec<u8>,
    /// Predicted classes, where they were written.
    pub predictions: Option<Vec<u8>>,
}

/// Appends a score map to a spool: pixels row by row. Tells the length of the record in bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] when a length is not that of `size`, and what `out` returns.
pub fn append_score_map(
    out: &mut impl Write,
    name: &str,
    size: Size,
    scores: &[f32],
    labels: &[u8],
    predictions: Option<&[u8]>,
) -> io::Result<u64> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let numbers = [name.len(), size.height, size.width, usize::from(predictions.is_some())];
    let lengths = [labels.len(), predictions.map_or(scores.len(), <[u8]>::len)];
    if size.height.checked_mul(size.width) != Some(scores.len()) || lengths != [scores.len(); 2] {
        return Err(invalid("scores, labels or predictions are not as many as the image has pixels"));
    }
    let mut header = Vec::with_capacity(HEADER);
    header.extend(MAGIC);
    for number in numbers {
        let number = u32::try_from(number).map_err(|_| invalid("an image or a name is too large"))?;
        header.extend(number.to_le_bytes());
    }
    let mut sink = Sink::new(&mut *out);
    sink.write(&header)?;
    sink.finish()?;
    let mut sink = Sink::new(out);
    sink.write(name.as_bytes())?;
    sink.write(&little_endian(scores))?;
    sink.write(labels)?;
    if let Some(predictions) = predictions {
        sink.write(predictions)?;
    }
    sink.finish()?;
    let pixels = scores.len() as u64;
    Ok((HEADER + 2 * CHECKSUM + name.len()) as u64 + pixels * if predictions.is_some() { 6 } else { 5 })
}

/// Bytes of a header before its checksum, and of a checksum.
const HEADER: usize = 24;
const CHECKSUM: usize = 8;

fn little_endian(scores: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(scores))
    } else {
        Cow::Owned(scores.iter().flat_map(|score| score.to_le_bytes()).collect())
    }
}

/// Reads the maps of a spool from its beginning. Give it a reader with a buffer.
///
/// Ends behind the last record that is whole. An `Err` means that reading failed, not that a record is damaged.
#[derive(Debug)]
pub struct Spool<R> {
    input: R,
    whole_bytes: u64,
    ended: bool,
    cut: bool,
}

impl<R: Read> Spool<R> {
    /// Reads from `input`, which stands at the beginning of the spool.
    pub fn new(input: R) -> Self {
        Self { input, whole_bytes: 0, ended: false, cut: false }
    }

    /// Bytes of the whole records that have been read. At the end, what the file is to be cut to before more is
    /// appended.
    pub fn whole_bytes(&self) -> u64 {
        self.whole_bytes
    }

    /// True at the end if something follows the whole records that is none.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    fn read(&mut self) -> io::Result<Option<ScoreMap>> {
        let mut first = [0];
        loop {
            match self.input.read(&mut first) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut source = Source::new(first.chain(&mut self.input));
        let header = source.array::<HEADER>()?;
        source.finish()?;
        let (magic, numbers) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(damaged("no record"));
        }
        let mut numbers = numbers.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number));
        let mut number = || u64::from(numbers.next().unwrap_or(0));
        let [name, height, width, predictions] = [number(), number(), number(), number()];
        // Below 2^64, since both are below 2^32; four times that may not be.
        let pixels = height * width;
        let score_bytes = pixels.checked_mul(4).ok_or_else(|| damaged("an impossible size"))?;
        let mut source = Source::new(&mut self.input);
        let name = String::from_utf8(source.bytes(name)?).map_err(|_| damaged("a name that is no text"))?;
        let scores = scores_of(&source.bytes(score_bytes)?);
        let labels = source.bytes(pixels)?;
        let predictions = if predictions == 1 { Some(source.bytes(pixels)?) } else { None };
        source.finish()?;
        let bytes = (HEADER + 2 * CHECKSUM + name.len()) as u64 + score_bytes + pixels;
        self.whole_bytes += bytes + if predictions.is_some() { pixels } else { 0 };
        let size = Size::new(height as usize, width as usize);
        Ok(Some(ScoreMap { name, size, scores, labels, predictions }))
    }
}

fn scores_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

impl<R: Read> Iterator for Spool<R> {
    type Item = io::Result<ScoreMap>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.read() {
            Ok(Some(map)) => Some(Ok(map)),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                let damaged =
                    [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof].contains(&error.kind());
                self.cut = damaged;
                if damaged { None } else { Some(Err(error)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool() -> (Vec<u8>, Vec<ScoreMap>, Vec<u64>) {
        let (mut bytes, mut maps, mut ends) = (Vec::new(), Vec::new(), vec![0]);
        for (name, size, predictions) in [
            ("one", Size::new(2, 3), true),
            ("frankfurt/zwei – 2", Size::new(4, 1), false),
            ("", Size::new(0, 5), true),
        ] {
            let pixels = size.height * size.width;
            let scores: Vec<f32> =
                [-0.0, f32::NAN, f32::INFINITY, 1.5].into_iter().cycle().take(pixels).collect();
            let labels: Vec<u8> = [0, 1, 255].into_iter().cycle().take(pixels).collect();
            let predictions = predictions.then(|| vec![18; pixels]);
            let length =
                append_score_map(&mut bytes, name, size, &scores, &labels, predictions.as_deref()).unwrap();
            ends.push(ends[ends.len() - 1] + length);
            assert_eq!(bytes.len() as u64, ends[ends.len() - 1]);
            maps.push(ScoreMap { name: name.into(), size, scores, labels, predictions });
        }
        (bytes, maps, ends)
    }

    /// Equal to the bit, since NaN is not equal to itself.
    fn assert_same(got: &[ScoreMap], want: &[ScoreMap]) {
        assert_eq!(format!("{got:?}"), format!("{want:?}"));
    }

    #[test]
    fn maps_come_back() {
        let (bytes, maps, ends) = spool();
        let mut spool = Spool::new(&bytes[..]);
        let read: Vec<ScoreMap> = spool.by_ref().map(Result::unwrap).collect();
        assert_same(&read, &maps);
        assert_eq!(read[0].scores[0].to_bits(), (-0.0_f32).to_bits());
        assert_eq!((spool.whole_bytes(), spool.is_cut()), (ends[3], false));
    }

    #[test]
    fn a_cut_tail_is_recognised_wherever_it_is_cut() {
        let (bytes, maps, ends) = spool();
        for length in 0..bytes.len() {
            let whole = ends.iter().rposition(|&end| end <= length as u64).unwrap();
            let zeros = [&bytes[..length], &[0; 40]].concat();
            for (tail, cut) in [(&bytes[..length], ends[whole] != length as u64), (&zeros[..], true)] {
                let mut spool = Spool::new(tail);
                let read: Vec<ScoreMap> = spool.by_ref().map(Result::unwrap).collect();
                assert_same(&read, &maps[..whole]);
                assert_eq!((spool.whole_bytes(), spool.is_cut()), (ends[whole], cut), "cut to {length}");
            }
        }
    }

    #[test]
    fn damage_is_recognised_wherever_it_is() {
        let (bytes, maps, ends) = spool();
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0x10;
            let whole = ends.iter().rposition(|&end| end <= index as u64).unwrap();
            let mut spool = Spool::new(&damaged[..]);
            let read: Vec<ScoreMap> = spool.by_ref().map(Result::unwrap).collect();
            assert_same(&read, &maps[..whole]);
            assert!(spool.is_cut());
        }
    }

    #[test]
    fn a_record_that_promises_much_costs_nothing() {
        let mut bytes = Vec::new();
        let mut sink = Sink::new(&mut bytes);
        let header = [&MAGIC[..], &[255; 16]].concat();
        sink.write(&header).unwrap();
        sink.finish().unwrap();
        bytes.extend([7; 100]);
        let mut spool = Spool::new(&bytes[..]);
        assert!(spool.next().is_none() && spool.is_cut());
    }

    #[test]
    fn lengths_must_agree() {
        let size = Size::new(1, 2);
        let append = |scores, labels, predictions| {
            append_score_map(&mut Vec::new(), "a", size, scores, labels, predictions)
        };
        assert!(append(&[0.0; 2], &[0; 2], Some(&[0; 2])).is_ok());
        for wrong in [
            append(&[0.0; 3], &[0; 2], None),
            append(&[0.0; 2], &[0; 1], None),
            append(&[0.0; 2], &[0; 2], Some(&[0; 3])),
        ] {
            assert_eq!(wrong.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
