//! The few bytes of HTTP that the admin socket needs.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::error::LabError;

/// Sends one request over a unix socket and returns the body.
///
/// # Errors
/// If the socket does not answer within five seconds, or not with a 2xx status.
pub fn request(socket: &Path, method: &str, path: &str) -> Result<String, LabError> {
    let doing = format!("{method} {path} on {}", socket.display());
    let exchange = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = exchange().map_err(LabError::io(&doing))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status.starts_with('2') {
        return Ok(body.to_owned());
    }
    Err(LabError::answer(doing, "not a success", &answer))
}
