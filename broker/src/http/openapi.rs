//! The interface described by itself.

use std::sync::LazyLock;

use actix_web::get;
use actix_web::web::Json;
use utoipa::OpenApi;
use utoipa::openapi::PathItem;

use super::{brokers, force, groups, health, log_dirs, metrics, partitions, topics};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Millrace admin",
        description = "Health, metrics and administration of a Millrace broker. Loopback only, without authentication. \
                       HEAD is answered wherever GET is.",
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
        force::force,
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

/// The methods of a path, as `Allow` names them; none when there is no such path.
pub(super) fn methods(path: &str) -> &'static [&'static str] {
    static SERVED: LazyLock<Vec<(String, Vec<&'static str>)>> = LazyLock::new(|| {
        let methods = |item: &PathItem| {
            let operations = [
                ("GET", &item.get),
                ("HEAD", &item.get),
                ("POST", &item.post),
                ("PATCH", &item.patch),
                ("DELETE", &item.delete),
            ];
            operations.into_iter().filter(|(_, operation)| operation.is_some()).map(|(method, _)| method).collect()
        };
        describe().paths.paths.iter().map(|(template, item)| (template.clone(), methods(item))).collect()
    });
    let served = SERVED.iter().find(|(template, _)| matches(template, path));
    served.map(|(_, methods)| methods.as_slice()).unwrap_or_default()
}

/// Whether a path is of a template such as `/api/v1/topics/{name}`.
fn matches(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(parameter), Some(part)) if parameter.starts_with('{') && !part.is_empty() => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_of_a_path_are_those_of_the_document() {
        assert_eq!(methods("/health/live"), ["GET", "HEAD"]);
        assert_eq!(methods("/api/v1/topics"), ["GET", "HEAD", "POST"]);
        assert_eq!(methods("/api/v1/topics/any"), ["GET", "HEAD", "PATCH", "DELETE"]);
        for path in
            ["", "/", "*", "/api/v1", "/api/v1/topics/", "/api/v1/topics/any/", "/api/v1/topics/any/partitions/0"]
        {
            assert!(methods(path).is_empty(), "{path}");
        }
    }
}
