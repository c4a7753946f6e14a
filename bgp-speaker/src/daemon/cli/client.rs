//! HTTP over the daemon's unix socket.

use crate::daemon::advice::io_text;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;

/// A drain of a big table takes the longest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Talks to one daemon, one connection per request.
#[derive(Debug)]
pub(super) struct AdminClient {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot reach the daemon at {}: {reason}; is it running? use --socket PATH", socket.display())]
    Unreachable { socket: PathBuf, reason: String },
    #[error("the daemon at {} broke off: {reason}; see its log", socket.display())]
    BrokeOff { socket: PathBuf, reason: String },
    /// The daemon's own words.
    #[error("{message}")]
    Refused { status: u16, message: String },
}

impl AdminClient {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// GETs a value.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.request(Method::GET, path, Bytes::new()).await?;
        self.decode(&body)
    }

    /// POSTs a body for a value.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: String) -> Result<T, ClientError> {
        let body = self.request(Method::POST, path, Bytes::from(body)).await?;
        self.decode(&body)
    }

    /// POSTs something that has no answer but success.
    pub(super) async fn command(&self, path: &str) -> Result<(), ClientError> {
        self.request(Method::POST, path, Bytes::new()).await.map(drop)
    }

    /// GETs a body that comes as it is made.
    pub(super) async fn stream(&self, path: &str) -> Result<Incoming, ClientError> {
        let opened = self.open(Method::GET, path, Bytes::new());
        let response = self.in_time(opened).await?;
        Ok(response.into_body())
    }

    pub(super) fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body)
            .map_err(|error| self.broke_off(format!("its answer is not what this version expects ({error})")))
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        let exchange = async {
            let response = self.open(method, path, body).await?;
            self.whole(response).await
        };
        self.in_time(exchange).await
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        tokio::time::timeout(ANSWER_TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err(self.broke_off(format!("no answer in {} s", ANSWER_TIMEOUT.as_secs()))))
    }

    /// The head of a successful answer.
    async fn open(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| ClientError::Unreachable {
            socket: self.socket.clone(),
            reason: io_text(&error),
        })?;
        let broke_off = |error: hyper::Error| self.broke_off(error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke_off)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "localhost")
            .body(Full::new(body))
            .map_err(|error| self.broke_off(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broke_off)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.whole(response).await?;
        Err(ClientError::Refused { status: status.as_u16(), message: error_message(&body) })
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = response.into_body().collect().await;
        Ok(body.map_err(|error| self.broke_off(error.to_string()))?.to_bytes())
    }

    pub(super) fn broke_off(&self, reason: String) -> ClientError {
        ClientError::BrokeOff { socket: self.socket.clone(), reason }
    }
}

/// The `error` of a JSON answer, else the whole text.
fn error_message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let json = serde_json::from_str::<serde_json::Value>(&text).ok();
    match json.as_ref().and_then(|json| json.get("error")?.as_str()) {
        Some(error) => error.to_owned(),
        None => text.trim().to_owned(),
    }
}

/// A path with a query. Values are percent-encoded.
pub(super) fn with_query<'a>(path: &str, params: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut text = path.to_owned();
    for (index, (name, value)) in params.into_iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_encoded() {
        let params = [("prefix", "fd00::/64".to_owned()), ("limit", "5".to_owned())];
        assert_eq!(with_query("/v1/routes", params), "/v1/routes?prefix=fd00%3A%3A%2F64&limit=5");
    }

    #[tokio::test]
    async fn an_absent_daemon_is_named_with_what_to_do() {
        let client = AdminClient::new(PathBuf::from("/nonexistent/admin.sock"));
        let error = client.get::<serde_json::Value>("/v1/status").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot reach the daemon at /nonexistent/admin.sock: No such file or directory; is it running? \
             use --socket PATH"
        );
    }

    #[test]
    fn the_daemons_words_are_passed_on() {
        assert_eq!(error_message(br#"{"error":"there is no neighbour"}"#), "there is no neighbour");
        assert_eq!(error_message(b"plain\n"), "plain");
    }
}
