//! The layouts agree with the codec, and hostile lengths are refused before anything is allocated.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind};
use proptest::prelude::*;

use super::*;

/// Writes a request that has the shape of the layout, drawing every choice from `bits`.
struct Writer<'a> {
    layout: &'static Layout,
    version: i16,
    bits: &'a mut dyn Iterator<Item = u8>,
    out: BytesMut,
}

impl Writer<'_> {
    fn draw(&mut self, below: u8) -> u8 {
        self.bits.next().unwrap_or(0) % below
    }

    fn put_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }

    fn put_struct(&mut self, shape: &'static Struct) {
        let flexible = self.version >= shape.flexible_from;
        for field in &shape.fields {
            if field.versions.contain(self.version) {
                self.put_value(&field.kind, flexible);
            }
        }
        if flexible {
            let tagged = u32::from(self.draw(3) == 0);
            self.put_varint(tagged);
            if tagged == 1 {
                self.put_varint(77);
                self.put_varint(3);
                self.out.put_slice(b"tag");
            }
        }
    }

    fn put_value(&mut self, kind: &'static Type, flexible: bool) {
        match kind {
            Type::Fixed(size) => {
                for _ in 0..*size {
                    let byte = self.bits.next().unwrap_or(0);
                    self.out.put_u8(byte);
                }
            }
            Type::String => {
                let text = [b"".as_slice(), b"a", b"topic"][usize::from(self.draw(3))];
                if flexible {
                    self.put_varint(text.len() as u32 + 1)
                } else {
                    self.out.put_i16(text.len() as i16)
                }
                self.out.put_slice(text);
            }
            Type::Bytes => {
                let text = [b"".as_slice(), b"some bytes"][usize::from(self.draw(2))];
                if flexible {
                    self.put_varint(text.len() as u32 + 1)
                } else {
                    self.out.put_i32(text.len() as i32)
                }
                self.out.put_slice(text);
            }
            Type::Array(element) => {
                let length = u32::from(self.draw(4));
                if flexible {
                    self.put_varint(length + 1)
                } else {
                    self.out.put_i32(length as i32)
                }
                for _ in 0..length {
                    self.put_value(element, flexible);
                }
            }
            Type::Struct(at) => {
                let layout = self.layout;
                self.put_struct(&layout.structs[*at]);
            }
            Type::Optional(at) => {
                let present = self.draw(2) == 1;
                self.out.put_i8(if present { 1 } else { -1 });
                if present {
                    let layout = self.layout;
                    self.put_struct(&layout.structs[*at]);
                }
            }
        }
    }
}

/// A request body that has the shape of the API's layout, drawn from `bits`.
pub(crate) fn write(api: i16, version: i16, bits: &[u8]) -> Bytes {
    let layout = layout::of(api).expect("has a layout");
    let mut bits = bits.iter().copied();
    let mut writer = Writer { layout, version, bits: &mut bits, out: BytesMut::new() };
    writer.put_struct(&layout.structs[layout.root]);
    writer.out.freeze()
}

proptest! {
    /// What has the shape of the layout is read by the codec to its last byte, at every version of every API.
    #[test]
    fn layouts_agree_with_the_codec(bits in proptest::collection::vec(any::<u8>(), 0..200)) {
        for api in layout::keys() {
            let key = ApiKey::try_from(api).expect("known key");
            let versions = key.valid_versions();
            for version in versions.min..=versions.max {
                let mut body = write(api, version, &bits);
                prop_assert!(check(api, version, &body).is_ok(), "{key:?} {version}");
                let read = RequestKind::decode(key, &mut body, version);
                // `valid_versions` promises versions that some messages refuse; those are never served.
                if let Err(error) = &read {
                    let error = format!("{error:#}");
                    prop_assert!(error.contains("not supported"), "{key:?} {version}: {error}");
                } else {
                    prop_assert_eq!(body.len(), 0, "{:?} {}: bytes are left", key, version);
                }
            }
        }
    }

    /// Random bytes neither panic nor allocate: whatever passes the check is handed to the codec.
    #[test]
    fn random_bodies_are_harmless(api in 0..80i16, version in 0..20i16, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        if check(api, version, &body).is_ok()
            && let Ok(key) = ApiKey::try_from(api)
            && layout::of(api).is_some()
        {
            drop(RequestKind::decode(key, &mut Bytes::from(body), version));
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let bits: Vec<u8> = (1..200).collect();
    for api in layout::keys() {
        let versions = ApiKey::try_from(api).expect("known key").valid_versions();
        let body = write(api, versions.max, &bits);
        for cut in 0..body.len() {
            assert!(check(api, versions.max, &body[..cut]).is_err(), "api {api} cut at {cut} of {}", body.len());
        }
    }
}

#[test]
fn hostile_lengths_are_refused() {
    // Metadata version 1: an array of 2^31 - 1 topics in four bytes.
    let error = check(3, 1, &i32::MAX.to_be_bytes()).expect_err("refused");
    assert_eq!(error, WireError::TooManyElements { api: 3, version: 1 });
    let error = check(3, 1, &1000i32.to_be_bytes()).expect_err("refused");
    assert!(matches!(error, WireError::BadLength { length: 1000, .. }), "{error}");
    let error = check(3, 1, &(-2i32).to_be_bytes()).expect_err("refused");
    assert!(matches!(error, WireError::BadLength { length: -2, .. }), "{error}");
    // Metadata version 12: a varint that never ends.
    let error = check(3, 12, &[0xff; 16]).expect_err("refused");
    assert!(matches!(error, WireError::Truncated { .. }), "{error}");
}
