//! Origins and hosts: `https://chat.example.org`, and what a `Host` header says.
//!
//! Strict on purpose: what is compared with an allow list must have one spelling.
//! Knows nothing of which origins are allowed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// Says which value is no origin or host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("bad {what} {value:?}")]
pub struct OriginError {
    what: &'static str,
    value: String,
}

/// A host and perhaps a port, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    /// A name or an address; IPv6 in brackets.
    pub host: String,
    /// The port, when one is named.
    pub port: Option<u16>,
}

/// A scheme, host and port from which a page may come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whether the scheme is https.
    pub secure: bool,
    /// Host and port; a port that the scheme implies is left out.
    pub authority: Authority,
}

impl Authority {
    /// Tells whether the host is an address or `localhost`: no foreign name server can have
    /// pointed a page's own name here.
    pub fn is_literal(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost" || bare.parse::<IpAddr>().is_ok()
    }
}

impl FromStr for Authority {
    type Err = OriginError;

    fn from_str(value: &str) -> Result<Self, OriginError> {
        parse_authority(value)
            .ok_or_else(|| OriginError { what: "host", value: value.chars().take(64).collect() })
    }
}

fn parse_authority(value: &str) -> Option<Authority> {
    let (host, port) = if value.starts_with('[') {
        let (host, rest) = value.split_at(value.find(']')? + 1);
        host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().ok()?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        let (host, port) = match value.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (value, None),
        };
        let word = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
        if host.is_empty() || host.len() > 253 || !host.bytes().all(word) {
            return None;
        }
        (host, port)
    };
    let port = match port {
        Some(digits) if digits.bytes().all(|c| c.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
        None => None,
    };
    Some(Authority { host: host.to_ascii_lowercase(), port })
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(value: &str) -> Result<Self, OriginError> {
        parse_origin(value)
            .ok_or_else(|| OriginError { what: "origin", value: value.chars().take(64).collect() })
    }
}

fn parse_origin(value: &str) -> Option<Origin> {
    let (scheme, rest) = value.split_once("://")?;
    let (secure, implied) = match scheme {
        "https" => (true, 443),
        "http" => (false, 80),
        _ => return None,
    };
    let mut authority = parse_authority(rest.strip_suffix('/').unwrap_or(rest))?;
    authority.port = authority.port.filter(|port| *port != implied);
    Some(Origin { secure, authority })
}

impl Origin {
    /// Gives the origin of a page served without TLS by this host.
    pub fn plain(mut authority: Authority) -> Self {
        authority.port = authority.port.filter(|port| *port != 80);
        Self { secure: false, authority }
    }

    /// Gives the address of the WebSocket endpoint at `path` under this origin.
    pub fn websocket(&self, path: &str) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{path}", self.authority)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        for (text, shown) in [
            ("http://localhost:8080", "http://localhost:8080"),
            ("HTTPS://x", ""),
            ("https://Chat.Example.org:443/", "https://chat.example.org"),
            ("http://[::1]:80", "http://[::1]"),
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
        ] {
            let origin = text.parse::<Origin>().map(|o| o.to_string()).unwrap_or_default();
            assert_eq!(origin, shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "",
            "null",
            "http://",
            "ftp://x",
            "http://a/b",
            "http://a@b",
            "http://a:b",
            "http://a:99999",
            "http://a?b",
            "http://[::1",
            "http://[x]",
            "http://a:+1",
            "//a",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_addresses_and_localhost_are_literal() {
        let literal = |host: &str| host.parse::<Authority>().unwrap().is_literal();
        assert!(literal("localhost:1") && literal("10.0.0.1") && literal("[::1]:8080"));
        assert!(!literal("evil.example") && !literal("localhost.evil.example"));
    }

    #[test]
    fn the_websocket_keeps_the_scheme_s_safety() {
        let at = |text: &str| text.parse::<Origin>().unwrap().websocket("/ws");
        assert_eq!(at("https://chat.example.org"), "wss://chat.example.org/ws");
        assert_eq!(at("http://127.0.0.1:8080"), "ws://127.0.0.1:8080/ws");
    }
}
