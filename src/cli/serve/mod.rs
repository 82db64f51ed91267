//! `sml serve`: what a loop finds, on a web page of this machine's.
//!
//! Three threads: the loop takes frames from the source and passes them through the network; a drawing thread makes an overlay of the
//! newest one ([`newest`]) and puts it on the [`board`]; a third answers whoever asks ([`connections`], [`site`]). None waits
//! for the next: a slow reader, or many, cost the loop nothing but processor time.

mod board;
mod connections;
mod gate;
mod live;
mod newest;
mod site;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::sync::oneshot;

use self::board::Board;
use self::live::Live;
use super::interrupt::Interrupt;
use super::loop_args::LoopArgs;
use super::threshold::score_range;
use crate::render::ScoreRange;
use crate::{Error, Result};

/// Watch what a loop finds, on a web page of this machine's
///
/// Shows the newest overlay, the obstacles in it and the latency of each frame. The page is for this machine alone unless
/// --address says otherwise: whoever can connect can watch. It stays when the source has ended; Ctrl-C ends it.
#[derive(Args)]
#[command(after_help = "Examples:
  sml serve frames/ --rate 10
  sml serve drive.mp4 --drivable road,sidewalk --port 9000
  ssh -L 8080:localhost:8080 robot sml serve rtsp://camera/stream    and then http://localhost:8080/ here")]
pub(super) struct Arguments {
    #[command(flatten)]
    frames: LoopArgs,

    #[command(flatten)]
    place: PlaceArgs,

    /// Scores that the overlay's colours span, LOW,HIGH. By default from the median to the 99.5 % percentile of the latest
    /// frames
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true, value_parser = score_range)]
    range: Option<ScoreRange>,

    /// Print JSON objects on stdout, one a line: the page's address, and at the end counts and latencies
    #[arg(long)]
    json: bool,
}

/// Where the page is.
#[derive(Args)]
#[command(next_help_heading = "Web page")]
struct PlaceArgs {
    /// Port of the page; 0 takes a free one. The page's address is printed on stdout
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,

    /// Address of this machine that the page is at. Anything but 127.0.0.1 and ::1 lets others watch, without a password
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,

    /// A name of this machine that browsers may use for it, besides localhost and IP addresses; may be given again
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
}

impl PlaceArgs {
    fn listen(&self) -> Result<TcpListener> {
        let place = SocketAddr::new(self.address, self.port);
        let error =
            |source| Error::io(place.to_string(), "listen (choose another --port or --address?)", source);
        let listener = TcpListener::bind(place).map_err(error)?;
        listener.set_nonblocking(true).map_err(error)?;
        if !self.address.is_loopback() {
            eprintln!(
                "sml: warning: whoever reaches {} can watch, without a password and without encryption",
                self.address
            );
        }
        Ok(listener)
    }
}

/// What `--json` prints at the beginning.
#[derive(Serialize)]
struct Serving {
    address: SocketAddr,
    url: String,
}

impl Arguments {
    /// Runs the command until it is interrupted.
    ///
    /// # Errors
    /// When an option, the source or the network is not usable, or the port is taken.
    pub(super) fn run(&self) -> Result<()> {
        let listener = self.place.listen()?;
        let address =
            listener.local_addr().map_err(|error| Error::io("the page's address", "read", error))?;
        let live = Live::open(self)?;
        let interrupt = Interrupt::catch()?;
        let board = Arc::new(Board::new());
        let server = Server::start(listener, Arc::clone(&board), &self.place.allow_host)?;
        self.announce(address)?;
        let summary = live.run(&board, interrupt)?;
        eprintln!("{summary}");
        if !interrupt.requested() {
            eprintln!("the source has ended; the page stays until Ctrl-C");
        }
        while !interrupt.wait(Duration::from_secs(3600)) {}
        drop(server);
        if self.json { super::stdout::print_json_line(&summary) } else { Ok(()) }
    }

    fn announce(&self, address: SocketAddr) -> Result<()> {
        let mut shown = address;
        if shown.ip().is_unspecified() {
            // Every address of this machine: one that works here.
            shown.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let url = format!("http://{shown}/");
        if self.json {
            return super::stdout::print_json_line(&Serving { address, url });
        }
        super::stdout::print(&format!("{url}\n"))
    }
}

/// The thread that answers. Ends with this.
struct Server {
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(listener: TcpListener, board: Arc<Board>, names: &[String]) -> Result<Self> {
        let error = |source| Error::io("the web page", "serve", source);
        let names: Arc<[String]> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(error)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(error)?
        };
        let (end, ended) = oneshot::channel();
        let serve = move || {
            runtime.spawn(connections::answer(listener, site::site(board, names)));
            // Either way it is over.
            let _ = runtime.block_on(ended);
        };
        let thread = thread::Builder::new().name("web page".to_owned()).spawn(serve).map_err(error)?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
