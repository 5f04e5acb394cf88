//! The HTTP admin interface: health, metrics, and the cluster as JSON.
//!
//! It has no authentication yet, so its address must be a loopback one ([`crate::config`] refuses any other). Handlers
//! speak to the broker in Kafka's requests ([`crate::local`]); they only translate.

mod brokers;
mod configs;
mod error;
mod fallback;
mod force;
mod groups;
mod guard;
mod head;
mod health;
mod log_dirs;
mod metrics;
mod openapi;
mod partitions;
#[cfg(test)]
mod tests;
mod topics;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, JsonConfig, PathConfig, QueryConfig, ServiceConfig};
use actix_web::{App, HttpServer};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::error::StartError;
use crate::local::LocalClient;
use crate::shared::Shared;
use error::ApiError;

/// Bytes of a request's body.
const BODY_MAX: usize = 1 << 20;

/// Connections of the HTTP interface at a time.
const CONNECTIONS_MAX: usize = 256;

/// What the handlers have.
pub(crate) struct State {
    /// What the broker's arbiters share.
    pub(crate) shared: Arc<Shared>,
    /// The way to the broker.
    pub(crate) client: LocalClient,
    /// What `/metrics` is rendered from.
    pub(crate) recorder: PrometheusHandle,
}

/// Starts the interface on a socket that is bound already, with one thread of its own.
///
/// # Errors
/// When its threads cannot be started.
pub(crate) fn start(listener: TcpListener, state: State) -> Result<ServerHandle, StartError> {
    let state = Data::new(state);
    let server = HttpServer::new(move || App::new().app_data(state.clone()).configure(configure))
        .workers(1)
        .max_connections(CONNECTIONS_MAX)
        .disable_signals()
        .listen(listener)
        .map_err(StartError::Thread)?
        .run();
    let handle = server.handle();
    actix_rt::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the admin interface ended");
        }
    });
    Ok(handle)
}

/// Binds the interface's address; port 0 gives any that is free.
///
/// # Errors
/// When it is taken.
pub(crate) fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (chosen, listener) =
        bound.map_err(|source| StartError::Bind { address: format!("http://{address}"), source })?;
    Ok((listener, chosen))
}

/// The interface's routes, behind its guard.
fn configure(config: &mut ServiceConfig) {
    let api = web::scope("/api/v1")
        .service(brokers::cluster)
        .service(brokers::list)
        .service(topics::list)
        .service(topics::create)
        .service(topics::describe)
        .service(topics::alter)
        .service(topics::delete)
        .service(partitions::list)
        .service(force::force)
        .service(groups::list)
        .service(groups::describe)
        .service(log_dirs::list)
        .default_service(web::to(fallback::not_served));
    let all = web::scope("")
        .wrap(from_fn(head::as_get))
        .wrap(from_fn(guard::own_host))
        .app_data(JsonConfig::default().limit(BODY_MAX).error_handler(|error, _| ApiError::bad(&error).into()))
        .app_data(PathConfig::default().error_handler(|error, _| ApiError::bad(&error).into()))
        .app_data(QueryConfig::default().error_handler(|error, _| ApiError::bad(&error).into()))
        .service(health::live)
        .service(health::ready)
        .service(metrics::render)
        .service(openapi::document)
        .service(api)
        .default_service(web::to(fallback::not_served));
    // A target that is no path, as the one of `OPTIONS *`, is of no scope.
    config.service(all).default_service(web::to(fallback::not_served));
}
