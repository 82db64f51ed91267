//! Raw requests: what is answered, what is refused, and how long it is borne with.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::server::{Answer, Server, program};

#[test]
fn the_page_and_its_parts() {
    let server = Server::start(3, &[]);
    let state = server.wait_for_the_end();
    assert_eq!(state["frames"]["delivered"], 3, "{state:#}");
    assert_eq!(state["latencies"].as_array().unwrap().len(), 3);
    assert_eq!(state["frame"]["id"], 2, "the last frame is shown");
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/frame.jpg?id=2", "image/jpeg"),
        ("/state.json", "application/json"),
    ] {
        let answer = server.get(path, "");
        assert_eq!(answer.status(), 200, "{path}");
        let head = answer.head();
        for line in [
            format!("content-type: {kind}\r\n"),
            "x-content-type-options: nosniff\r\n".into(),
            "cache-control: no-store\r\n".into(),
            "content-security-policy: default-src 'none'; ".into(),
        ] {
            assert!(head.contains(&line), "{path} lacks {line} in {head}");
        }
        assert!(!answer.body().is_empty());
    }
    let picture = image::load_from_memory(server.get("/frame.jpg", "").body()).unwrap().into_rgb8();
    let whole = image::load_from_memory(sml::demo::SCENES[2].picture).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), whole.dimensions());
    assert_ne!(picture, whole, "there is a heat map on it");

    let status = |method: &str, path: &str| {
        let host = server.address;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        server.exchange(request.as_bytes()).status()
    };
    assert_eq!((status("GET", "/nowhere"), status("GET", "/../Cargo.toml")), (404, 404));
    assert_eq!((status("POST", "/"), status("DELETE", "/frame.jpg")), (405, 405));
    assert_eq!(status("HEAD", "/frame.jpg"), 200);
    #[cfg(unix)]
    assert_eq!(server.interrupt(), Some(0));
}

#[test]
fn streams_send_what_is_there_and_go_on() {
    let server = Server::start(2, &[]);
    server.wait_for_the_end();
    let head = |path: &str, most: usize| {
        let mut stream = server.connect();
        let host = server.address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut bytes = vec![0; most];
        stream.read_exact(&mut bytes).unwrap();
        Answer(bytes)
    };
    let events = head("/events", 1200);
    assert!(events.head().contains("content-type: text/event-stream\r\n"), "{}", events.head());
    assert!(String::from_utf8_lossy(events.body()).contains("data: {\"frame\":{\"id\":1,"));
    // The same picture a second time, a while later: the answer does not end.
    let jpeg = server.get("/frame.jpg", "").body().to_vec();
    let stream = head("/stream.mjpg", 2 * jpeg.len());
    assert!(stream.head().contains("multipart/x-mixed-replace; boundary=picture\r\n"), "{}", stream.head());
    assert_eq!(stream.body().windows(jpeg.len()).filter(|bytes| *bytes == jpeg).count(), 1);
}

#[test]
fn other_names_and_other_pages_are_refused() {
    let server = Server::start(1, &["--allow-host", "Robot.local"]);
    let port = server.address.port();
    let with_host = |host: &str, more: &str| {
        server
            .exchange(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n").as_bytes())
            .status()
    };
    for host in ["localhost", "robot.LOCAL:1", "[::1]:7"] {
        assert_eq!(with_host(host, ""), 200, "{host}");
    }
    for host in ["evil.example", &format!("evil.example:{port}"), "127.0.0.1.evil.example"] {
        assert_eq!(with_host(host, ""), 421, "{host}");
    }
    assert_eq!(with_host("localhost", "Origin: http://evil.example\r\n"), 403);
    assert_eq!(with_host("localhost", "Host: localhost\r\n"), 400);
    assert_eq!(server.exchange(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").status(), 400);
    assert_eq!(server.exchange(b"GET / HTTP/1.0\r\n\r\n").status(), 400);
}

#[test]
fn malformed_and_oversized_requests_end_with_their_connection() {
    let server = Server::start(1, &[]);
    let host = server.address;
    let long = "a".repeat(100 << 10);
    let many: String = (0..200).map(|line| format!("X-{line}: y\r\n")).collect();
    for (what, request) in [
        ("no request", "\0\x01\x02 what?\r\n\r\n".to_owned()),
        ("no version", "GET /\r\n\r\n".to_owned()),
        ("a version of the future", format!("GET / HTTP/7.0\r\nHost: {host}\r\n\r\n")),
        ("a long path", format!("GET /{long} HTTP/1.1\r\nHost: {host}\r\n\r\n")),
        ("a long line", format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {long}\r\n\r\n")),
        ("many lines", format!("GET / HTTP/1.1\r\nHost: {host}\r\n{many}\r\n")),
        (
            "two lengths",
            format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        ),
        ("a negative length", format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n")),
    ] {
        let status = server.exchange(request.as_bytes()).status();
        assert!([0, 400, 405, 414, 431].contains(&status) && status != 200, "{what}: {status}");
    }
    assert_eq!(server.get("/", "").status(), 200);
}

#[test]
fn who_sends_nothing_is_sent_away_and_who_reads_nothing_holds_nobody_up() {
    let server = Server::start(4, &[]);
    let start = Instant::now();
    let half_a_request = |text: String| {
        let mut stream = server.connect();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let lazy: Vec<TcpStream> =
        ["", "GET ", "GET / HTTP/1.1\r\nHost: "].map(|text| half_a_request(text.into())).into();
    // These never read: the loop ends all the same, and others are served.
    let deaf: Vec<TcpStream> = (0..8)
        .map(|_| half_a_request(format!("GET /stream.mjpg HTTP/1.1\r\nHost: {}\r\n\r\n", server.address)))
        .collect();
    assert_eq!(server.wait_for_the_end()["frames"]["delivered"], 4);
    for mut stream in lazy {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    let borne = start.elapsed();
    assert!(borne >= Duration::from_secs(8), "closed too early: {borne:?}");
    assert_eq!(server.get("/", "").status(), 200);
    drop(deaf);
}

#[test]
fn more_connections_than_there_are_places_are_told_so() {
    let server = Server::start(1, &[]);
    let held: Vec<TcpStream> = (0..80).map(|_| server.connect()).collect();
    let refused = held.iter().filter(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut begin = [0; 12];
        let mut stream = *stream;
        stream.read_exact(&mut begin).is_ok() && &begin == b"HTTP/1.1 503"
    });
    assert_eq!(refused.count(), 16);
    drop(held);
    let start = Instant::now();
    while server.get("/", "").status() != 200 {
        assert!(start.elapsed() < Duration::from_secs(20), "no place becomes free");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_cannot_be_served_is_told_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = |arguments: &[&str]| {
        let output = program().arg("serve").args(arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.stdout.is_empty());
        (output.status.code().unwrap(), errors)
    };
    let (code, errors) = run(&["nowhere/", "--port", &port]);
    assert_eq!((code, errors.lines().count()), (1, 1), "{errors}");
    assert!(errors.contains(&port) && errors.contains("--port"), "{errors}");
    let (code, errors) = run(&["nowhere/", "--port", "0"]);
    assert_eq!((code, errors.lines().count()), (1, 1), "{errors}");
    assert!(errors.contains("nowhere"), "{errors}");
    let (code, errors) = run(&["nowhere/", "--port", "0", "--address", "0.0.0.0"]);
    assert_eq!((code, errors.lines().count()), (1, 2), "{errors}");
    assert!(errors.starts_with("sml: warning: ") && errors.contains("without a password"), "{errors}");
}
