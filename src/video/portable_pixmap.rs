//! The header of a picture in ffmpeg's pipe: a binary portable pixmap ("P6"), which says its size before its pixels. The
//! decoder therefore needs no second program to ask for the size, and sees a stream change it.

use std::io::{self, Read};

use crate::Size;

/// Longest header that is read: three numbers of ten digits.
const LONGEST: usize = 40;
/// Longest side and most pixels of a frame, as of a picture file.
const LONGEST_SIDE: usize = 1 << 15;
const MOST_PIXELS: usize = 1 << 28;

/// Reads the header of the next pixmap of 8 bits a channel; the pixels follow. `None` where the stream ends before it.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] within the header, [`io::ErrorKind::InvalidData`] for anything else than such a header.
pub(super) fn read_header(reader: &mut impl Read) -> io::Result<Option<Size>> {
    let mut header = Vec::with_capacity(LONGEST);
    let mut numbers = 0;
    // The magic word and three numbers, each with one space or line break behind it.
    while numbers < 4 {
        let mut byte = [0];
        match reader.read(&mut byte) {
            Ok(0) if header.is_empty() => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => header.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        numbers = header.iter().filter(|byte| byte.is_ascii_whitespace()).count();
        if header.len() > LONGEST {
            return Err(invalid());
        }
    }
    parse(&header).map(Some).ok_or_else(invalid)
}

fn parse(header: &[u8]) -> Option<Size> {
    let text = std::str::from_utf8(header).ok()?;
    let mut words = text.split_ascii_whitespace();
    let ("P6", width, height, "255") = (words.next()?, words.next()?, words.next()?, words.next()?) else {
        return None;
    };
    let side = |text: &str| text.parse().ok().filter(|side| (1..=LONGEST_SIDE).contains(side));
    let size = Size::new(side(height)?, side(width)?);
    (size.pixels() <= MOST_PIXELS).then_some(size)
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no portable pixmap of 8 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_the_size() {
        let mut stream = &b"P6\n160 90\n255\nxyz"[..];
        assert_eq!(read_header(&mut stream).unwrap(), Some(Size::new(90, 160)));
        assert_eq!(stream, b"xyz");
        assert_eq!(read_header(&mut &b""[..]).unwrap(), None);
    }

    #[test]
    fn other_bytes_are_refused() {
        for (bytes, kind) in [
            (&b"P6\n16"[..], io::ErrorKind::UnexpectedEof),
            (b"P6\n160 90\n65535\n", io::ErrorKind::InvalidData),
            (b"P5\n160 90\n255\n", io::ErrorKind::InvalidData),
            (b"P6\n0 90\n255\n", io::ErrorKind::InvalidData),
            (b"P6\n40000 90\n255\n", io::ErrorKind::InvalidData),
            (b"P6\n32768 32768\n255\n", io::ErrorKind::InvalidData),
            (b"P6\n-1 90\n255\n", io::ErrorKind::InvalidData),
            (&[b'7'; 100], io::ErrorKind::InvalidData),
        ] {
            assert_eq!(read_header(&mut &bytes[..]).unwrap_err().kind(), kind, "{bytes:?}");
        }
    }
}
