//! What the stand-in wrote down.

use std::collections::BTreeMap;

use sml::cuda::plan::Launch;

/// One launch of a kernel, run or captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub kernel: String,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub arguments: Vec<u8>,
    /// Of the stream, 0 for a captured launch.
    pub stream: u64,
    pub gpu: usize,
    pub ordered: bool,
    pub graph: bool,
}

impl Run {
    fn read(line: &str) -> Self {
        let (kernel, fields) = line.split_once(' ').unwrap();
        let fields: BTreeMap<&str, &str> =
            fields.split(' ').map(|field| field.split_once('=').unwrap()).collect();
        let field = |name: &str| fields.get(name).copied().unwrap_or("0");
        let three = |name: &str| {
            let numbers: Vec<u32> = field(name).split(',').map(|number| number.parse().unwrap()).collect();
            numbers.try_into().unwrap()
        };
        let digits = field("arguments").as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        Self {
            kernel: kernel.to_owned(),
            grid: three("grid"),
            block: three("block"),
            shared_bytes: field("shared").parse().unwrap(),
            arguments: digits.map(byte).collect(),
            stream: field("stream").parse().unwrap(),
            gpu: field("gpu").parse().unwrap(),
            ordered: field("ordered") == "yes",
            graph: field("graph") == "yes",
        }
    }

    /// The `n`th pointer of the arguments.
    pub fn pointer(&self, n: usize) -> u64 {
        u64::from_le_bytes(self.arguments[8 * n..8 * n + 8].try_into().unwrap())
    }

    /// Panics unless this is that launch, to the last byte.
    pub fn assert_is(&self, launch: &Launch) {
        assert_eq!(self.kernel, launch.entry);
        assert_eq!((self.grid, self.block), (launch.grid, launch.block), "{}", self.kernel);
        assert_eq!(self.shared_bytes, launch.shared_bytes, "{}", self.kernel);
        assert_eq!(self.arguments, launch.arguments.bytes(), "{}", self.kernel);
    }
}

/// The calls and launches of a stretch of a test. Reading it panics if anything was wrong.
#[derive(Debug, Default)]
pub struct Log {
    pub calls: Vec<String>,
    pub runs: Vec<Run>,
    pub captured: Vec<Run>,
}

impl Log {
    pub fn read(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines() {
            match line.split_once(' ').unwrap() {
                ("call", function) => log.calls.push(function.to_owned()),
                ("run", launch) => log.runs.push(Run::read(launch)),
                ("capture", launch) => log.captured.push(Run::read(launch)),
                _ => panic!("the driver met {line}"),
            }
        }
        log
    }

    /// How often each function was called.
    pub fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.calls {
            *counts.entry(call.as_str()).or_default() += 1;
        }
        counts
    }

    /// Panics unless these functions were called so often, and no others.
    pub fn assert_counts<const N: usize>(&self, expected: [(&str, usize); N]) {
        assert_eq!(self.counts(), BTreeMap::from(expected));
    }

    /// Panics unless there are launches, each behind the one before, whatever stream that was on.
    pub fn assert_ordered(&self) {
        assert!(!self.runs.is_empty());
        for (place, run) in self.runs.iter().enumerate() {
            assert!(run.ordered, "launch {place}, {} on stream {}, may overtake", run.kernel, run.stream);
        }
    }
}
