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
}

/// Whether the process runs.
#[utoipa::path(tag = "health", responses((status = 200, body = Health)))]
#[get("/health/live")]
pub(crate) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "alive" })
}

/// Whether clients are served: not during recovery, not during shutdown.
#[utoipa::path(tag = "health", responses((status = 200, body = Health), (status = 503, body = Health)))]
#[get("/health/ready")]
pub(crate) async fn ready(state: Data<State>) -> HttpResponse {
    if state.shared.is_ready() {
        HttpResponse::Ok().json(Health { status: "ready" })
    } else {
        HttpResponse::ServiceUnavailable().json(Health { status: "not ready" })
    }
}
