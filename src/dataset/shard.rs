//! A part of a dataset, for one of several processes or machines.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The `index`-th of `count` parts, counted from 1 and written `2/5`. Every `count`-th image belongs to it, so that parts are of
/// equal length to within one image, and neighbouring frames of a recording are spread over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// The `index`-th of `count` parts.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless `1 <= index <= count`.
    pub fn new(index: usize, count: usize) -> Result<Self> {
        if index == 0 || index > count {
            return Err(refused(format!("{index}/{count}")));
        }
        Ok(Self { index, count })
    }

    /// Which part, from 1 on.
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many parts there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// True when the image at `position`, counted from 0, belongs to this part.
    pub fn holds(&self, position: usize) -> bool {
        position % self.count == self.index - 1
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            let number = |text: &str| text.trim().parse::<usize>().ok();
            Some((number(index)?, number(count)?))
        });
        numbers.ok_or_else(|| refused(text.to_owned())).and_then(|(index, count)| Self::new(index, count))
    }
}

impl TryFrom<String> for Shard {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

fn refused(given: String) -> Error {
    Error::InvalidParameter {
        field: "shard",
        given,
        expected: "INDEX/COUNT with 1 <= INDEX <= COUNT, such as 2/5",
    }
}

#[cfg(test)]
mod tests {
    use super::Shard;

    #[test]
    fn parts_are_disjoint_and_complete() {
        for count in 1..7 {
            for position in 0..20 {
                let holding = (1..=count).filter(|&index| Shard::new(index, count).unwrap().holds(position));
                assert_eq!(holding.count(), 1);
            }
        }
    }

    #[test]
    fn the_form_is_read_and_written() {
        let shard: Shard = "2/5".parse().unwrap();
        assert_eq!((shard.index(), shard.count(), shard.to_string()), (2, 5, "2/5".to_owned()));
        for wrong in ["0/5", "6/5", "1/0", "2", "a/b", "-1/3", "", "1/2/3"] {
            let error = wrong.parse::<Shard>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("shard is {wrong}: expected INDEX/COUNT")), "{error}");
        }
    }
}
