//! The driver program as a child process: it takes jobs and gives back their buffers.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytemuck::AnyBitPattern;

use super::Library;
use super::compiler;

/// In which order the blocks of a grid and the threads of a block take their turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
    Random(u64),
}

/// One launch of a kernel.
#[derive(Clone, Debug)]
pub struct Launch {
    pub library: Library,
    pub entry: &'static str,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    /// The kernel's one parameter.
    pub arguments: Vec<u8>,
    /// Device pointers at its beginning.
    pub pointers: usize,
}

/// Memory and what is run on it.
#[derive(Clone, Debug)]
pub struct Job {
    pub seconds: u32,
    pub order: Order,
    buffers: Vec<Buffer>,
    pub launches: Vec<Launch>,
}

#[derive(Clone, Debug)]
struct Buffer {
    bytes: usize,
    misalignment: usize,
    /// Whether its contents are wanted back.
    answered: bool,
    /// Offsets and contents. What lies between them is untouched, and takes no memory.
    parts: Vec<(usize, Vec<u8>)>,
}

/// What the driver said before it ended: a sanitizer's report, or which threads wait for each other.
#[derive(Clone, Debug)]
pub struct Failure(pub String);

impl Job {
    pub fn new(order: Order) -> Self {
        Self { seconds: 120, order, buffers: Vec::new(), launches: Vec::new() }
    }

    fn add(&mut self, buffer: Buffer) -> u64 {
        assert!(buffer.misalignment < 256);
        let pointer = (self.buffers.len() as u64 + 1) << 40 | buffer.misalignment as u64;
        self.buffers.push(buffer);
        pointer
    }

    /// Adds memory whose first byte lies `misalignment` (below 256) behind a multiple of 256. Returns its device
    /// pointer, which has the same misalignment.
    pub fn buffer(&mut self, bytes: Vec<u8>, misalignment: usize) -> u64 {
        self.add(Buffer { bytes: bytes.len(), misalignment, answered: true, parts: vec![(0, bytes)] })
    }

    /// Adds memory of which only some parts, at their offsets, are used; it does not come back.
    pub fn sparse(&mut self, bytes: usize, parts: Vec<(usize, Vec<u8>)>) -> u64 {
        self.add(Buffer { bytes, misalignment: 0, answered: false, parts })
    }

    /// Adds memory for `bytes` of results: NaN, or a large number.
    pub fn unwritten(&mut self, bytes: usize, misalignment: usize) -> u64 {
        self.buffer(vec![0xff; bytes], misalignment)
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        fn number(to: &mut impl Write, value: usize) -> io::Result<()> {
            to.write_all(&u32::try_from(value).map_err(io::Error::other)?.to_le_bytes())
        }
        fn text(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
            number(to, bytes.len())?;
            to.write_all(bytes)
        }
        number(to, self.seconds as usize)?;
        number(to, self.buffers.len())?;
        for buffer in &self.buffers {
            number(to, buffer.misalignment)?;
            to.write_all(&(buffer.bytes as u64).to_le_bytes())?;
            number(to, buffer.answered.into())?;
            number(to, buffer.parts.len())?;
            for (offset, bytes) in &buffer.parts {
                to.write_all(&(*offset as u64).to_le_bytes())?;
                text(to, bytes)?;
            }
        }
        // Two seeds, of which one is odd: shared memory is filled with another pattern then.
        let (order, seed) = match self.order {
            Order::Ascending => (0, 0),
            Order::Descending => (1, 1),
            Order::Random(seed) => (2, seed),
        };
        number(to, self.launches.len())?;
        for launch in &self.launches {
            text(to, launch.library.path.as_os_str().as_encoded_bytes())?;
            text(to, launch.entry.as_bytes())?;
            for extent in launch.grid.into_iter().chain(launch.block) {
                number(to, extent as usize)?;
            }
            number(to, launch.shared_bytes as usize)?;
            number(to, order)?;
            to.write_all(&seed.to_le_bytes())?;
            number(to, launch.pointers)?;
            text(to, &launch.arguments)?;
        }
        to.flush()
    }
}

/// It ends at the end of its input, when this is dropped.
struct Process {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
    said: File,
}

impl Process {
    fn start() -> io::Result<Self> {
        let said = tempfile::tempfile()?;
        let mut child = Command::new(compiler::driver())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said.try_clone()?)
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok(Self { child, input: BufWriter::new(input), output: BufReader::new(output), said })
    }

    fn run(&mut self, job: &Job) -> io::Result<Vec<Vec<u8>>> {
        job.write(&mut self.input)?;
        let buffer = |output: &mut BufReader<ChildStdout>| {
            let mut length = [0; 8];
            output.read_exact(&mut length)?;
            let mut bytes = vec![0; u64::from_le_bytes(length) as usize];
            output.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        let answer = |from: &Buffer| if from.answered { buffer(&mut self.output) } else { Ok(Vec::new()) };
        job.buffers.iter().map(answer).collect()
    }

    /// Waits for the end of a driver that broke off.
    fn last_words(self) -> String {
        let Self { mut child, mut said, input, output } = self;
        // What was not written stays unwritten.
        drop(input.into_parts());
        drop(output);
        let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let mut text = Vec::new();
        let read = said.rewind().and_then(|()| said.read_to_end(&mut text));
        read.unwrap_or_else(|error| panic!("the driver's standard error: {error}"));
        format!("{}({status})", String::from_utf8_lossy(&text))
    }
}

/// Runs a job; returns its buffers as the kernels left them (empty for sparse ones).
///
/// # Errors
/// When a sanitizer or the harness found a fault.
pub fn run(job: &Job) -> Result<Vec<Vec<u8>>, Failure> {
    // One driver for each thread that tests run on.
    thread_local!(static PROCESS: RefCell<Option<Process>> = const { RefCell::new(None) });
    PROCESS.with_borrow_mut(|process| {
        let mut running = match process.take() {
            Some(running) => running,
            None => Process::start().unwrap_or_else(|error| panic!("the driver does not start: {error}")),
        };
        match running.run(job) {
            Ok(buffers) => {
                *process = Some(running);
                Ok(buffers)
            }
            Err(_) => Err(Failure(running.last_words())),
        }
    })
}

/// The elements that a buffer's bytes are.
pub fn elements<T: AnyBitPattern>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}
