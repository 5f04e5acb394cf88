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
    TestRequest::with_uri(&path.replace("{name}", "x").replace("{id}", "x")).method(method)
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
        assert_eq!(other.status(), StatusCode::NOT_FOUND, "PUT {path}");
    }
}

#[actix_web::test]
async fn a_page_of_another_host_is_refused() {
    let app = init_service(App::new().configure(configure)).await;
    for (host, status) in [("127.0.0.1:9644", StatusCode::OK), ("evil.example:9644", StatusCode::FORBIDDEN)] {
        let request = TestRequest::get().uri("/health/live").insert_header(("Host", host)).to_request();
        let response = call_service(&app, request).await;
        assert_eq!(response.status(), status, "{host}");
        if status == StatusCode::FORBIDDEN {
            let body: Value = read_body_json(response).await;
            assert_eq!(body["error"], "FORBIDDEN_HOST", "{body}");
        }
    }
}
