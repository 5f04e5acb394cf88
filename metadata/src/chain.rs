//! The hash chain over entries: two brokers that applied the same entries hold the same hash.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// `H_e = SHA-256(H_{e-1} || entry_e)`, with 32 zero bytes as `H_0`.
///
/// Equal epochs with unequal hashes prove that apply was not the same function everywhere; the brokers stop then.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    /// The hash after `entry`, given in its encoded form.
    #[must_use]
    pub fn extend(self, entry: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(entry);
        Self(hasher.finalize().into())
    }

    /// The hash of these bytes' value.
    #[must_use]
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash's bytes.
    #[must_use]
    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash written as 64 hexadecimal digits; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_hash_are_one() {
        let hash = ChainHash::default().extend(b"a").extend(b"b");
        assert_eq!(ChainHash::parse(&hash.to_string()), Some(hash));
        assert_eq!(ChainHash::parse("00"), None);
        assert_eq!(ChainHash::parse(&"é".repeat(32)), None);
        assert_ne!(hash, ChainHash::default().extend(b"b").extend(b"a"), "order counts");
    }
}
