//! Which pictures a command line means: files, folders, patterns and `-`.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use super::pictures::PictureSource;
use crate::{Error, Result};

/// Extensions of the formats that [`super::read_picture`] decodes.
const EXTENSIONS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];
const EXPECTED: &str = "PNG, JPEG or WebP pictures";

/// Lists the pictures that `inputs` mean, in the order in which they are given; each file once.
///
/// A file is taken as it is. A folder stands for the PNG, JPEG and WebP files directly in it that are not hidden,
/// sorted as people count (`2.png` before `10.png`). What does not exist and contains `*`, `?` or `[` is a pattern,
/// as a shell would expand it, and sorted in the same way. `-` is standard input.
///
/// # Errors
/// [`Error::Io`] for what does not exist or cannot be read; [`Error::File`] for a folder or a pattern without
/// pictures, and for no input at all.
pub fn list_pictures<P: AsRef<Path>>(inputs: &[P]) -> Result<Vec<PictureSource>> {
    let mut pictures = Vec::new();
    for input in inputs {
        let input = input.as_ref();
        if input == Path::new("-") {
            pictures.push(PictureSource::Stdin);
        } else {
            pictures.extend(files(input)?.into_iter().map(PictureSource::File));
        }
    }
    let mut seen = std::collections::HashSet::new();
    pictures.retain(|picture| seen.insert(picture.path().to_owned()));
    Ok(pictures)
}

fn files(input: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, kind) = match fs::metadata(input) {
        Ok(metadata) if metadata.is_dir() => (in_folder(input)?, "folder"),
        Ok(_) => return Ok(vec![input.to_owned()]),
        Err(missing) => match input.to_str().filter(|text| text.contains(['*', '?', '['])) {
            Some(pattern) => (matching(input, pattern)?, "pattern"),
            None => return Err(Error::io(input, "read", missing)),
        },
    };
    if found.is_empty() {
        return Err(Error::file(input, format!("the {kind} holds no pictures"), EXPECTED));
    }
    found.sort_by(|a, b| as_people_count(&a.to_string_lossy(), &b.to_string_lossy()));
    Ok(found)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |source| Error::io(folder, "read", source);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && is_picture(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

fn matching(input: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let paths = glob::glob_with(pattern, options).map_err(|error| {
        Error::file(input, format!("is no pattern ({})", error.msg), "such as frames/*.png")
    })?;
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|error| {
            let unreadable = error.path().to_owned();
            Error::io(unreadable, "read", error.into())
        })?;
        if is_picture(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    EXTENSIONS.contains(&extension.as_str()) && path.is_file()
}

/// Compares runs of digits by their number and everything else by letter; equal numbers by their spelling.
fn as_people_count(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (left_digits, right_digits) = (leading_digits(left), leading_digits(right));
        if !left_digits.is_empty() && !right_digits.is_empty() {
            let order = compare_numbers(left_digits, right_digits);
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (&left[left_digits.len()..], &right[right_digits.len()..]);
            continue;
        }
        let (mut left_letters, mut right_letters) = (left.chars(), right.chars());
        match (left_letters.next(), right_letters.next()) {
            (None, None) => return a.cmp(b),
            (x, y) if x == y => (left, right) = (left_letters.as_str(), right_letters.as_str()),
            (x, y) => return x.cmp(&y),
        }
    }
}

fn leading_digits(text: &str) -> &str {
    &text[..text.bytes().take_while(u8::is_ascii_digit).count()]
}

/// Compares numbers of any length.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_as_people_count() {
        let mut names = ["f10.png", "f2.png", "f02.png", "f1.png", "e9.png", "f.png", "f1a.png", "ü.png"];
        names.sort_by(|a, b| as_people_count(a, b));
        assert_eq!(names, ["e9.png", "f.png", "f1.png", "f1a.png", "f02.png", "f2.png", "f10.png", "ü.png"]);
    }

    proptest::proptest! {
        #[test]
        fn the_order_is_total(a in "[a0-9]{0,6}", b in "[a0-9]{0,6}", c in "[a0-9]{0,6}") {
            let at_most = |x: &str, y: &str| as_people_count(x, y) != Ordering::Greater;
            proptest::prop_assert_eq!(as_people_count(&a, &b), as_people_count(&b, &a).reverse());
            proptest::prop_assert!(!(at_most(&a, &b) && at_most(&b, &c)) || at_most(&a, &c));
        }
    }
}
