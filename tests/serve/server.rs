//! The program with its page, for a test, and what it answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything: a busy machine takes its time.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// `sml serve` on a few of the bundled scenes. Ends with this.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts with `scenes` bundled scenes and more arguments.
    pub fn start(scenes: usize, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for scene in &sml::demo::SCENES[..scenes] {
            std::fs::write(folder.path().join(format!("{}.png", scene.name)), scene.picture).unwrap();
        }
        let mut command = program();
        command.arg("serve").arg(folder.path()).args(["--device", "cpu", "--port", "0", "--json"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let address: SocketAddr = said["address"].as_str().unwrap().parse().unwrap();
        assert_eq!(said["url"], format!("http://{address}/"));
        Self { child, address, _folder: folder }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What comes back for these bytes, until the server closes.
    pub fn exchange(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        // It may refuse, and close, before everything is sent.
        let _ = stream.write_all(request);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Answer(bytes)
    }

    /// A plain request, with more header lines.
    pub fn get(&self, path: &str, more: &str) -> Answer {
        let host = self.address;
        self.exchange(
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n").as_bytes(),
        )
    }

    /// Waits until the state satisfies `is_reached`.
    pub fn wait_for(&self, is_reached: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let state = self.get("/state.json", "").json();
            if is_reached(&state) {
                return state;
            }
            assert!(start.elapsed() < PATIENCE, "still {state:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the end of the source.
    pub fn wait_for_the_end(&self) -> Value {
        self.wait_for(|state| state["ended"] == true)
    }

    /// Sends SIGINT and waits; the exit code.
    #[cfg(unix)]
    pub fn interrupt(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, whose idle threads do not spin: tests run side by side.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sml"));
    command.env("OMP_WAIT_POLICY", "passive").stdin(Stdio::null());
    command
}

/// The bytes of an answer.
pub struct Answer(pub Vec<u8>);

impl Answer {
    /// 0 where the connection was closed without a word.
    pub fn status(&self) -> u16 {
        self.head().split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
    }

    pub fn head(&self) -> String {
        String::from_utf8_lossy(&self.0[..self.body_start().unwrap_or(self.0.len())]).into_owned()
    }

    pub fn body(&self) -> &[u8] {
        &self.0[self.body_start().unwrap_or(self.0.len())..]
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(self.body()).unwrap_or_else(|error| panic!("{error}: {}", self.head()))
    }

    fn body_start(&self) -> Option<usize> {
        self.0.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4)
    }
}
