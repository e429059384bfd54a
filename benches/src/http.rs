//! As much HTTP as reading `/health/ready` and `/metrics` on loopback takes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Outcome;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Status and body of `GET path`.
///
/// # Errors
/// Nobody answers, or not in HTTP.
pub fn get(address: SocketAddr, path: &str) -> Outcome<(u16, String)> {
    let answer = exchange(address, path).map_err(|error| format!("`http://{address}{path}`: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer has no end of headers")?;
    let status = head.split(' ').nth(1).ok_or("the answer has no status")?.parse()?;
    Ok((status, body.to_owned()))
}

fn exchange(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    // HTTP/1.0: the body ends with the connection, and is never chunked.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The samples of one metric in Prometheus text: labels and value.
pub fn samples<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        Some((labels, value.trim().parse().ok()?))
    })
}

/// The sum of a metric's samples, all labels together.
pub fn sum(text: &str, name: &str) -> u64 {
    samples(text, name).map(|(_, value)| value).sum::<f64>() as u64
}

/// The value of `label` in a sample's labels.
pub fn label<'a>(labels: &'a str, label: &str) -> Option<&'a str> {
    labels.split(',').find_map(|pair| pair.strip_prefix(label)?.strip_prefix("=\"")?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total A.\na_total{target=\"x\",level=\"open\"} 3\na_total{target=\"y\",level=\"open\"} 4\na_total_more 9\nplain 2.5\n";

    #[test]
    fn a_metric_is_told_from_one_whose_name_it_begins() {
        assert_eq!(sum(TEXT, "a_total"), 7);
        assert_eq!(samples(TEXT, "plain").collect::<Vec<_>>(), [("", 2.5)]);
        assert_eq!(sum(TEXT, "absent"), 0);
    }

    #[test]
    fn labels_are_found_by_name() {
        let targets: Vec<_> =
            samples(TEXT, "a_total").filter_map(|(labels, _)| label(labels, "target")).collect();
        assert_eq!(targets, ["x", "y"]);
    }
}
