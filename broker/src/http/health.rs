//! Liveness and readiness.

use actix_web::web::Data;
use actix_web::{HttpResponse, get};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;

/// How the broker is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `alive`, `ready` or `not ready`.
    status: &'static str,
    /// Why the broker is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Whether the process runs.
#[utoipa::path(tag = "health", responses((status = 200, body = Health)))]
#[get("/health/live")]
pub(crate) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "alive", reason: None })
}

/// Whether clients should be sent here: not during recovery, not during shutdown, and not where a broker of several hears no
/// majority of them. A partition without a leader does not count: the others are served.
#[utoipa::path(tag = "health", responses((status = 200, body = Health), (status = 503, body = Health)))]
#[get("/health/ready")]
pub(crate) async fn ready(state: Data<State>) -> HttpResponse {
    let starting = (!state.shared.is_ready()).then(|| "starting or stopping".to_owned());
    match starting.or_else(|| state.shared.without_majority()) {
        None => HttpResponse::Ok().json(Health { status: "ready", reason: None }),
        reason => HttpResponse::ServiceUnavailable().json(Health { status: "not ready", reason }),
    }
}
