//! Listener addresses as they are written: `NAME://host:port`, `host:port`, `[::1]:9092`.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use thiserror::Error;

/// Name of a listener that is written without one.
const DEFAULT_LISTENER: &str = "PLAINTEXT";

/// A listener's name with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerAddress {
    /// Its name; clients never see it.
    pub name: String,
    /// Host name or address, IPv6 without brackets; empty for all addresses of the machine.
    pub host: String,
    /// TCP port; 0 for any that is free.
    pub port: u16,
}

/// Why text is no listener address.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// There is no port.
    #[error("`{0}` has no port: write host:port or NAME://host:port")]
    NoPort(String),
    /// The port is no number below 65536.
    #[error("`{0}` has a port that is no number from 0 to 65535")]
    BadPort(String),
    /// An IPv6 address stands without brackets.
    #[error("`{0}`: write an IPv6 address in brackets, as [::1]:9092")]
    NoBrackets(String),
    /// The name has other characters than letters, digits, `_` and `-`.
    #[error("`{0}`: a listener's name is made of letters, digits, _ and -")]
    BadName(String),
    /// A listener's name stands where none is known.
    #[error("`{0}`: a listener's name is of no use here; write host:port")]
    Named(String),
    /// The host is empty where a client needs one.
    #[error("`{0}` has no host, but clients need one to connect to")]
    NoHost(String),
    /// The host stands for every interface where a client needs one of them.
    #[error(
        "`{0}` stands for every interface of a machine, which no client can connect to: write a name or an address"
    )]
    Wildcard(String),
}

impl FromStr for ListenerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (name, address) = text.split_once("://").unwrap_or((DEFAULT_LISTENER, text));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
            return Err(AddressError::BadName(text.to_owned()));
        }
        let (host, port) = address.rsplit_once(':').ok_or_else(|| AddressError::NoPort(text.to_owned()))?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host,
            None if host.contains(':') => return Err(AddressError::NoBrackets(text.to_owned())),
            None => host,
        };
        let port = port.parse().map_err(|_| AddressError::BadPort(text.to_owned()))?;
        Ok(Self { name: name.to_ascii_uppercase(), host: host.to_owned(), port })
    }
}

impl fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

impl ListenerAddress {
    /// Whether its host is the address that stands for every interface.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_unspecified())
    }

    /// The socket addresses to bind, in the order the resolver gives them; IPv6 first when there is no host.
    ///
    /// # Errors
    /// When the host name cannot be resolved.
    pub fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        if self.host.is_empty() {
            return Ok(vec![SocketAddr::from(([0u16; 8], self.port)), SocketAddr::from(([0u8; 4], self.port))]);
        }
        (self.host.as_str(), self.port).to_socket_addrs().map(Iterator::collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_every_form() {
        for (text, name, host, port) in [
            ("127.0.0.1:9092", "PLAINTEXT", "127.0.0.1", 9092),
            ("internal://broker-1.example:0", "INTERNAL", "broker-1.example", 0),
            ("[::1]:9092", "PLAINTEXT", "::1", 9092),
            ("V6://[fe80::2]:19092", "V6", "fe80::2", 19092),
            (":9092", "PLAINTEXT", "", 9092),
        ] {
            let address: ListenerAddress = text.parse().expect(text);
            assert_eq!((address.name.as_str(), address.host.as_str(), address.port), (name, host, port), "{text}");
            assert_eq!(address.to_string().parse::<ListenerAddress>(), Ok(address), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_and_says_why() {
        let parse = |text: &str| text.parse::<ListenerAddress>().expect_err(text);
        assert_eq!(parse("localhost"), AddressError::NoPort("localhost".into()));
        assert_eq!(parse("a:b"), AddressError::BadPort("a:b".into()));
        assert_eq!(parse("a:65536"), AddressError::BadPort("a:65536".into()));
        assert_eq!(parse("::1:9092"), AddressError::NoBrackets("::1:9092".into()));
        assert_eq!(parse("a b://x:1"), AddressError::BadName("a b://x:1".into()));
    }
}
