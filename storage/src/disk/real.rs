//! The real disk: files of one data directory, written by `pwritev` and read through shared mappings.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs as sys;

use super::real_file::RealFile;
use super::{DirEntry, Disk, DiskError, FileRef, Space, mmap};

/// A directory of the operating system's filesystem as a [`Disk`].
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    /// Open for as long as the disk: `syncfs` reports write-back errors since this descriptor's last call.
    root_dir: fs::File,
    /// Whether files are opened for reading alone.
    read_only: bool,
    /// Whether `syncfs` reports write-back errors.
    sync_all_reports: bool,
}

impl RealDisk {
    /// The tree below the existing directory `root`. Also installs, once per process, the handler that names the
    /// file when a mapped page cannot be read and ends the process.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], or [`DiskError::Io`] when `root` cannot be opened or the handler not installed.
    pub fn open(root: &Path) -> Result<Self, DiskError> {
        let root_dir = fs::File::open(root).map_err(|error| DiskError::io(root, "open", error))?;
        mmap::install_fault_handler().map_err(|error| DiskError::io(root, "sigaction", error))?;
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let sync_all_reports = syncfs_reports(&release);
        Ok(Self { root: root.to_owned(), root_dir, read_only: false, sync_all_reports })
    }

    /// As [`RealDisk::open`], opening files for reading alone, so that no right to write is needed and no write succeeds.
    /// Names can still be changed: put an [`OverlayDisk`](super::OverlayDisk) over it.
    ///
    /// # Errors
    /// As [`RealDisk::open`].
    pub fn open_read_only(root: &Path) -> Result<Self, DiskError> {
        Ok(Self { read_only: true, ..Self::open(root)? })
    }

    /// The operating system's path of `path`, which must stay below the root.
    fn full(&self, path: &Path) -> Result<PathBuf, DiskError> {
        if path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Ok(self.root.join(path));
        }
        let error = io::Error::new(io::ErrorKind::InvalidInput, "the path leaves the data directory");
        Err(DiskError::io(path, "resolve", error))
    }

    fn open_dir(&self, dir: &Path) -> Result<fs::File, DiskError> {
        fs::File::open(self.full(dir)?).map_err(|error| DiskError::io(dir, "open", error))
    }
}

/// Whether `syncfs` of this release of Linux reports write-back errors: from 5.8 on. Before, it succeeds whatever became
/// of the pages. A release that cannot be read is taken for an old one.
fn syncfs_reports(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 8)
}

/// Repeats a system call that a signal interrupted.
pub(super) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map_err(io::Error::from),
        }
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path, len: u64, map_len: u64) -> Result<FileRef, DiskError> {
        let full = self.full(path)?;
        let handle = fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&full)
            .map_err(|error| DiskError::io(path, "create", error))?;
        let file = RealFile::new(path, handle, 0, map_len);
        if let Err(error) = super::File::allocate(&file, len) {
            // A name without its bytes would be taken for a damaged file at the next start.
            let _ = fs::remove_file(&full);
            return Err(error);
        }
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path, map_len: u64) -> Result<FileRef, DiskError> {
        let handle = fs::File::options()
            .read(true)
            .write(!self.read_only)
            .open(self.full(path)?)
            .map_err(|error| DiskError::io(path, "open", error))?;
        let len = handle.metadata().map_err(|error| DiskError::io(path, "stat", error))?.len();
        Ok(Arc::new(RealFile::new(path, handle, len, map_len)))
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        let failed = |error| DiskError::io(dir, "list", error);
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.full(dir)?).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed by another thread between the listing and the look at it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            let is_dir = metadata.is_dir();
            entries.push(DirEntry { name, is_dir, len: if is_dir { 0 } else { metadata.len() } });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn create_dir(&self, dir: &Path) -> Result<(), DiskError> {
        fs::create_dir_all(self.full(dir)?).map_err(|error| DiskError::io(dir, "mkdir", error))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        fs::rename(self.full(from)?, self.full(to)?).map_err(|error| DiskError::io(from, "rename", error))
    }

    fn remove_file(&self, path: &Path) -> Result<(), DiskError> {
        fs::remove_file(self.full(path)?).map_err(|error| DiskError::io(path, "remove", error))
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        if dir.as_os_str().is_empty() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "the root itself is not removed");
            return Err(DiskError::io(dir, "remove", error));
        }
        fs::remove_dir_all(self.full(dir)?).map_err(|error| DiskError::io(dir, "remove", error))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let handle = self.open_dir(dir)?;
        retry(|| sys::fsync(&handle)).map_err(|error| DiskError::io(dir, "fsync", error))
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        retry(|| sys::syncfs(self.root_dir.as_fd())).map_err(|error| DiskError::io(Path::new(""), "syncfs", error))
    }

    fn sync_all_reports(&self) -> bool {
        self.sync_all_reports
    }

    fn space(&self) -> Result<Space, DiskError> {
        let stat =
            retry(|| sys::fstatvfs(&self.root_dir)).map_err(|error| DiskError::io(Path::new(""), "statvfs", error))?;
        Ok(Space {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_that_reports_write_back_errors_is_trusted_with_all_files() {
        for release in ["5.8.0-1-amd64", "5.10.0", "6.1.0-18-amd64\n", "6.18.5", "10.0"] {
            assert!(syncfs_reports(release), "{release}");
        }
        for release in ["5.7.19", "5.4.0-150-generic", "4.18.0-553.el8", "3.10.0", "", "5", "unknown"] {
            assert!(!syncfs_reports(release), "{release}");
        }
    }
}
