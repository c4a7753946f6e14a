//! `/v1/events`: what happens, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use super::Admin;
use super::answer::ApiError;
use crate::daemon::events::{EventId, Reader, Reading, Topic, Topics};
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame, SizeHint};
use serde::Deserialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// After so long without an event a comment is sent, so that both sides notice when the other one is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Pieces that wait for the client to read them; more wait in the ring.
const PIECES_MAX: usize = 4;

/// `?topics=sessions,routes,config,fib`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsParams {
    topics: Option<String>,
}

pub(super) async fn events(
    State(admin): State<Arc<Admin>>,
    params: Result<Query<EventsParams>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let topics = match params?.0.topics.filter(|list| !list.is_empty()) {
        Some(list) => Topics::from_list(&list).map_err(|name| {
            let known = Topic::ALL.map(Topic::name).join(", ");
            ApiError::bad_request(format!("topics: \"{}\" is none of {known}", name.escape_debug()))
        })?,
        None => Topics::ALL,
    };
    let last = headers.get("last-event-id").map(|last| {
        let id = last.to_str().ok().and_then(|text| text.parse::<EventId>().ok());
        id.ok_or_else(|| ApiError::bad_request("Last-Event-ID is not the id of an event of this daemon"))
    });
    let reader = admin.events.read(topics, last.transpose()?).await.ok_or_else(ApiError::too_many_readers)?;
    let (pieces, body) = mpsc::channel(PIECES_MAX);
    tokio::spawn(tell(reader, pieces));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(Pieces(body))).into_response())
}

/// Passes events on until one of the sides is gone.
async fn tell(mut reader: Reader, pieces: mpsc::Sender<Bytes>) {
    let mut piece = Bytes::from_static(b": the events follow\n\n");
    loop {
        if pieces.send(piece).await.is_err() {
            return;
        }
        let next = tokio::time::timeout(KEEP_ALIVE, reader.next());
        let next = tokio::select! {
            next = next => next,
            () = pieces.closed() => return,
        };
        piece = match next {
            Err(_) => Bytes::from_static(b": still here\n\n"),
            Ok(readings) if readings.is_empty() => return,
            Ok(readings) => readings.iter().map(text).collect::<String>().into(),
        };
    }
}

fn text(reading: &Reading) -> String {
    let Reading { id, name, json } = reading;
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    format!("{id}event: {name}\ndata: {json}\n\n")
}

/// A body that comes as it is made.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
