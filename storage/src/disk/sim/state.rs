//! All of a simulated disk behind its lock: inodes, names, faults and chance.

use std::collections::BTreeMap;
use std::path::Path;

use super::CrashKind;
use super::fault::{FaultPlan, Operation, failure};
use super::inode::{Inode, PAGE};
use super::namespace::{FileId, Key, Namespace, Node};
use super::random::Random;
use crate::disk::{DirEntry, DiskError, Space};

/// What `space` reports as the size of a disk without a limit, in bytes.
const UNLIMITED: u64 = 1 << 50;

#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) plan: FaultPlan,
    pub(super) random: Random,
    pub(super) inodes: BTreeMap<FileId, Inode>,
    names: Namespace,
    /// The next number of a file or directory.
    next_id: u64,
    /// Bytes allocated by files that are named or open.
    used: u64,
    /// Files without a name and without a handle, whose contents a power loss may still bring back.
    unnamed: bool,
    /// Calls by kind.
    pub(super) calls: BTreeMap<Operation, u64>,
    /// Changing calls.
    changes: u64,
    pub(super) busy_micros: u64,
}

impl State {
    pub(super) fn new(seed: u64, plan: FaultPlan) -> Self {
        Self {
            plan,
            random: Random::new(seed),
            inodes: BTreeMap::new(),
            names: Namespace::default(),
            next_id: 1,
            used: 0,
            unnamed: false,
            calls: BTreeMap::new(),
            changes: 0,
            busy_micros: 0,
        }
    }

    /// Counts a call and decides its fate: `Err` fails it without effect, `Ok(Some)` after it took effect.
    pub(super) fn admit(&mut self, operation: Operation, path: &Path) -> Result<Option<DiskError>, DiskError> {
        *self.calls.entry(operation).or_default() += 1;
        if matches!(operation, Operation::Flush | Operation::SyncAll | Operation::SyncDir) {
            self.busy_micros += self.plan.flush_micros;
        }
        if let Some(limit) = self.plan.power_off_after {
            let first = self.changes == limit && operation.changes_disk();
            if self.changes > limit || first {
                self.changes = limit + 1;
                let error = failure(operation, path, "the power is off");
                return if first && self.random.chance(50) { Ok(Some(error)) } else { Err(error) };
            }
        }
        self.changes += u64::from(operation.changes_disk());
        for fault in &mut self.plan.faults {
            if let Some(error) = fault.count(operation, path) {
                self.plan.faults.retain(|fault| !fault.is_spent());
                return Err(error);
            }
        }
        let flushes = matches!(operation, Operation::Flush | Operation::SyncAll);
        if flushes && self.random.chance(self.plan.flush_failure_percent) {
            return Err(failure(operation, path, "injected fault"));
        }
        Ok(None)
    }

    /// Counts changing calls from 0 again.
    pub(super) fn restart_counting(&mut self) {
        self.changes = 0;
    }

    pub(super) fn space(&self) -> Space {
        let total = self.plan.capacity.unwrap_or(UNLIMITED);
        Space { total, free: total.saturating_sub(self.used) }
    }

    /// Reserves `bytes` more.
    fn take_space(&mut self, path: &Path, bytes: u64) -> Result<(), DiskError> {
        if bytes > self.space().free {
            return Err(DiskError::Full { path: path.to_owned() });
        }
        self.used += bytes;
        Ok(())
    }

    fn key(&self, path: &Path) -> Result<Key, DiskError> {
        self.names.key(path).ok_or_else(|| DiskError::NotFound { path: path.to_owned() })
    }

    fn node(&self, path: &Path) -> Result<(Key, Node), DiskError> {
        let key = self.key(path)?;
        let node = self.names.get(&key).ok_or_else(|| DiskError::NotFound { path: path.to_owned() })?;
        Ok((key, node))
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub(super) fn create(&mut self, path: &Path, len: u64) -> Result<FileId, DiskError> {
        let key = self.key(path)?;
        if self.names.get(&key).is_some() {
            return Err(DiskError::Exists { path: path.to_owned() });
        }
        self.take_space(path, len.next_multiple_of(PAGE))?;
        let id = self.new_id();
        self.inodes.insert(id, Inode::new(len));
        self.names.insert(key, Node::File(id));
        Ok(id)
    }

    pub(super) fn open(&mut self, path: &Path) -> Result<FileId, DiskError> {
        let (_, Node::File(id)) = self.node(path)? else {
            return Err(failure(Operation::Open, path, "is a directory"));
        };
        self.inode(id).open += 1;
        Ok(id)
    }

    /// The inode of an open file.
    pub(super) fn inode(&mut self, id: FileId) -> &mut Inode {
        self.inodes.entry(id).or_default()
    }

    pub(super) fn close(&mut self, id: FileId) {
        self.inode(id).open -= 1;
        self.release(id);
    }

    /// Frees the space of a file nobody can reach any more.
    fn release(&mut self, id: FileId) {
        let inode = self.inode(id);
        if inode.links == 0 && inode.open == 0 {
            self.used -= inode.allocated();
            self.unnamed = true;
        }
    }

    fn unlink(&mut self, id: FileId) {
        self.inode(id).links -= 1;
        self.release(id);
    }

    pub(super) fn resize(&mut self, path: &Path, id: FileId, len: u64) -> Result<(), DiskError> {
        let old = self.inode(id).allocated();
        match len.next_multiple_of(PAGE).checked_sub(old) {
            Some(more) => self.take_space(path, more)?,
            None => self.used -= old - len.next_multiple_of(PAGE),
        }
        self.inode(id).set_len(len);
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        let id = self.names.dir(dir).ok_or_else(|| DiskError::NotFound { path: dir.to_owned() })?;
        let entry = |(name, node)| match node {
            Node::Dir(_) => DirEntry { name, is_dir: true, len: 0 },
            Node::File(id) => DirEntry { name, is_dir: false, len: self.inodes.get(&id).map_or(0, Inode::len) },
        };
        Ok(self.names.children(id).into_iter().map(entry).collect())
    }

    pub(super) fn create_dir(&mut self, dir: &Path) -> Result<(), DiskError> {
        let mut path = std::path::PathBuf::new();
        for part in dir.components() {
            path.push(part);
            let key = self.key(&path)?;
            match self.names.get(&key) {
                Some(Node::Dir(_)) => {}
                Some(Node::File(_)) => return Err(DiskError::Exists { path }),
                None => {
                    let id = self.new_id();
                    self.names.insert(key, Node::Dir(id));
                }
            }
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let (source, node) = self.node(from)?;
        let target = self.key(to)?;
        let replaced = self.names.get(&target);
        if replaced == Some(node) {
            return Ok(());
        }
        match (node, replaced) {
            (Node::File(_), None | Some(Node::File(_))) | (Node::Dir(_), None) => {}
            _ => return Err(DiskError::Exists { path: to.to_owned() }),
        }
        self.names.rename(source, target);
        if let Some(Node::File(id)) = replaced {
            self.unlink(id);
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> Result<(), DiskError> {
        let (key, Node::File(id)) = self.node(path)? else {
            return Err(failure(Operation::Remove, path, "is a directory"));
        };
        self.names.remove(key);
        self.unlink(id);
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, dir: &Path) -> Result<(), DiskError> {
        let (key, Node::Dir(id)) = self.node(dir)? else {
            return Err(failure(Operation::Remove, dir, "is not a directory"));
        };
        for (name, node) in self.names.children(id) {
            match node {
                Node::File(_) => self.remove_file(&dir.join(name))?,
                Node::Dir(_) => self.remove_dir_all(&dir.join(name))?,
            }
        }
        self.names.remove(key);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> Result<(), DiskError> {
        let id = self.names.dir(dir).ok_or_else(|| DiskError::NotFound { path: dir.to_owned() })?;
        self.names.sync(id);
        self.collect();
        Ok(())
    }

    pub(super) fn sync_all(&mut self) {
        for inode in self.inodes.values_mut().filter(|inode| inode.has_dirty()) {
            inode.flush();
        }
        self.names.sync_all();
        self.collect();
    }

    pub(super) fn fail_sync_all(&mut self) {
        for inode in self.inodes.values_mut().filter(|inode| inode.has_dirty()) {
            inode.fail_flush(&mut self.random);
            inode.owe_error();
        }
    }

    /// Drops the contents of files that no power loss can bring back.
    fn collect(&mut self) {
        if !std::mem::take(&mut self.unnamed) {
            return;
        }
        let referenced = self.names.referenced();
        self.inodes.retain(|id, inode| inode.open > 0 || referenced.contains(id));
        self.unnamed = self.inodes.values().any(|inode| inode.open == 0 && inode.links == 0);
    }

    /// The disk as the next process finds it.
    pub(super) fn crash(&mut self, kind: CrashKind) -> Self {
        let seed = self.random.next();
        let mut image = Self {
            random: Random::new(seed),
            plan: FaultPlan { faults: Vec::new(), ..self.plan.clone() },
            ..self.clone()
        };
        image.plan.power_off_after = None;
        image.changes = 0;
        image.calls.clear();
        if kind == CrashKind::Power {
            // Whether little or much arrived is one choice for the whole disk, so that both ends are common.
            let keep = [0, 10, 50, 90, 100][image.random.below(5)];
            for inode in image.inodes.values_mut() {
                inode.lose_power(keep, &mut image.random);
            }
            image.names.lose_power(keep, &mut image.random);
        }
        image.reopen();
        image
    }

    /// Nothing is open any more; counts links and space anew.
    fn reopen(&mut self) {
        let named = self.names.named();
        let referenced = self.names.referenced();
        self.inodes.retain(|id, _| referenced.contains(id));
        self.used = 0;
        for (id, inode) in &mut self.inodes {
            inode.open = 0;
            inode.links = u32::from(named.contains(id));
            self.used += if inode.links > 0 { inode.allocated() } else { 0 };
        }
        self.unnamed = self.inodes.values().any(|inode| inode.links == 0);
    }

    /// The file at `path`, for flipping bits.
    pub(super) fn find(&mut self, path: &Path) -> Result<&mut Inode, DiskError> {
        match self.node(path)?.1 {
            Node::File(id) => Ok(self.inode(id)),
            Node::Dir(_) => Err(failure(Operation::Open, path, "is a directory")),
        }
    }
}
