//! Refuses requests that are not meant for this machine.
//!
//! The interface has no authentication; that it listens on loopback addresses alone keeps other machines out. It does
//! not keep out a web page in a browser of this machine: its host name may be made to resolve to 127.0.0.1 after the
//! page is loaded (DNS rebinding), and then the browser takes the interface for the page's own server. The `Host` field
//! of such a request still names the page's host.

use std::net::IpAddr;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Version;
use actix_web::http::header::HOST;
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError};

use super::error::ApiError;

/// Passes a request on if its `Host` names this machine, or if it has none, which no browser does: the server takes that
/// from HTTP/1.0 alone.
pub(super) async fn own_host(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    let refusal = match host {
        Some("") => ApiError::no_host(),
        None if request.version() > Version::HTTP_10 => ApiError::no_host(),
        Some(host) if !is_loopback(host) => ApiError::foreign(host),
        _ => return Ok(next.call(request).await?.map_into_left_body()),
    };
    Ok(request.into_response(refusal.error_response()).map_into_right_body())
}

/// Whether a `Host` field, `name` or `name:port`, names this machine by a loopback address or as `localhost`.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for own in ["127.0.0.1:9644", "127.1.2.3", "localhost", "LocalHost:80", "localhost.:80", "[::1]:9644", "[::1]"]
        {
            assert!(is_loopback(own), "{own}");
        }
        for foreign in ["evil.example", "evil.example:9644", "localhost.evil.example", "192.0.2.1", "[::]", "", ":80"] {
            assert!(!is_loopback(foreign), "{foreign}");
        }
    }
}
