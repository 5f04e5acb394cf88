//! The listeners of a broker, and the addresses that clients are told.

use millrace_metadata::Endpoint;
use millrace_metadata::config::BrokerConfig;

use crate::error::StartError;
use crate::net::address::ListenerAddress;

/// The addresses to bind. Several may share a name: they are one listener to clients.
pub(super) fn bound(broker: &BrokerConfig) -> Result<Vec<ListenerAddress>, StartError> {
    let text = broker.value("listeners").unwrap_or_default();
    let listeners = parse("listeners", &text)?;
    if listeners.is_empty() {
        return Err(StartError::Contradiction("`listeners` names no address to listen on".to_owned()));
    }
    Ok(listeners)
}

/// The protocols of Kafka that no listener speaks. A listener with such a name has that protocol in Kafka, unless the
/// map says otherwise.
const NOT_SPOKEN: [&str; 3] = ["SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// Refuses what no listener can speak: who asks for encryption or authentication must not get a listener without it.
pub(super) fn check_protocols(broker: &BrokerConfig, listeners: &[ListenerAddress]) -> Result<(), StartError> {
    let text = broker.value("listener.security.protocol.map").unwrap_or_default();
    let mut mapped = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match entry.split_once(':') {
            Some((name, protocol)) if protocol.trim().eq_ignore_ascii_case("PLAINTEXT") => {
                mapped.push(name.trim().to_ascii_uppercase());
            }
            _ => {
                return Err(StartError::Contradiction(format!(
                    "`listener.security.protocol.map` holds `{entry}`: write NAME:PROTOCOL, and PLAINTEXT is the only \
                     protocol this release speaks"
                )));
            }
        }
    }
    let refused =
        |listener: &&ListenerAddress| NOT_SPOKEN.contains(&listener.name.as_str()) && !mapped.contains(&listener.name);
    match listeners.iter().find(refused) {
        None => Ok(()),
        Some(listener) => Err(StartError::Contradiction(format!(
            "`listeners` holds `{listener}`, but PLAINTEXT is the only protocol this release speaks: give the listener \
             another name, or say with {}:PLAINTEXT in `listener.security.protocol.map` that it has no {0}",
            listener.name
        ))),
    }
}

/// What clients are told to connect to, by listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised(Vec<ListenerAddress>);

impl Advertised {
    /// The addresses set for the names of `listeners`.
    pub(super) fn new(broker: &BrokerConfig, listeners: &[ListenerAddress]) -> Result<Self, StartError> {
        const KEY: &str = "advertised.listeners";
        let text = broker.value(KEY).unwrap_or_default();
        let mut advertised = parse(KEY, &text)?;
        // A lone address without a name is meant for the lone listener, whatever its name.
        let one_name = listeners.windows(2).all(|pair| matches!(pair, [a, b] if a.name == b.name));
        if let ([only], Some(listener)) = (advertised.as_mut_slice(), listeners.first())
            && one_name
            && !text.contains("://")
        {
            only.name.clone_from(&listener.name);
        }
        for address in &advertised {
            if address.host.is_empty() {
                let source = crate::net::address::AddressError::NoHost(address.to_string());
                return Err(StartError::Address { key: KEY, source });
            }
            if address.is_wildcard() {
                let source = crate::net::address::AddressError::Wildcard(address.to_string());
                return Err(StartError::Address { key: KEY, source });
            }
            if !listeners.iter().any(|listener| listener.name == address.name) {
                let text = format!("`{KEY}` names {}, which `listeners` does not", address.name);
                return Err(StartError::Contradiction(text));
            }
        }
        Ok(Self(advertised))
    }

    /// The endpoints of a broker whose listeners are bound to `bound`; `host_name` is told where every interface is
    /// bound and nothing else is set.
    #[must_use]
    pub fn endpoints(&self, bound: &[ListenerAddress], host_name: &str) -> Vec<Endpoint> {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for address in bound {
            if endpoints.iter().any(|endpoint| endpoint.listener == address.name) {
                continue;
            }
            let set = self.0.iter().find(|set| set.name == address.name);
            let host = match set {
                Some(set) => set.host.clone(),
                None if address.host.is_empty() || address.is_wildcard() => host_name.to_owned(),
                None => address.host.clone(),
            };
            let port = set.map_or(0, |set| set.port);
            let port = if port == 0 { address.port } else { port };
            endpoints.push(Endpoint { listener: address.name.clone(), host, port });
        }
        endpoints
    }
}

fn parse(key: &'static str, text: &str) -> Result<Vec<ListenerAddress>, StartError> {
    text.split(',')
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .map(|address| address.parse().map_err(|source| StartError::Address { key, source }))
        .collect()
}
