//! A connection from anyone: no panic, and never more held than the windows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Mux, STREAM_WINDOW_BYTES, StreamId};

fuzz_target!(|input: &[u8]| {
    let mut mux = Mux::new();
    let mut out = Vec::new();
    for (step, piece) in input.chunks(97).enumerate() {
        if mux.receive(piece).is_err() {
            return;
        }
        for stream in StreamId::ALL {
            assert!(mux.readable(stream) <= STREAM_WINDOW_BYTES);
            mux.write(stream, piece);
            if step % 3 == 0 {
                mux.read(stream, 1_000, &mut out);
            }
        }
        mux.transmit(1_000, &mut out);
        out.clear();
    }
});
