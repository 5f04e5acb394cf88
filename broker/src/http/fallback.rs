//! The answer to what no handler takes.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError};

use super::error::ApiError;
use super::openapi;

/// Answers a path that there is not, or a method that a path does not have.
pub(super) async fn not_served(request: HttpRequest) -> HttpResponse {
    let (method, path) = (request.method(), request.path());
    let allowed = openapi::methods(path);
    if allowed.is_empty() {
        let message = format!("there is no {path}; GET /openapi.json lists what there is");
        return ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", message).error_response();
    }
    let allowed = allowed.join(", ");
    let message = format!("there is no {method} {path}, but {allowed}");
    let mut response = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message).error_response();
    if let Ok(value) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}
