//! Errors of the admin API, each with its status code.

use crate::config::NeighborError;
use crate::daemon::desired::DesiredError;
use crate::daemon::file::{FileError, Problem};
use crate::speaker::{ApplyError, ChangeError, QueryError, Stopped};
use axum::Json;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What goes wrong with a request. The caller is at fault for 4xx, we are for 5xx.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
    problems: Vec<Problem>,
}

/// How it is told.
#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    /// Of a configuration file, all of them.
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    problems: &'a [Problem],
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), problems: Vec::new() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this endpoint has no such method")
    }

    pub(super) fn read_only() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "this address is for reading only; send changes to the unix socket (admin.socket)",
        )
    }

    pub(super) fn stopped() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the speaker has stopped")
    }

    pub(super) fn waiting(what: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("not started yet: waiting for {what}"))
    }

    pub(super) fn too_many_readers() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many clients follow the events already; try again later",
        )
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Body { error: &self.message, problems: &self.problems };
        (self.status, Json(body)).into_response()
    }
}

impl From<Stopped> for ApiError {
    fn from(_: Stopped) -> Self {
        Self::stopped()
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Neighbor(error) => error.into(),
            QueryError::Stopped(_) => Self::stopped(),
        }
    }
}

impl From<ApplyError> for ApiError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Invalid(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
            ApplyError::Kernel(_) | ApplyError::Listen(_) => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            ApplyError::Stopped(_) => Self::stopped(),
        }
    }
}

impl From<DesiredError> for ApiError {
    fn from(error: DesiredError) -> Self {
        match error {
            DesiredError::NoFile | DesiredError::EmptyFile(_) => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            DesiredError::File(error) => {
                let message = error.to_string();
                let problems = match error {
                    FileError::Invalid(problems) => problems,
                    FileError::Unreadable { .. } => Vec::new(),
                };
                Self { status: StatusCode::UNPROCESSABLE_ENTITY, message, problems }
            }
            DesiredError::Model(error) => Self::new(StatusCode::CONFLICT, error.to_string()),
            DesiredError::Apply(error) => error.into(),
            DesiredError::Change(ChangeError::Neighbor(error)) => error.into(),
            DesiredError::Change(ChangeError::Apply(error)) => error.into(),
        }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<NeighborError> for ApiError {
    fn from(error: NeighborError) -> Self {
        match error {
            NeighborError::Unknown(_) => {
                Self::not_found(format!("{error}; the list of all neighbours shows which there are"))
            }
            NeighborError::Ambiguous { .. } => Self::new(StatusCode::CONFLICT, error.to_string()),
        }
    }
}
