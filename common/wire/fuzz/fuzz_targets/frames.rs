//! The bytes of a stream from anyone: no panic, and every message that decodes can be sent on and is then the same.

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use wire::{
    AgentMessage, Frame, FrameDecoder, JoinReply, JoinRequest, Message, PairMessage, StoreMessage,
    decode_message, encode_message,
};

fuzz_target!(|input: &[u8]| {
    let mut decoder = FrameDecoder::new();
    // The first byte says how the bytes arrive.
    let Some((piece, bytes)) = input.split_first() else {
        return;
    };
    for piece in bytes.chunks(usize::from(*piece) + 1) {
        if decoder.push(piece).is_err() {
            return;
        }
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    check::<AgentMessage>(frame);
                    check::<StoreMessage>(frame);
                    check::<JoinRequest>(frame);
                    check::<JoinReply>(frame);
                    check::<PairMessage>(frame);
                }
                Ok(None) => break,
                Err(error) => return drop(error.to_string()),
            }
        }
    }
});

fn check<M: Message + Debug>(frame: Frame<'_>) {
    let Ok(message) = decode_message::<M>(frame) else {
        return;
    };
    let mut bytes = Vec::new();
    // A definition may be longer written anew than it came (its symbols may have overlapped).
    if encode_message(&message, &mut bytes).is_err() {
        return;
    }
    let mut decoder = FrameDecoder::new();
    decoder.push(&bytes).expect("it is one frame");
    let again = decoder
        .next_frame()
        .expect("it is a frame")
        .expect("it is whole");
    let again = decode_message::<M>(again).expect("what was encoded decodes");
    assert_eq!(format!("{message:?}"), format!("{again:?}"));
}
