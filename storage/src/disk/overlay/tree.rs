//! The tree of an overlay: names that differ from those below, and the files behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::content::Content;
use super::file::OverlayFile;
use crate::disk::{DirEntry, Disk, DiskError, FileRef, Space};

/// A disk whose changes stay in memory. The disk below must not be changed by others meanwhile.
#[derive(Debug)]
pub struct OverlayDisk {
    base: Arc<dyn Disk>,
    names: Mutex<Names>,
}

/// The names that differ from those below.
#[derive(Debug, Default)]
struct Names {
    /// Files that were made, opened or renamed here; `None` for a file that was removed.
    files: BTreeMap<PathBuf, Option<Named>>,
    /// Directories that were made.
    made: BTreeSet<PathBuf>,
    /// Directories of the disk below that are gone, with all they hold there.
    removed: BTreeSet<PathBuf>,
}

/// A file that has a name.
#[derive(Debug, Clone)]
struct Named {
    /// The file below.
    origin: Option<PathBuf>,
    content: Arc<Mutex<Content>>,
}

impl Names {
    /// Whether the disk below still counts at `path`.
    fn shows_base(&self, path: &Path) -> bool {
        !path.ancestors().any(|dir| self.removed.contains(dir))
    }
}

impl OverlayDisk {
    /// A disk that shows `base`.
    #[must_use]
    pub fn new(base: Arc<dyn Disk>) -> Self {
        Self { base, names: Mutex::default() }
    }

    fn has_dir(&self, names: &Names, dir: &Path) -> bool {
        dir.as_os_str().is_empty() || names.made.contains(dir) || names.shows_base(dir) && self.base.list(dir).is_ok()
    }

    fn check_parent(&self, names: &Names, path: &Path) -> Result<(), DiskError> {
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        if self.has_dir(names, parent) { Ok(()) } else { Err(not_found(path)) }
    }

    /// The file of this name, and the open file below. That one never grows, so it is mapped at its length.
    fn find(&self, names: &mut Names, path: &Path) -> Result<(Named, Option<FileRef>), DiskError> {
        match names.files.get(path) {
            Some(None) => return Err(not_found(path)),
            Some(Some(named)) => {
                let base = named.origin.as_deref().map(|origin| self.base.open(origin, 0)).transpose()?;
                return Ok((named.clone(), base));
            }
            None if names.shows_base(path) => {}
            None => return Err(not_found(path)),
        }
        let base = self.base.open(path, 0)?;
        let content = Arc::new(Mutex::new(Content::of_base(base.len())));
        let named = Named { origin: Some(path.to_owned()), content };
        names.files.insert(path.to_owned(), Some(named.clone()));
        Ok((named, Some(base)))
    }
}

fn not_found(path: &Path) -> DiskError {
    DiskError::NotFound { path: path.to_owned() }
}

fn is_child(path: &Path, dir: &Path) -> Option<String> {
    (path.parent() == Some(dir)).then(|| path.file_name().map(|name| name.to_string_lossy().into_owned()))?
}

impl Disk for OverlayDisk {
    fn create(&self, path: &Path, len: u64, _map_len: u64) -> Result<FileRef, DiskError> {
        let mut names = self.names.lock();
        self.check_parent(&names, path)?;
        if self.find(&mut names, path).is_ok() {
            return Err(DiskError::Exists { path: path.to_owned() });
        }
        let content = Arc::new(Mutex::new(Content::default()));
        content.lock().grow(len);
        names.files.insert(path.to_owned(), Some(Named { origin: None, content: content.clone() }));
        Ok(Arc::new(OverlayFile::new(path, None, content)))
    }

    fn open(&self, path: &Path, _map_len: u64) -> Result<FileRef, DiskError> {
        let (named, base) = self.find(&mut self.names.lock(), path)?;
        Ok(Arc::new(OverlayFile::new(path, base, named.content)))
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        let names = self.names.lock();
        if !self.has_dir(&names, dir) {
            return Err(not_found(dir));
        }
        let below = if names.shows_base(dir) { self.base.list(dir) } else { Ok(Vec::new()) };
        let below = match below {
            Err(error) if error.is_not_found() => Vec::new(),
            below => below?,
        };
        let mut entries: BTreeMap<String, DirEntry> = below
            .into_iter()
            .filter(|entry| !entry.is_dir || !names.removed.contains(&dir.join(&entry.name)))
            .map(|entry| (entry.name.clone(), entry))
            .collect();
        for (name, named) in names.files.iter().filter_map(|(path, named)| Some((is_child(path, dir)?, named))) {
            match named {
                None => drop(entries.remove(&name)),
                Some(named) => {
                    let entry = DirEntry { name: name.clone(), is_dir: false, len: named.content.lock().len() };
                    entries.insert(name, entry);
                }
            }
        }
        for name in names.made.iter().filter_map(|path| is_child(path, dir)) {
            entries.insert(name.clone(), DirEntry { name, is_dir: true, len: 0 });
        }
        Ok(entries.into_values().collect())
    }

    fn create_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let mut names = self.names.lock();
        let mut path = PathBuf::new();
        for part in dir.components().filter(|part| matches!(part, Component::Normal(_))) {
            path.push(part);
            if !self.has_dir(&names, &path) {
                names.made.insert(path.clone());
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let mut names = self.names.lock();
        self.check_parent(&names, to)?;
        let (named, _) = self.find(&mut names, from)?;
        names.files.insert(from.to_owned(), None);
        names.files.insert(to.to_owned(), Some(named));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        let mut names = self.names.lock();
        self.find(&mut names, path)?;
        names.files.insert(path.to_owned(), None);
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        let mut names = self.names.lock();
        if dir.as_os_str().is_empty() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "the root itself is not removed");
            return Err(DiskError::io(dir, "remove", error));
        }
        if !self.has_dir(&names, dir) {
            return Err(not_found(dir));
        }
        names.files.retain(|path, _| !path.starts_with(dir));
        names.made.retain(|path| !path.starts_with(dir));
        names.removed.insert(dir.to_owned());
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        if self.has_dir(&self.names.lock(), dir) { Ok(()) } else { Err(not_found(dir)) }
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn sync_all_reports(&self) -> bool {
        self.base.sync_all_reports()
    }

    fn space(&self) -> Result<Space, DiskError> {
        self.base.space()
    }
}
