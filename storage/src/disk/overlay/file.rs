//! An open file of the overlay.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::content::Content;
use crate::disk::{DiskError, File, FileRef};

#[derive(Debug)]
pub(super) struct OverlayFile {
    path: PathBuf,
    base: Option<FileRef>,
    content: Arc<Mutex<Content>>,
}

impl OverlayFile {
    pub(super) fn new(path: &Path, base: Option<FileRef>, content: Arc<Mutex<Content>>) -> Self {
        Self { path: path.to_owned(), base, content }
    }

    /// The `len` bytes from `pos`, inside the length of `content`.
    fn contents(&self, content: &Content, pos: u64, len: u64) -> Result<Bytes, DiskError> {
        let file_len = content.len();
        let end = pos.checked_add(len).filter(|end| *end <= file_len);
        let (Some(end), Ok(size)) = (end, usize::try_from(len)) else {
            return Err(DiskError::OutOfRange { path: self.path.clone(), pos, len, file_len });
        };
        if let Some(base) = self.base.as_ref().filter(|base| end <= base.len() && content.is_base(&(pos..end))) {
            return base.read(pos, size);
        }
        let mut bytes = vec![0; size];
        if let Some(base) = self.base.as_ref().filter(|base| pos < base.len()) {
            // Behind the end of the file below everything is patched.
            let below = base.read(pos, end.min(base.len()).saturating_sub(pos) as usize)?;
            bytes[..below.len()].copy_from_slice(&below);
        }
        content.lay_over(&(pos..end), &mut bytes);
        Ok(bytes.into())
    }
}

impl File for OverlayFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> u64 {
        self.content.lock().len()
    }

    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        self.content.lock().grow(len);
        Ok(())
    }

    fn write_at(&self, mut pos: u64, parts: &[&[u8]]) -> Result<(), DiskError> {
        let mut content = self.content.lock();
        let total = parts.iter().map(|part| part.len() as u64).sum();
        if pos.checked_add(total).is_none_or(|end| end > content.len()) {
            let file_len = content.len();
            return Err(DiskError::OutOfRange { path: self.path.clone(), pos, len: total, file_len });
        }
        for part in parts {
            let len = part.len() as u64;
            if self.contents(&content, pos, len)? != *part {
                content.put(pos..pos + len, Some(Bytes::copy_from_slice(part)));
            }
            pos += len;
        }
        Ok(())
    }

    fn read(&self, pos: u64, len: usize) -> Result<Bytes, DiskError> {
        self.contents(&self.content.lock(), pos, len as u64)
    }

    fn zero(&self, range: Range<u64>) -> Result<(), DiskError> {
        let mut content = self.content.lock();
        if range.end > content.len() || range.start > range.end {
            let (pos, len) = (range.start, range.end.saturating_sub(range.start));
            return Err(DiskError::OutOfRange { path: self.path.clone(), pos, len, file_len: content.len() });
        }
        content.put(range, None);
        Ok(())
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.content.lock().cut(len);
        Ok(())
    }

    fn flush(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn warm(&self, range: Range<u64>) -> Result<(), DiskError> {
        let content = self.content.lock();
        match &self.base {
            Some(base) if content.is_base(&range) && range.end <= base.len() => base.warm(range),
            _ if range.end > content.len() => {
                let (pos, len) = (range.start, range.end.saturating_sub(range.start));
                Err(DiskError::OutOfRange { path: self.path.clone(), pos, len, file_len: content.len() })
            }
            _ => Ok(()),
        }
    }

    fn is_resident(&self, range: Range<u64>) -> bool {
        let content = self.content.lock();
        self.base.as_ref().is_none_or(|base| !content.is_base(&range) || base.is_resident(range))
    }
}
