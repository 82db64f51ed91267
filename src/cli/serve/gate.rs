//! Who may ask: only pages of this program's own, under a name that leads to this machine for certain.
//!
//! A browser lets any web page send requests to 127.0.0.1, and lets it read the answers when the page's own name has been made to
//! lead there (DNS rebinding). Such requests carry that name in `Host`. So `Host` must be an IP address, `localhost`, or a
//! name that the user has allowed; and a request that another page has made (`Origin`) is refused.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Names besides IP addresses and `localhost` that requests may be sent to, in small letters.
pub(super) type AllowedNames = Arc<[String]>;

/// What every answer says: nothing from elsewhere is loaded or run, nobody may show the page in a frame, nothing is kept.
const PROMISES: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Lets a request in or refuses it, and adds [`PROMISES`] to the answer.
pub(super) async fn guard(State(allowed): State<AllowedNames>, request: Request, next: Next) -> Response {
    let mut response = match refusal(request.headers(), &allowed) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in PROMISES {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(headers: &HeaderMap, allowed: &[String]) -> Option<(StatusCode, &'static str)> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
        (Some(Ok(host)), None) => host,
        _ => return Some((StatusCode::BAD_REQUEST, "expected one Host header\n")),
    };
    if !is_ours(host, allowed) {
        const UNKNOWN: &str = "this name is not known to lead to this machine: ask for 127.0.0.1 or localhost, \
                               or allow it with --allow-host\n";
        return Some((StatusCode::MISDIRECTED_REQUEST, UNKNOWN));
    }
    let from_here =
        |origin: &HeaderValue| origin.to_str().ok().and_then(|o| o.strip_prefix("http://")) == Some(host);
    let foreign = headers.get_all(header::ORIGIN).iter().any(|origin| !from_here(origin));
    foreign.then_some((StatusCode::FORBIDDEN, "another page may not ask this one\n"))
}

/// Whether a `Host` (a name or an address, and perhaps a port) is for certain this machine's.
fn is_ours(host: &str, allowed: &[String]) -> bool {
    if let Some((address, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let name = name.to_ascii_lowercase();
    port.is_none_or(is_port)
        && (name == "localhost" || name.parse::<Ipv4Addr>().is_ok() || allowed.contains(&name))
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_lead_here_for_certain() {
        let allowed = ["robot.local".to_owned()];
        for host in [
            "127.0.0.1:8080",
            "localhost",
            "LocalHost:9",
            "[::1]:8080",
            "[fe80::1]",
            "192.168.1.7:80",
            "Robot.local:1",
        ] {
            assert!(is_ours(host, &allowed), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "127.0.0.1:x",
            "[::1",
            "[::1]x",
            "[evil]",
            "127.0.0.1:80:80",
            "localhost@evil.example",
            "robot.local.evil.example",
            "::1",
        ] {
            assert!(!is_ours(host, &allowed), "{host}");
        }
    }

    #[test]
    fn other_pages_are_refused() {
        let status = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            refusal(&headers, &[]).map(|(status, _)| status.as_u16())
        };
        assert_eq!(status(&[("host", "127.0.0.1:8")]), None);
        assert_eq!(status(&[("host", "127.0.0.1:8"), ("origin", "http://127.0.0.1:8")]), None);
        assert_eq!(status(&[]), Some(400));
        assert_eq!(status(&[("host", "localhost"), ("host", "localhost")]), Some(400));
        assert_eq!(status(&[("host", "evil.example")]), Some(421));
        for origin in [
            "null",
            "https://127.0.0.1:8",
            "http://127.0.0.1:9",
            "http://evil.example",
            "http://127.0.0.1:8/",
        ] {
            assert_eq!(status(&[("host", "127.0.0.1:8"), ("origin", origin)]), Some(403), "{origin}");
        }
    }
}
