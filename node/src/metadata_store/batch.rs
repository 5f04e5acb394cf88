//! What one write of the journal makes durable.

use bytes::Bytes;
use millrace_metadata::{CommandResult, Entry, EntryError, Image, apply, entry_record};
use millrace_types::TopicPartition;

use crate::call::ReplyTo;

/// An answer, and the partitions of this broker whose leaders it waits for.
pub(super) type Held = (ReplyTo, CommandResult, Vec<TopicPartition>);

/// Bytes of the largest entry; the journal takes records that are somewhat longer, and a longer one would end the store.
pub(super) const MAX_ENTRY_BYTES: usize = 7 * 1024 * 1024;

/// Why an entry was not added; the batch is as it was after [`AddError::TooLarge`] alone.
#[derive(Debug)]
pub(super) enum AddError {
    /// It has more than [`MAX_ENTRY_BYTES`].
    TooLarge(usize),
    /// It does not apply, or cannot be encoded.
    Broken(String),
}

/// What one `Persist` makes durable.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) token: u64,
    pub(super) after: Image,
    pub(super) entries: Vec<Entry>,
    pub(super) answers: Vec<Held>,
    /// Entries and bytes of its records.
    pub(super) size: (usize, usize),
    pub(super) snapshot: bool,
    /// Whether it is this broker's registration.
    pub(super) start: bool,
}

impl Batch {
    /// A batch of nothing on the state `image`.
    pub(super) fn new(token: u64, image: &Image) -> Self {
        Self {
            token,
            after: image.clone(),
            entries: Vec::new(),
            answers: Vec::new(),
            size: (0, 0),
            snapshot: false,
            start: false,
        }
    }

    /// Applies an entry to the batch's state and adds its record.
    pub(super) fn add(&mut self, entry: Entry, records: &mut Vec<Bytes>) -> Result<(), AddError> {
        let unwritable = |error: EntryError| AddError::Broken(error.to_string());
        let bytes = entry.encode().map_err(unwritable)?.len();
        if bytes > MAX_ENTRY_BYTES {
            return Err(AddError::TooLarge(bytes));
        }
        apply(&mut self.after, &entry).map_err(|error| AddError::Broken(error.to_string()))?;
        let record = entry_record(&entry, &self.after).map_err(unwritable)?;
        self.size.0 += 1;
        self.size.1 += record.len();
        records.push(Bytes::from(record));
        self.entries.push(entry);
        Ok(())
    }
}
