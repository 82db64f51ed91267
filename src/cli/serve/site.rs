//! The site: what can be asked for, and what is answered.
//!
//! | address | what |
//! |---|---|
//! | `/` | the page, with `/page.css` and `/page.js` |
//! | `/frame.jpg` | the newest overlay |
//! | `/events` | an [`Update`](super::board::Update) for each new picture, as server-sent events |
//! | `/state.json` | the same, once, with all latencies that are kept |
//! | `/stream.mjpg` | overlays as a never-ending answer, for players and for browsers without scripts |
//!
//! The page asks for the next picture when it has shown the one before: it is the reader who sets the pace.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::board::Board;
use super::gate::{AllowedNames, guard};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = concat!(include_str!("../../render/report.css"), include_str!("page.css"));
const SCRIPT: &str = include_str!("page.js");

/// Shortest time between two events, or two pictures, to one reader.
const PACE: Duration = Duration::from_millis(40);
/// Where nothing is new, the same is sent again after this time: a sign of life, by which gone readers are found out.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Between the pictures of `/stream.mjpg`.
const BOUNDARY: &str = "picture";

/// All routes, behind the gate.
pub(super) fn site(board: Arc<Board>, allowed: AllowedNames) -> Router {
    let text =
        |kind: &'static str, text: &'static str| get(async move || ([(header::CONTENT_TYPE, kind)], text));
    Router::new()
        .route("/", text("text/html; charset=utf-8", PAGE))
        .route("/page.css", text("text/css; charset=utf-8", STYLE))
        .route("/page.js", text("text/javascript; charset=utf-8", SCRIPT))
        .route("/frame.jpg", get(frame))
        .route("/state.json", get(state))
        .route("/events", get(events))
        .route("/stream.mjpg", get(stream))
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here: see /\n"))
        .with_state(board)
        .layer(axum::middleware::from_fn_with_state(allowed, guard))
}

async fn frame(State(board): State<Arc<Board>>) -> Response {
    match board.newest() {
        Some(shown) => ([(header::CONTENT_TYPE, "image/jpeg")], shown.jpeg.clone()).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], "no picture yet\n")
            .into_response(),
    }
}

async fn state(State(board): State<Arc<Board>>) -> Response {
    let json = serde_json::to_string(&board.update(&mut 0)).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

async fn events(State(board): State<Arc<Board>>) -> Response {
    let (sender, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut news = board.subscribe();
        let mut seen = 0;
        loop {
            news.mark_unchanged();
            let json = serde_json::to_string(&board.update(&mut seen)).unwrap_or_default();
            if sender.send(Bytes::from(format!("data: {json}\n\n"))).await.is_err() {
                return;
            }
            sleep(PACE).await;
            let _ = timeout(HEARTBEAT, news.changed()).await;
        }
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(Pieces(pieces))).into_response()
}

async fn stream(State(board): State<Arc<Board>>) -> Response {
    let (sender, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut news = board.subscribe();
        loop {
            news.mark_unchanged();
            if let Some(shown) = board.newest() {
                let head = format!(
                    "--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
                    shown.jpeg.len()
                );
                for piece in [Bytes::from(head), shown.jpeg.clone(), Bytes::from_static(b"\r\n")] {
                    if sender.send(piece).await.is_err() {
                        return;
                    }
                }
            }
            sleep(PACE).await;
            let _ = timeout(HEARTBEAT, news.changed()).await;
        }
    });
    let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    ([(header::CONTENT_TYPE, kind)], Body::new(Pieces(pieces))).into_response()
}

/// An answer in pieces. At most one waits to be taken.
struct Pieces(mpsc::Receiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
