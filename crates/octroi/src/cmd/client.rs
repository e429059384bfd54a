//! How commands reach a running hub: one small HTTP request over loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::Context;
use crate::cli::HubArg;
use crate::config::Config;
use crate::exit::{Exit, Failure, OrExit};

/// What a hub answers in this time, or it is not reachable.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer that is read.
const ANSWER_BYTES: u64 = 64 << 20;

/// A running hub.
pub(super) struct Hub {
    address: SocketAddr,
}

/// An answer other than success.
#[derive(Debug, thiserror::Error)]
#[error("{title}: {detail}")]
pub(super) struct Refused {
    pub(super) status: u16,
    title: String,
    detail: String,
    /// The whole problem document (RFC 9457).
    pub(super) problem: Value,
}

impl Hub {
    /// The hub that the arguments name; by default the one on this machine's usual port.
    pub(super) fn find(args: &HubArg, context: &Context) -> Result<Self, Failure> {
        let address = match (&args.config, &args.url) {
            (Some(path), _) => Config::load(path, &context.environment).or_exit(Exit::Config)?.http,
            (None, Some(url)) => {
                let authority = url.trim_start_matches("http://").trim_end_matches('/');
                authority.replace("localhost", "127.0.0.1").parse().map_err(|_| {
                    let mend = "write `http://127.0.0.1:9464`; hubs answer on loopback";
                    Failure::new(Exit::Usage, anyhow::anyhow!("`{url}` is no hub's address: {mend}"))
                })?
            }
            (None, None) => SocketAddr::from(([127, 0, 0, 1], 9464)),
        };
        Ok(Self { address })
    }

    /// GET.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.request("GET", path, None).map_err(|failure| self.explain(failure))
    }

    /// POST with a JSON body.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.request("POST", path, Some(body)).map_err(|failure| self.explain(failure))
    }

    fn explain(&self, failure: Failure) -> Failure {
        if failure.exit != Exit::Unreachable {
            return failure;
        }
        let mend = "is it running? name it with `--config` or `--url`";
        Failure {
            exit: failure.exit,
            error: failure.error.context(format!("no hub answers at {}: {mend}", self.address)),
        }
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut socket = TcpStream::connect_timeout(&self.address, TIMEOUT).or_exit(Exit::Unreachable)?;
        socket.set_read_timeout(Some(TIMEOUT)).or_exit(Exit::Unreachable)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            self.address,
            body.len()
        );
        socket.write_all((head + &body).as_bytes()).or_exit(Exit::Unreachable)?;
        let mut answer = Vec::new();
        socket.take(ANSWER_BYTES).read_to_end(&mut answer).or_exit(Exit::Unreachable)?;
        let (status, body) = parse(&answer).or_exit(Exit::Unreachable)?;
        if (200..300).contains(&status) {
            return if body.is_empty() {
                Ok(Value::Null)
            } else {
                serde_json::from_slice(&body).or_exit(Exit::Io)
            };
        }
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |key: &str| problem.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let exit = match status {
            401 | 403 => Exit::NotPermitted,
            503 => Exit::Unreachable,
            _ => Exit::Finding,
        };
        let (title, detail) = (text("title"), text("detail"));
        Err(Failure::new(exit, Refused { status, title, detail, problem }))
    }
}

/// A value for a query (RFC 3986: all but what is unreserved as `%xx`).
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// Status and body of an HTTP/1.1 answer on a connection that ends with it; chunked or not.
fn parse(answer: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
    let whole = || anyhow::anyhow!("the answer is no HTTP: is that port a hub's?");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(whole)?;
    let (head, rest) = answer.split_at_checked(end + 4).ok_or_else(whole)?;
    let head = std::str::from_utf8(head)?.to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(whole)?;
    if !head.contains("transfer-encoding: chunked") {
        return Ok((status, rest.to_vec()));
    }
    let (mut body, mut rest) = (Vec::new(), rest);
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n").ok_or_else(whole)?;
        let (size, tail) = rest.split_at_checked(line).ok_or_else(whole)?;
        let size = usize::from_str_radix(std::str::from_utf8(size)?.trim(), 16)?;
        if size == 0 {
            return Ok((status, body));
        }
        let chunk = tail.get(2..).and_then(|tail| tail.split_at_checked(size)).ok_or_else(whole)?;
        body.extend_from_slice(chunk.0);
        rest = chunk.1.get(2..).ok_or_else(whole)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_query_cannot_be_more_than_one() {
        assert_eq!(encoded("9f/3&log=hold é"), "9f%2F3%26log%3Dhold%20%C3%A9");
    }

    #[test]
    fn an_answer_is_read_chunked_or_not() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse(plain).unwrap(), (200, b"{}".to_vec()));
        let chunked =
            b"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\"\r\n3\r\na\":\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap(), (409, b"{\"a\":".to_vec()));
        assert!(parse(b"SSH-2.0").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort").is_err());
    }
}
