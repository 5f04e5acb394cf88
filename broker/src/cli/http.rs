//! The admin interface as a command asks it: one request, one JSON answer.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

use super::connect::{CliError, EXIT_MISSING, EXIT_REFUSED, EXIT_UNREACHABLE};

/// Bytes of an answer.
const ANSWER_MAX: u64 = 64 << 20;

/// Asks `address` (`host:port`), which has to be a loopback one, as the interface listens on no other.
///
/// # Errors
/// It cannot be reached within `timeout`, or has refused: the error says why in its words.
pub(super) fn ask(
    address: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
    timeout: Duration,
) -> Result<Value, CliError> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let answer = exchange(address, method, path, &body, timeout).map_err(|error| {
        let text = format!("{address}: {error}\n  Is a broker's admin interface there? Name it with --admin.");
        CliError::with_code(EXIT_UNREACHABLE, text)
    })?;
    let text = String::from_utf8_lossy(&answer);
    let malformed = || CliError::new(format!("{address}: no answer of an admin interface"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    let body: Value = serde_json::from_str(body).map_err(|_| malformed())?;
    if status == 200 {
        return Ok(body);
    }
    let code = if status == 404 { EXIT_MISSING } else { EXIT_REFUSED };
    let part = |name: &str| body[name].as_str().unwrap_or("?").to_owned();
    Err(CliError::with_code(code, format!("{address}: {}: {}", part("error"), part("message"))))
}

/// One exchange of HTTP/1.0: the server closes behind its answer.
fn exchange(address: &str, method: &str, path: &str, body: &str, timeout: Duration) -> std::io::Result<Vec<u8>> {
    let mut stream = connect(address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

fn connect(address: &str, timeout: Duration) -> std::io::Result<TcpStream> {
    let mut failed = std::io::Error::new(std::io::ErrorKind::NotFound, "no such address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
