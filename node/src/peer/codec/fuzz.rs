//! Arbitrary bytes at the decoder: nothing panics, and what is taken for a frame is written back to the same bytes.

use bytes::{Bytes, BytesMut};

use super::tests::sealed;
use super::{Batch, LENGTH_LEN, PeerFrame, decode, encode_message, hello_frame, keepalive_frame, refused_frame};

/// Reads a frame; if it is one, writing it must give the bytes back.
fn read(frame: Bytes) {
    let written = match decode(frame.clone()) {
        Ok(PeerFrame::Hello(hello)) => hello_frame(&hello),
        // The protocol of who refuses, and what is beside a reason that has nothing beside it, are not kept.
        Ok(PeerFrame::HelloRefused(refusal)) => return assert!(!refused_frame(refusal).is_empty()),
        Ok(PeerFrame::Keepalive { tick }) => keepalive_frame(tick),
        Ok(PeerFrame::Messages(messages)) => {
            let (mut batch, mut scratch) = (Batch::new(messages.metadata_epoch), BytesMut::new());
            messages.messages.into_iter().for_each(|message| batch.push(encode_message(&mut scratch, message)));
            batch.finish().to_bytes()
        }
        Ok(PeerFrame::Plane(message)) => message.frame(),
        Err(_) => return,
    };
    assert_eq!(written.slice(LENGTH_LEN..), frame, "one way to say one thing");
}

#[test]
fn arbitrary_bytes_are_refused_or_read() {
    bolero::check!().with_iterations(4_000).for_each(|frame: &[u8]| read(Bytes::copy_from_slice(frame)));
}

#[test]
fn arbitrary_fields_under_a_right_checksum_are_refused_or_read() {
    bolero::check!().with_iterations(4_000).with_type::<(u8, Vec<u8>)>().for_each(|(kind, fields)| {
        read(sealed(1, kind % 5, fields));
    });
}

/// A messages frame whose count and head are plausible, so that the bodies are reached.
#[test]
fn arbitrary_messages_are_refused_or_read() {
    bolero::check!().with_iterations(8_000).with_type::<(u8, Vec<u8>)>().for_each(|(kind, body)| {
        let mut fields = vec![0; 8];
        fields.extend([0, 0, 0, 1]);
        fields.extend([0; 16 + 4 + 16]);
        fields.push(kind % 12);
        fields.extend(body);
        read(sealed(1, 4, &fields));
    });
}
