//! The interface described by itself.

use actix_web::get;
use actix_web::web::Json;
use utoipa::OpenApi;

use super::{brokers, groups, health, log_dirs, metrics, partitions, topics};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Millrace admin",
        description = "Health, metrics and administration of a Millrace broker. Loopback only, without authentication.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        health::live,
        health::ready,
        metrics::render,
        document,
        brokers::cluster,
        brokers::list,
        topics::list,
        topics::create,
        topics::describe,
        topics::alter,
        topics::delete,
        partitions::list,
        groups::list,
        groups::describe,
        log_dirs::list,
    ),
    components(schemas(super::error::ErrorBody))
)]
struct Document;

/// This document.
#[utoipa::path(tag = "health", responses((status = 200, content_type = "application/json")))]
#[get("/openapi.json")]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(describe())
}

/// The OpenAPI document.
pub(super) fn describe() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
