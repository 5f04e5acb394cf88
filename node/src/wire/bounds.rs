//! Checks the lengths of a request against the bytes that are there, before the codec reads it.
//!
//! The codec trusts an array's length: it allocates room for all elements first, so that a frame of twenty bytes could
//! ask for hundreds of gigabytes. The walk below reads nothing but lengths, allocates nothing, and touches each field
//! once. It also bounds the number of elements of one request, since an element costs more in memory than on the wire.

use super::WireError;
use super::layout::{self, Layout, Struct, Type};

/// The most array elements and tagged fields of one request. A request about 100,000 partitions stays below.
pub const MAX_ELEMENTS: usize = 1 << 20;

/// The most tagged fields of one struct; Kafka's own messages have below ten.
const MAX_TAGGED_FIELDS: u32 = 64;

/// The byte before an optional struct that is there; the codec takes any other for absence.
const PRESENT: u8 = 1;

/// Depth of the deepest request, with room; layouts are not recursive, so this only guards the table itself.
const MAX_DEPTH: usize = 16;

/// Checks the body of a request of `api` at `version`. An API without a layout passes: it has no handler either.
///
/// # Errors
/// [`WireError::Truncated`], [`WireError::BadLength`] or [`WireError::TooManyElements`].
pub(super) fn check(api: i16, version: i16, body: &[u8]) -> Result<(), WireError> {
    let Some(layout) = layout::of(api) else {
        return Ok(());
    };
    let mut walk = Walk { rest: body, layout, version, elements: 0 };
    match walk.read_struct(&layout.structs[layout.root], 0) {
        Ok(()) => Ok(()),
        Err(Fault::Truncated(field)) => Err(WireError::Truncated { api, version, field }),
        Err(Fault::BadLength(field, length)) => Err(WireError::BadLength { api, version, field, length }),
        Err(Fault::TooMany) => Err(WireError::TooManyElements { api, version }),
    }
}

/// Skips the tagged fields of a request header; `None` when they are malformed.
pub(super) fn skip_tagged_fields(frame: &mut bytes::Bytes) -> Option<()> {
    let mut rest = &frame[..];
    let count = varint(&mut rest)?;
    if count > MAX_TAGGED_FIELDS {
        return None;
    }
    for _ in 0..count {
        varint(&mut rest)?;
        let size = usize::try_from(varint(&mut rest)?).ok()?;
        rest = rest.get(size..)?;
    }
    let used = frame.len() - rest.len();
    drop(frame.split_to(used));
    Some(())
}

/// An unsigned varint of at most five bytes; `None` when it is longer, overflows or is cut.
fn varint(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in 0..5 {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        let bits = u32::from(byte & 0x7f);
        if shift == 4 && bits > 0x0f {
            return None;
        }
        value |= bits << (shift * 7);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

enum Fault {
    Truncated(String),
    BadLength(String, i64),
    TooMany,
}

struct Walk<'a> {
    rest: &'a [u8],
    layout: &'static Layout,
    version: i16,
    elements: usize,
}

impl Walk<'_> {
    fn read_struct(&mut self, shape: &'static Struct, depth: usize) -> Result<(), Fault> {
        debug_assert!(depth < MAX_DEPTH, "layouts are not recursive");
        let flexible = self.version >= shape.flexible_from;
        let name = |field: &str| format!("{}.{field}", shape.name);
        for field in &shape.fields {
            if field.versions.contain(self.version) {
                self.read_value(&field.kind, flexible, depth, &|| name(&field.name))?;
            }
        }
        if flexible { self.read_tagged(shape, depth) } else { Ok(()) }
    }

    fn read_tagged(&mut self, shape: &'static Struct, depth: usize) -> Result<(), Fault> {
        let name = || format!("{}'s tagged fields", shape.name);
        let count = varint(&mut self.rest).ok_or_else(|| Fault::Truncated(name()))?;
        if count > MAX_TAGGED_FIELDS {
            return Err(Fault::BadLength(name(), i64::from(count)));
        }
        self.count(count as usize)?;
        for _ in 0..count {
            let tag = varint(&mut self.rest).ok_or_else(|| Fault::Truncated(name()))?;
            let size = varint(&mut self.rest).ok_or_else(|| Fault::Truncated(name()))?;
            match shape.tagged.get(&tag) {
                // The codec reads a known tag by its type and not by its size.
                Some(field) if field.versions.contain(self.version) => {
                    self.read_value(&field.kind, true, depth, &name)?;
                }
                _ => self.skip(size as usize, &name)?,
            }
        }
        Ok(())
    }

    fn read_value(
        &mut self,
        kind: &'static Type,
        flexible: bool,
        depth: usize,
        name: &dyn Fn() -> String,
    ) -> Result<(), Fault> {
        match kind {
            Type::Fixed(size) => self.skip(*size, name),
            Type::String => {
                let length = if flexible { self.compact_length(name)? } else { self.short_length(name)? };
                self.skip(length, name)
            }
            Type::Bytes => {
                let length = if flexible { self.compact_length(name)? } else { self.long_length(name)? };
                self.skip(length, name)
            }
            Type::Array(element) => {
                let length = if flexible { self.compact_length(name)? } else { self.long_length(name)? };
                self.count(length)?;
                // Every element but an empty struct takes a byte, so a longer array cannot be there.
                if length > self.rest.len() {
                    return Err(Fault::BadLength(name(), i64::try_from(length).unwrap_or(i64::MAX)));
                }
                for _ in 0..length {
                    self.read_value(element, flexible, depth, name)?;
                }
                Ok(())
            }
            Type::Struct(at) => {
                let layout = self.layout;
                self.read_struct(&layout.structs[*at], depth + 1)
            }
            Type::Optional(at) => {
                let present = *self.rest.first().ok_or_else(|| Fault::Truncated(name()))?;
                self.skip(1, name)?;
                let layout = self.layout;
                if present == PRESENT { self.read_struct(&layout.structs[*at], depth + 1) } else { Ok(()) }
            }
        }
    }

    fn count(&mut self, elements: usize) -> Result<(), Fault> {
        self.elements = self.elements.saturating_add(elements);
        if self.elements > MAX_ELEMENTS { Err(Fault::TooMany) } else { Ok(()) }
    }

    fn skip(&mut self, size: usize, name: &dyn Fn() -> String) -> Result<(), Fault> {
        self.rest = self.rest.get(size..).ok_or_else(|| Fault::Truncated(name()))?;
        Ok(())
    }

    /// A compact length is one more than the number; 0 is null.
    fn compact_length(&mut self, name: &dyn Fn() -> String) -> Result<usize, Fault> {
        let length = varint(&mut self.rest).ok_or_else(|| Fault::Truncated(name()))?;
        Ok(length.saturating_sub(1) as usize)
    }

    fn short_length(&mut self, name: &dyn Fn() -> String) -> Result<usize, Fault> {
        let (bytes, rest) = self.rest.split_first_chunk::<2>().ok_or_else(|| Fault::Truncated(name()))?;
        self.rest = rest;
        length_or_null(i64::from(i16::from_be_bytes(*bytes)), name)
    }

    fn long_length(&mut self, name: &dyn Fn() -> String) -> Result<usize, Fault> {
        let (bytes, rest) = self.rest.split_first_chunk::<4>().ok_or_else(|| Fault::Truncated(name()))?;
        self.rest = rest;
        length_or_null(i64::from(i32::from_be_bytes(*bytes)), name)
    }
}

fn length_or_null(length: i64, name: &dyn Fn() -> String) -> Result<usize, Fault> {
    match length {
        -1 => Ok(0),
        _ => usize::try_from(length).map_err(|_| Fault::BadLength(name(), length)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
