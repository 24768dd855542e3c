//! As much of HTTP/1.1 as logging in takes: one request after the other on one connection.
//!
//! Knows nothing of what is asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// How long an answer may take: a log-in may wait for the hashing of others.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of an answer beyond which the server is taken for broken.
const LARGEST: usize = 16 * 1024 * 1024;

/// A connection that is kept open between requests.
#[derive(Debug)]
pub struct Http {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Http {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address);
        let stream = stream.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { address, stream: BufReader::new(stream) })
    }

    /// Posts JSON, as the bearer of a token if there is one; gives the answer's body.
    pub fn post(&mut self, path: &str, token: Option<&str>, json: &str) -> Result<String> {
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{}\
             Content-Length: {}\r\n\r\n",
            self.address,
            bearer.unwrap_or_default(),
            json.len()
        );
        self.ask(path, &(head + json))
    }

    /// Gets a page's body.
    pub fn get(&mut self, path: &str) -> Result<String> {
        self.ask(path, &format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address))
    }

    fn ask(&mut self, path: &str, request: &str) -> Result<String> {
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (status, body) = self.answer().with_context(|| format!("asking for {path}"))?;
        ensure!((200..300).contains(&status), "{path} was answered with {status}: {}", body.trim());
        Ok(body)
    }

    fn answer(&mut self) -> Result<(u16, String)> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no HTTP answer: {first:?}"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().context("bad content-length")?,
                "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
                _ => {}
            }
        }
        let mut body = Vec::new();
        if chunked {
            while self.chunk(&mut body)? {}
        } else {
            self.take(length, &mut body)?;
        }
        Ok((status, String::from_utf8(body).context("the answer is no UTF-8")?))
    }

    /// Reads one chunk; the last one is empty.
    fn chunk(&mut self, body: &mut Vec<u8>) -> Result<bool> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(size, 16).context("bad chunk size")?;
        self.take(length, body)?;
        ensure!(self.line()?.is_empty(), "a chunk is longer than it says");
        Ok(length > 0)
    }

    fn take(&mut self, length: usize, body: &mut Vec<u8>) -> Result<()> {
        ensure!(body.len() + length <= LARGEST, "an answer of more than {LARGEST} bytes");
        let begin = body.len();
        body.resize(begin + length, 0);
        Ok(self.stream.read_exact(&mut body[begin..])?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the connection ended");
        }
        Ok(line.trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A connection on which these answers wait, and its other end: closed before the questions
    /// are asked, it would refuse them.
    fn answered(answers: &'static str) -> (Http, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let http = Http::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(answers.as_bytes()).unwrap();
        (http, peer)
    }

    #[test]
    fn bodies_by_length_and_in_chunks_follow_each_other_on_one_connection() {
        let (mut http, _peer) = answered(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi\
             HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n\
             HTTP/1.1 204 No Content\r\n\r\n",
        );
        assert_eq!(http.get("/a").unwrap(), "hi");
        assert_eq!(http.get("/b").unwrap(), "abcde");
        assert_eq!(http.post("/c", None, "{}").unwrap(), "");
    }

    #[test]
    fn a_refusal_is_an_error_that_quotes_it() {
        let (mut http, _peer) = answered("HTTP/1.1 429 Slow\r\ncontent-length: 4\r\n\r\nwait");
        let error = http.get("/a").unwrap_err().to_string();
        assert_eq!(error, "/a was answered with 429: wait");
    }
}
