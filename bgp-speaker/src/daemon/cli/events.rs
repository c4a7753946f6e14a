//! The lines of `/v1/events`, as the daemon sends them.

use super::client::{AdminClient, ClientError};
use crate::daemon::events::Told;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;

/// The daemon says something at least every 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A line longer than this is none of ours.
const LINE_OCTETS_MAX: usize = 1 << 20;

/// Events as they come.
pub(super) struct EventStream {
    client: AdminClient,
    body: Incoming,
    lines: Lines,
}

impl EventStream {
    /// Returns once nothing that happens passes it by.
    pub(super) async fn open(client: AdminClient, topics: &str) -> Result<Self, ClientError> {
        let body =
            client.stream(&super::client::with_query("/v1/events", [("topics", topics.to_owned())])).await?;
        Ok(Self { client, body, lines: Lines::default() })
    }

    /// The next event with its JSON; `None` once the daemon has ended.
    pub(super) async fn next(&mut self) -> Result<Option<(Told, String)>, ClientError> {
        loop {
            while let Some(line) = self.lines.next() {
                if let Some(json) = line.strip_prefix("data: ") {
                    return self.client.decode(json.as_bytes()).map(|told| Some((told, json.to_owned())));
                }
            }
            if self.lines.0.len() > LINE_OCTETS_MAX {
                return Err(self.client.broke_off("it sends lines without an end".to_owned()));
            }
            match tokio::time::timeout(SILENCE_MAX, self.body.frame()).await {
                Err(_) => {
                    return Err(self
                        .client
                        .broke_off(format!("it was silent for {} s", SILENCE_MAX.as_secs())));
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(self.client.broke_off(error.to_string())),
                Ok(Some(Ok(frame))) => self.lines.0.extend(frame.data_ref().into_iter().flatten()),
            }
        }
    }
}

/// Octets that come in pieces.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// The next whole line, without its end.
    fn next(&mut self) -> Option<String> {
        let end = self.0.iter().position(|octet| *octet == b'\n')?;
        let line: Vec<u8> = self.0.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_may_come_in_pieces() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in ["id: 1\nda", "ta: {}", "\n\n: st", "ill here\n"] {
            lines.0.extend(piece.bytes());
            found.extend(std::iter::from_fn(|| lines.next()));
        }
        assert_eq!(found, ["id: 1", "data: {}", "", ": still here"]);
    }
}
