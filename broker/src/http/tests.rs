//! The routes, the document that describes them, and who may use them. Handlers have no broker behind them here: what is
//! found answers 500 or 200, what is not answers 404.

use std::collections::BTreeSet;

use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use serde_json::Value;

use super::*;

/// The operations of the document: method and path.
fn documented() -> BTreeSet<(String, String)> {
    let document = serde_json::to_value(openapi::describe()).expect("the document is JSON");
    let paths = document["paths"].as_object().expect("paths").clone();
    let operations = |(path, operations): (String, Value)| {
        let methods: Vec<String> = operations.as_object().expect("operations").keys().cloned().collect();
        methods.into_iter().map(move |method| (method.to_uppercase(), path.clone()))
    };
    paths.into_iter().flat_map(operations).collect()
}

fn request(method: &str, path: &str) -> TestRequest {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let path = path.replace("{name}", "x").replace("{id}", "x");
    TestRequest::with_uri(&path).method(method).insert_header(("Host", "localhost"))
}

#[actix_web::test]
async fn the_document_lists_what_is_served_and_the_manual_lists_the_same() {
    let row = |line: &str| {
        let (method, path) = line.strip_prefix("| `")?.split('`').next()?.split_once(' ')?;
        Some((method.to_owned(), path.to_owned()))
    };
    let manual = include_str!("../../../docs/operating/http.md");
    assert_eq!(documented(), manual.lines().filter_map(row).collect());
    let app = init_service(App::new().configure(configure)).await;
    for (method, path) in documented() {
        let response = call_service(&app, request(&method, &path).to_request()).await;
        assert_ne!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
        let other = call_service(&app, request("PUT", &path).to_request()).await;
        assert_eq!(other.status(), StatusCode::METHOD_NOT_ALLOWED, "PUT {path}");
        let allowed = other.headers().get("Allow").expect("Allow").to_str().expect("text").to_owned();
        assert!(allowed.split(", ").any(|allowed| allowed == method), "{allowed} lacks {method}");
        assert_eq!(allowed.contains("HEAD"), allowed.contains("GET"), "{path}");
        let body: Value = read_body_json(other).await;
        assert_eq!(body["error"], "METHOD_NOT_ALLOWED", "{body}");
    }
}

#[actix_web::test]
async fn what_there_is_not_is_told_in_a_body() {
    let app = init_service(App::new().configure(configure)).await;
    for path in ["/", "/nothing", "/health/live/", "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/topics/", "*"] {
        for method in ["GET", "POST", "HEAD"] {
            let response = call_service(&app, request(method, path).to_request()).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
            let body: Value = read_body_json(response).await;
            assert_eq!(body["error"], "NOT_FOUND", "{body}");
        }
    }
}

#[actix_web::test]
async fn head_is_answered_where_get_is() {
    let app = init_service(App::new().configure(configure)).await;
    for path in ["/health/live", "/openapi.json"] {
        let response = call_service(&app, request("HEAD", path).to_request()).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
}

#[actix_web::test]
async fn a_page_of_another_host_is_refused() {
    let app = init_service(App::new().configure(configure)).await;
    let asked = [
        (Some("127.0.0.1:9644"), StatusCode::OK, Value::Null),
        (Some("evil.example:9644"), StatusCode::FORBIDDEN, "FORBIDDEN_HOST".into()),
        (Some(""), StatusCode::BAD_REQUEST, "INVALID_REQUEST".into()),
        (None, StatusCode::BAD_REQUEST, "INVALID_REQUEST".into()),
    ];
    for (host, status, error) in asked {
        let request = TestRequest::get().uri("/health/live");
        let request = host.into_iter().fold(request, |request, host| request.insert_header(("Host", host)));
        let response = call_service(&app, request.to_request()).await;
        assert_eq!(response.status(), status, "{host:?}");
        let body: Value = read_body_json(response).await;
        assert_eq!(body["error"], error, "{body}");
    }
}
