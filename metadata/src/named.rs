//! Topics in the order of their identities and of their names, and names in the order in which colliding ones are
//! equal.
//!
//! The wrappers keep one reference per topic and no copy of its name: an image is cloned for every change.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use millrace_types::TopicId;

use crate::shards;
use crate::topic::Topic;

/// A topic that is equal to another one if their identities are equal.
#[derive(Debug, Clone)]
pub(crate) struct Identified(pub(crate) Arc<Topic>);

impl Identified {
    /// The hash of an identity.
    pub(crate) fn hash(id: TopicId) -> u64 {
        shards::hash(id.0.into_bytes().into_iter())
    }
}

impl Borrow<TopicId> for Identified {
    fn borrow(&self) -> &TopicId {
        &self.0.id
    }
}

impl Ord for Identified {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl PartialOrd for Identified {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Identified {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Identified {}

/// A topic that is equal to another one if their names are equal.
#[derive(Debug, Clone)]
pub(crate) struct Named(pub(crate) Arc<Topic>);

impl Named {
    /// The hash of a name.
    pub(crate) fn hash(name: &str) -> u64 {
        shards::hash(name.bytes())
    }
}

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl Ord for Named {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name.cmp(&other.0.name)
    }
}

impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Named {}

/// A name that is equal to another one if the two collide: metric names turn `.` into `_`, so `a.b` and `a_b` are not
/// told apart there.
#[derive(Debug, Clone)]
pub(crate) struct Colliding(pub(crate) Arc<str>);

impl Colliding {
    /// Whether `name` can collide with another one.
    pub(crate) fn is_possible(name: &str) -> bool {
        name.contains(['.', '_'])
    }

    /// The hash of a name, equal for names that collide.
    pub(crate) fn hash(&self) -> u64 {
        shards::hash(self.unified())
    }

    fn unified(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|byte| if byte == b'.' { b'_' } else { byte })
    }
}

impl Ord for Colliding {
    fn cmp(&self, other: &Self) -> Ordering {
        self.unified().cmp(other.unified())
    }
}

impl PartialOrd for Colliding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Colliding {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Colliding {}
