//! What a connection has in flight, in figures.

use kafka_protocol::messages::ApiKey;

use super::request::{Request, State};

/// Requests that were taken and are not answered, for metrics. What bounds them is the connection's own limit
/// ([`super::Connection::wants_frames`]) and the purgatories of the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionLoad {
    /// Requests.
    pub requests: usize,
    /// Bytes of their frames.
    pub bytes: usize,
    /// Produce requests among them that wait to be acknowledged.
    pub produces: usize,
    /// Bytes of the frames of these.
    pub produce_bytes: usize,
    /// Fetch requests among them that wait: for records, or for pages of the disk.
    pub fetches: usize,
}

impl ConnectionLoad {
    /// The load of these requests.
    pub(super) fn of<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Self {
        let mut load = Self::default();
        for request in requests {
            load.requests += 1;
            load.bytes += request.size;
            match (request.api.key, &request.state) {
                (ApiKey::Produce, State::Waiting(_)) => {
                    load.produces += 1;
                    load.produce_bytes += request.size;
                }
                (ApiKey::Fetch, State::Waiting(_)) => load.fetches += 1,
                _ => {}
            }
        }
        load
    }

    /// This load with `before` exchanged for `after`, which is a part of it that has changed.
    #[must_use]
    pub fn exchanged(self, before: Self, after: Self) -> Self {
        let figure = |total: usize, before: usize, after: usize| (total + after).saturating_sub(before);
        Self {
            requests: figure(self.requests, before.requests, after.requests),
            bytes: figure(self.bytes, before.bytes, after.bytes),
            produces: figure(self.produces, before.produces, after.produces),
            produce_bytes: figure(self.produce_bytes, before.produce_bytes, after.produce_bytes),
            fetches: figure(self.fetches, before.fetches, after.fetches),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, batch, fetch, produce};

    #[test]
    fn what_waits_is_counted_until_it_is_answered() {
        let mut world = World::new(1);
        world.topic("t", 1, &[]);
        let connection = world.connect();
        assert_eq!(world.connection(connection).load(), ConnectionLoad::default());
        world.hold = true;
        for correlation in 0..2 {
            world.send(connection, 9, correlation, &produce(-1, "t", &[(0, batch(&["a"]))]));
        }
        world.send(connection, 12, 2, &fetch("t", &[(0, 2)]));
        let load = world.connection(connection).load();
        assert_eq!((load.requests, load.produces, load.fetches), (3, 2, 0), "the fetch has not begun: {load:?}");
        assert!(load.produce_bytes > 0 && load.bytes > load.produce_bytes, "{load:?}");
        world.hold = false;
        world.run();
        let load = world.connection(connection).load();
        assert_eq!((load.requests, load.produces, load.fetches), (1, 0, 1), "{load:?}");
        assert_eq!(load.produce_bytes, 0);
    }

    #[test]
    fn a_total_follows_its_parts() {
        let load = |requests, produces| ConnectionLoad { requests, produces, ..ConnectionLoad::default() };
        let total = load(0, 0).exchanged(load(0, 0), load(5, 2)).exchanged(load(0, 0), load(1, 1));
        assert_eq!(total, load(6, 3));
        assert_eq!(total.exchanged(load(5, 2), load(4, 0)), load(5, 1));
    }
}
