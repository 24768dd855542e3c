//! Answers of HTTP, cut out of whatever a socket gave.
//!
//! As much of it as logging in takes: a status, headers, a body of known length.

use anyhow::{Context as _, Result, bail, ensure};

/// Bytes of an answer beyond which the server is taken for broken.
const LARGEST: usize = 1024 * 1024;

/// Headers that are read at most.
const HEADERS: usize = 64;

/// Gathers one answer.
#[derive(Debug, Default)]
pub struct Answer {
    bytes: Vec<u8>,
}

impl Answer {
    /// Takes bytes; gives status and body once all of them are there.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<(u16, String)>> {
        self.bytes.extend_from_slice(bytes);
        ensure!(self.bytes.len() <= LARGEST, "an answer of more than {LARGEST} bytes");
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let parsed = head.parse(&self.bytes).context("no HTTP came")?;
        let httparse::Status::Complete(begin) = parsed else { return Ok(None) };
        let length = head.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
        let Some(length) = length else { bail!("an answer of unknown length") };
        let length: usize = std::str::from_utf8(length.value)?.trim().parse()?;
        let Some(body) = self.bytes[begin..].get(..length) else { return Ok(None) };
        Ok(Some((head.code.unwrap_or(0), String::from_utf8(body.to_vec())?)))
    }
}

/// Appends a request that posts JSON, as the bearer of a token if there is one.
pub fn post(host: &str, path: &str, token: Option<&str>, json: &str, out: &mut Vec<u8>) {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{}\
         Content-Length: {}\r\n\r\n{json}",
        bearer.unwrap_or_default(),
        json.len()
    );
    out.extend_from_slice(head.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_be_cut_anywhere() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nx: y\r\n\r\nhello";
        for piece in [1, 7, 30, 100] {
            let mut answer = Answer::default();
            let mut got = None;
            for bytes in whole.chunks(piece) {
                assert!(got.is_none());
                got = answer.feed(bytes).unwrap();
            }
            assert_eq!(got, Some((201, "hello".to_owned())));
        }
        assert!(Answer::default().feed(b"SSH-2.0\r\n\r\n").is_err());
        assert!(Answer::default().feed(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "no length");
    }
}
