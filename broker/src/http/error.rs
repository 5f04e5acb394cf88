//! Errors as the interface answers them: a status and `{"error", "message"}`.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use millrace_types::ErrorCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::local::LocalError;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

/// The body of an error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// Name of the error, Kafka's where it has one, as `UNKNOWN_TOPIC_OR_PARTITION`.
    error: String,
    /// What happened, for people.
    message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, error: &str, message: String) -> Self {
        Self { status, body: ErrorBody { error: error.to_owned(), message } }
    }

    /// A request that cannot be read.
    pub(crate) fn bad(error: &dyn fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", error.to_string())
    }

    /// A request that does not say for whom it is.
    pub(super) fn no_host() -> Self {
        let message = "a request has one Host, which names this machine: a loopback address or localhost";
        Self::bad(&message)
    }

    /// A request for another host than this one.
    pub(super) fn foreign(host: &str) -> Self {
        let message = format!("`{host}` is not this machine; send a loopback address or localhost as Host");
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN_HOST", message)
    }

    /// Something that does not exist.
    pub(crate) fn missing(code: ErrorCode, message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, &name(code), message)
    }

    /// `Ok` for Kafka's code 0, else the error it stands for.
    pub(crate) fn check(code: i16, message: Option<&str>) -> Result<(), Self> {
        let code = ErrorCode::from_code(code);
        if code == ErrorCode::None {
            return Ok(());
        }
        let message = message.filter(|message| !message.is_empty()).unwrap_or_else(|| code.message());
        Err(Self::new(status(code), &name(code), message.to_owned()))
    }
}

/// The status that fits a Kafka error.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::GroupIdNotFound
        | ErrorCode::ResourceNotFound => StatusCode::NOT_FOUND,
        ErrorCode::TopicAlreadyExists | ErrorCode::NonEmptyGroup | ErrorCode::RebalanceInProgress => {
            StatusCode::CONFLICT
        }
        ErrorCode::InvalidTopicException
        | ErrorCode::InvalidPartitions
        | ErrorCode::InvalidReplicationFactor
        | ErrorCode::InvalidReplicaAssignment
        | ErrorCode::InvalidConfig
        | ErrorCode::InvalidRequest
        | ErrorCode::InvalidGroupId
        | ErrorCode::PolicyViolation
        | ErrorCode::TopicDeletionDisabled => StatusCode::BAD_REQUEST,
        ErrorCode::RequestTimedOut => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NotCoordinator
        | ErrorCode::LeaderNotAvailable
        | ErrorCode::NotLeaderOrFollower => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Kafka's spelling of a code's name.
fn name(code: ErrorCode) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.body.error, self.body.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status).json(&self.body)
    }
}

impl From<LocalError> for ApiError {
    fn from(error: LocalError) -> Self {
        let (status, name) = match error {
            LocalError::Timeout => (StatusCode::GATEWAY_TIMEOUT, "REQUEST_TIMED_OUT"),
            LocalError::Refused | LocalError::Codec(..) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN_SERVER_ERROR"),
        };
        Self::new(status, name, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelled_as_kafka_spells_them() {
        assert_eq!(name(ErrorCode::UnknownTopicOrPartition), "UNKNOWN_TOPIC_OR_PARTITION");
        assert_eq!(name(ErrorCode::InvalidConfig), "INVALID_CONFIG");
        assert!(ApiError::check(0, None).is_ok());
        let error = ApiError::check(36, Some("")).expect_err("TOPIC_ALREADY_EXISTS");
        assert_eq!(error.status, StatusCode::CONFLICT);
        assert_eq!(error.body.message, ErrorCode::TopicAlreadyExists.message());
    }
}
