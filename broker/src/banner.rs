//! What a broker says on standard output when it is ready, and the names it goes by.

use std::fmt::Write;
use std::net::SocketAddr;

use millrace_storage::Identity;
use uuid::Uuid;

use crate::config::Config;
use crate::net::address::ListenerAddress;

/// Says where the broker is and what to try next, with the ports that were chosen.
pub(crate) fn text(
    config: &Config,
    identity: &Identity,
    bound: &[ListenerAddress],
    admin: Option<SocketAddr>,
) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let broker = config.broker.number("node.id");
    let mut text = format!("Millrace {version}, broker {broker} of cluster {}\n", identity.cluster_id);
    // Writing to a string does not fail.
    for address in bound {
        let _ = writeln!(text, "listening on {address}");
    }
    if let Some(admin) = admin {
        let _ = writeln!(text, "admin on http://{admin}");
    }
    let directory = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let _ = writeln!(text, "data in {}", directory.display());
    if let Some(first) = bound.first() {
        let host = match first.host.as_str() {
            "" | "0.0.0.0" | "::" => "localhost".to_owned(),
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        };
        let at = format!("{host}:{}", first.port);
        let _ = write!(
            text,
            "\nTry next:\n  echo hello | kcat -b {at} -t greetings -P\n  kcat -b {at} -t greetings -C -e\n  \
             millrace produce --bootstrap {at} greetings\n  millrace consume --bootstrap {at} greetings"
        );
    }
    if let Some(admin) = admin {
        let _ = write!(text, "\n  curl http://{admin}/api/v1/topics");
    }
    text
}

/// A cluster's identity as Kafka writes it: 16 bytes in 22 characters of URL-safe Base64 without padding.
pub(crate) fn cluster_id(id: Uuid) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = id.as_u128();
    let digit = |at: u32| {
        // The last digit holds two bits and four zeros.
        let six = if at < 21 { bits >> (122 - 6 * at) } else { bits << 4 };
        char::from(ALPHABET[usize::try_from(six & 63).unwrap_or(0)])
    };
    (0..22).map(digit).collect()
}

/// The machine's name, which clients are told where a listener binds every interface.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_url_safe_base64() {
        assert_eq!(cluster_id(Uuid::nil()), "A".repeat(22));
        assert_eq!(cluster_id(Uuid::from_u128(u128::MAX)), format!("{}w", "_".repeat(21)));
        assert_eq!(cluster_id(Uuid::from_bytes(*b"abcdefghijklmnop")), "YWJjZGVmZ2hpamtsbW5vcA");
    }
}
