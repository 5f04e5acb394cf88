//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts the connections of a broker.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    counts: Mutex<Counts>,
}

/// Invariant: `total` is the sum of `by_address`, and `by_address` holds no zero.
#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place; it is free again when this value is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Arc<Limits>,
    address: IpAddr,
}

/// Which limit a connection would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// `max.connections`.
    Total,
    /// `max.connections.per.ip`.
    PerAddress,
}

impl Limits {
    /// A place for a connection from `address`, when neither limit is reached.
    pub(crate) fn acquire(self: &Arc<Self>, address: IpAddr, total: usize, per_ip: usize) -> Result<Permit, Exceeded> {
        // A dual-stack socket shows an IPv4 client under a mapped address.
        let address = address.to_canonical();
        let mut counts = self.counts.lock();
        if counts.total >= total {
            return Err(Exceeded::Total);
        }
        if counts.by_address.get(&address).copied().unwrap_or(0) >= per_ip {
            return Err(Exceeded::PerAddress);
        }
        counts.total += 1;
        *counts.by_address.entry(address).or_insert(0) += 1;
        Ok(Permit { limits: Arc::clone(self), address })
    }

    /// Number of connections.
    pub(crate) fn total(&self) -> usize {
        self.counts.lock().total
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.limits.counts.lock();
        counts.total = counts.total.saturating_sub(1);
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn both_limits_hold_and_places_come_back() {
        let limits = Arc::new(Limits::default());
        let one = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let mapped = IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        let other = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let first = limits.acquire(one, 3, 2).expect("free");
        let _second = limits.acquire(mapped, 3, 2).expect("free");
        assert_eq!(limits.acquire(one, 3, 2).expect_err("two already"), Exceeded::PerAddress);
        let _third = limits.acquire(other, 3, 2).expect("free");
        assert_eq!(limits.acquire(other, 3, 2).expect_err("three already"), Exceeded::Total);
        drop(first);
        assert_eq!(limits.total(), 2);
        assert!(limits.acquire(one, 3, 2).is_ok());
    }
}
