//! The simulated directory tree: names as processes see them, names on the disk, and the changes in between.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use super::random::Random;

/// Number of a directory; the root is 0.
pub(super) type DirId = u64;
/// Number of a file's inode.
pub(super) type FileId = u64;
/// A name in a directory.
pub(super) type Key = (DirId, String);

/// The root of the tree.
pub(super) const ROOT: DirId = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(FileId),
    Dir(DirId),
}

/// An atomic change of names: each key gets its node, or none. `needs` is what the change finds beforehand.
#[derive(Debug, Clone)]
struct Change {
    needs: Vec<(Key, Option<Node>)>,
    sets: Vec<(Key, Option<Node>)>,
}

impl Change {
    fn touches(&self, dir: DirId) -> bool {
        self.sets.iter().any(|((parent, _), _)| *parent == dir)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Namespace {
    seen: BTreeMap<Key, Node>,
    disk: BTreeMap<Key, Node>,
    pending: Vec<Change>,
}

fn apply(entries: &mut BTreeMap<Key, Node>, change: &Change) {
    for (key, node) in &change.sets {
        match node {
            Some(node) => entries.insert(key.clone(), *node),
            None => entries.remove(key),
        };
    }
}

impl Namespace {
    pub(super) fn get(&self, key: &Key) -> Option<Node> {
        self.seen.get(key).copied()
    }

    /// The directory a path names; `None` when there is none or a part of it is a file.
    pub(super) fn dir(&self, path: &Path) -> Option<DirId> {
        path.components().try_fold(ROOT, |dir, part| {
            let Component::Normal(name) = part else { return None };
            match self.get(&(dir, name.to_string_lossy().into_owned()))? {
                Node::Dir(dir) => Some(dir),
                Node::File(_) => None,
            }
        })
    }

    /// The key of a path whose parent exists; `None` otherwise and for the root.
    pub(super) fn key(&self, path: &Path) -> Option<Key> {
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some((self.dir(path.parent()?)?, name))
    }

    /// Names and nodes of a directory, sorted by name.
    pub(super) fn children(&self, dir: DirId) -> Vec<(String, Node)> {
        let range = (dir, String::new())..(dir + 1, String::new());
        self.seen.range(range).map(|((_, name), node)| (name.clone(), *node)).collect()
    }

    fn change(&mut self, needs: Vec<(Key, Option<Node>)>, sets: Vec<(Key, Option<Node>)>) {
        let change = Change { needs, sets };
        apply(&mut self.seen, &change);
        self.pending.push(change);
    }

    pub(super) fn insert(&mut self, key: Key, node: Node) {
        self.change(vec![(key.clone(), None)], vec![(key, Some(node))]);
    }

    pub(super) fn remove(&mut self, key: Key) {
        let node = self.get(&key);
        self.change(vec![(key.clone(), node)], vec![(key, None)]);
    }

    pub(super) fn rename(&mut self, from: Key, to: Key) {
        let node = self.get(&from);
        self.change(vec![(from.clone(), node)], vec![(from, None), (to, node)]);
    }

    /// Makes the changes of `dir` durable, and the earlier ones they build upon.
    pub(super) fn sync(&mut self, dir: DirId) {
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        let mut chosen = vec![false; self.pending.len()];
        for (change, chosen) in self.pending.iter().zip(&mut chosen).rev() {
            if change.touches(dir) || change.sets.iter().any(|(key, _)| keys.contains(key)) {
                *chosen = true;
                keys.extend(change.sets.iter().map(|(key, _)| key.clone()));
            }
        }
        let mut chosen = chosen.into_iter();
        let disk = &mut self.disk;
        self.pending.retain(|change| {
            let keep = !chosen.next().unwrap_or(false);
            if !keep {
                apply(disk, change);
            }
            keep
        });
    }

    pub(super) fn sync_all(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            apply(&mut self.disk, &change);
        }
    }

    /// Loses power: `keep` percent of the changes arrived, each only if what it builds upon did.
    pub(super) fn lose_power(&mut self, keep: u8, random: &mut Random) {
        for change in std::mem::take(&mut self.pending) {
            let possible = change.needs.iter().all(|(key, node)| self.disk.get(key).copied() == *node);
            if possible && random.chance(keep) {
                apply(&mut self.disk, &change);
            }
        }
        self.seen = self.disk.clone();
        self.drop_unreachable();
    }

    /// Forgets what is in directories that did not survive.
    fn drop_unreachable(&mut self) {
        let mut reachable = BTreeSet::from([ROOT]);
        let mut waiting = vec![ROOT];
        while let Some(dir) = waiting.pop() {
            for (_, node) in self.children(dir) {
                if let Node::Dir(child) = node
                    && reachable.insert(child)
                {
                    waiting.push(child);
                }
            }
        }
        self.seen.retain(|(dir, _), _| reachable.contains(dir));
        self.disk = self.seen.clone();
    }

    /// Every file that has a name, on the disk, or could get one when the power is lost.
    pub(super) fn referenced(&self) -> BTreeSet<FileId> {
        let entries = self.seen.values().chain(self.disk.values());
        let pending = self.pending.iter().flat_map(|change| change.sets.iter().filter_map(|(_, node)| node.as_ref()));
        entries.chain(pending).filter_map(|node| if let Node::File(id) = node { Some(*id) } else { None }).collect()
    }

    /// How often each file is named as processes see it: 0 or 1, there are no hard links.
    pub(super) fn named(&self) -> BTreeSet<FileId> {
        self.seen.values().filter_map(|node| if let Node::File(id) = node { Some(*id) } else { None }).collect()
    }
}
