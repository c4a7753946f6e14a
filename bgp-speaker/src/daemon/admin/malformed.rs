//! `/v1/malformed`: messages that could not be read or used.

use super::Admin;
use super::answer::ApiError;
use super::reads::neighbor_ref;
use crate::daemon::wall_clock;
use crate::view::MalformedView;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// `?neighbor=` leaves those of one neighbour.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MalformedParams {
    neighbor: Option<String>,
}

/// A message, and when it came.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MalformedAnswer {
    /// In UTC (RFC 3339).
    pub(crate) time: String,
    #[serde(flatten)]
    pub(crate) message: MalformedView,
}

/// The oldest first.
pub(super) async fn malformed(
    State(admin): State<Arc<Admin>>,
    params: Result<Query<MalformedParams>, QueryRejection>,
) -> Result<Json<Vec<MalformedAnswer>>, ApiError> {
    let wanted = params?.0.neighbor.filter(|text| !text.is_empty());
    let wanted = wanted.map(|text| neighbor_ref(&text)).transpose()?;
    let messages = admin.handle.malformed(wanted).await?;
    let now = wall_clock::now();
    let answer = messages.into_iter().map(|message| {
        let at = wall_clock::before(now, Duration::from_millis(message.age_ms));
        MalformedAnswer { time: wall_clock::text(at), message }
    });
    Ok(Json(answer.collect()))
}
