//! Connections of the local web page, bounded in number, in the size of what they ask, and in time.
//!
//! One thread serves them all: a page asks for a picture that is there already. A connection that does nothing is closed: after
//! [`HEAD_TIME`] without a whole request, after [`STALL_TIME`] in which it takes nothing of an answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep};

/// Connections at a time; more are told to come back.
const CONNECTIONS: usize = 64;
/// Largest head of a request, in bytes.
const HEAD_BYTES: usize = 16 << 10;
/// Most lines of a request's head.
const HEAD_LINES: usize = 64;
/// From the connection, or the answer before, to the whole head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Longest time in which a reader takes nothing of an answer.
const STALL_TIME: Duration = Duration::from_secs(20);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\n\
    Content-Length: 21\r\nConnection: close\r\n\r\nToo many connections\n";

/// Answers whoever connects, for as long as it is polled.
pub(super) async fn answer(listener: TcpListener, site: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    http.max_buf_size(HEAD_BYTES).max_headers(HEAD_LINES);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, say: others may be closed meanwhile.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let _ = stream.try_write(FULL);
            continue;
        };
        // A picture is to go out at once, not with the next one.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(site.clone());
        let connection = http.serve_connection(TokioIo::new(Impatient::new(stream)), service);
        tokio::spawn(async move {
            // What is wrong with one connection is its own affair.
            let _ = connection.await;
            drop(place);
        });
    }
}

/// A stream that fails when nothing can be written for [`STALL_TIME`].
struct Impatient {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn new(stream: TcpStream) -> Self {
        Self { stream, stalled: None }
    }

    /// Passes on how a write went, or that it takes too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL_TIME))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.judge(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
