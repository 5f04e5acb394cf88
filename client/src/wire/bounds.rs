//! Checks every array length of a response before the codec reserves memory for it.
//!
//! The codec reserves room for as many elements as a length announces. This walk follows the same schema without
//! keeping anything: it fails where the bytes of an announced element are missing, so that a length which the frame
//! cannot hold never reaches the codec.

use bytes::Buf;
use kafka_protocol::messages::ApiKey;

use super::schema::{Field, Kind, schema};

/// Walks over the body of a response.
///
/// # Errors
/// The body ends early, or a length is negative where it may not be.
pub(super) fn check(api: ApiKey, version: i16, body: &[u8]) -> Result<(), &'static str> {
    let schema = schema(api).ok_or("this API has no schema")?;
    Walk { version, flexible: version >= schema.flexible_from, rest: body }.fields(schema.fields)
}

struct Walk<'a> {
    version: i16,
    flexible: bool,
    rest: &'a [u8],
}

impl Walk<'_> {
    /// One struct: its fields, then its tagged fields when the version has them.
    fn fields(&mut self, fields: &[Field]) -> Result<(), &'static str> {
        let version = self.version;
        for field in fields.iter().filter(|field| field.tag.is_none() && field.has(version)) {
            self.kind(&field.kind)?;
        }
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()?;
            let known = fields.iter().find(|field| field.tag == Some(tag) && field.has(version));
            match known {
                Some(field) => self.kind(&field.kind)?,
                None => self.skip(size as usize)?,
            }
        }
        Ok(())
    }

    fn kind(&mut self, kind: &Kind) -> Result<(), &'static str> {
        match kind {
            Kind::Fixed(bytes) => self.skip(*bytes),
            Kind::Text => {
                let length = if self.flexible { self.compact()? } else { self.length16()? };
                self.skip(length)
            }
            Kind::Bytes => {
                let length = if self.flexible { self.compact()? } else { self.length32()? };
                self.skip(length)
            }
            Kind::Struct(fields) => self.fields(fields),
            Kind::Numbers(bytes) => {
                let count = if self.flexible { self.compact()? } else { self.length32()? };
                self.skip(count.saturating_mul(*bytes))
            }
            Kind::Array(fields) => {
                let count = if self.flexible { self.compact()? } else { self.length32()? };
                // Every element takes at least one byte.
                if count > self.rest.len() {
                    return Err("an array is longer than the frame");
                }
                (0..count).try_for_each(|_| self.fields(fields))
            }
        }
    }

    fn skip(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.rest = self.rest.get(bytes..).ok_or("the frame ends early")?;
        Ok(())
    }

    /// A length one above the real one, 0 for null.
    fn compact(&mut self) -> Result<usize, &'static str> {
        Ok((self.varint()? as usize).saturating_sub(1))
    }

    fn length16(&mut self) -> Result<usize, &'static str> {
        if self.rest.len() < 2 {
            return Err("the frame ends early");
        }
        Self::length(i32::from(self.rest.get_i16()))
    }

    fn length32(&mut self) -> Result<usize, &'static str> {
        if self.rest.len() < 4 {
            return Err("the frame ends early");
        }
        Self::length(self.rest.get_i32())
    }

    fn length(value: i32) -> Result<usize, &'static str> {
        match value {
            -1 => Ok(0),
            _ => usize::try_from(value).map_err(|_| "a length is negative"),
        }
    }

    fn varint(&mut self) -> Result<u32, &'static str> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or("the frame ends early")?;
            self.rest = rest;
            value |= u32::from(byte & 0x7f).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a varint is too long")
    }
}

#[cfg(test)]
pub(super) fn unread(api: ApiKey, version: i16, body: &[u8]) -> Result<usize, &'static str> {
    let schema = schema(api).ok_or("this API has no schema")?;
    let mut walk = Walk { version, flexible: version >= schema.flexible_from, rest: body };
    walk.fields(schema.fields)?;
    Ok(walk.rest.len())
}
