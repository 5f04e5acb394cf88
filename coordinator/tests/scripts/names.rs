//! Short names for member ids: `app-<uuid>` is the `n`th id seen, `app#n`.

use std::sync::Arc;

/// The ids seen, with their short names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ids: Vec<(Arc<str>, String)>,
}

const UUID_LEN: usize = 36;

impl Names {
    /// The short name of an id; one that is none of the shard's is its own name.
    pub(crate) fn short(&mut self, id: &Arc<str>) -> String {
        if let Some((_, name)) = self.ids.iter().find(|(known, _)| known == id) {
            return name.clone();
        }
        let Some(prefix) = id.len().checked_sub(UUID_LEN + 1).and_then(|at| id.get(..at)) else {
            return id.to_string();
        };
        let name = format!("{prefix}#{}", self.ids.len() + 1);
        self.ids.push((id.clone(), name.clone()));
        name
    }

    /// The id with this short name.
    pub(crate) fn long(&self, name: &str) -> Arc<str> {
        self.ids.iter().find(|(_, known)| known == name).map_or_else(|| name.into(), |(id, _)| id.clone())
    }
}
