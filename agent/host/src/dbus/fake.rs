//! A bus that says what a test has it say.

use std::os::unix::net::UnixListener;

use super::*;

/// Returns the replies to calls in their order, of these bodies.
pub(crate) fn replies(bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    (1..)
        .zip(bodies)
        .map(|(call, body)| reply(call, RETURN, body))
        .collect()
}

/// Returns a message that answers a call.
pub(super) fn reply(answers: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut fields = vec![REPLY_SERIAL, 1, b'u', 0];
    fields.extend(answers.to_le_bytes());
    fields.extend([SIGNATURE, 1, b'g', 0, 1, b's', 0]);
    let mut message = vec![LITTLE, kind, 0, VERSION];
    for number in [length(body), 1, length(&fields)] {
        message.extend(number.to_le_bytes());
    }
    message.extend(fields);
    align(&mut message, 8);
    message.extend(body);
    message
}

/// A bus that greets, and then answers each call with the next of `replies`.
pub(crate) fn serve(listener: &UnixListener, replies: &[Vec<u8>]) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut line = [0; 16];
    stream.read_exact(&mut line).unwrap();
    assert_eq!(&line[..15], b"\0AUTH EXTERNAL ");
    while !line.ends_with(b"\n") {
        stream.read_exact(&mut line[15..]).unwrap();
    }
    stream.write_all(b"OK 0123\r\n").unwrap();
    let mut begin = [0; 7];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"BEGIN\r\n");
    for reply in replies {
        Message::read(&mut stream).unwrap();
        stream.write_all(reply).unwrap();
    }
}

/// The body of a reply that is a text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, text);
    body
}

/// The body of a reply that is a variant of a text.
pub(crate) fn variant(text: &str) -> Vec<u8> {
    let mut body = vec![1, b's', 0];
    put_text(&mut body, text);
    body
}

/// The body of a reply that is a variant of a number.
pub(crate) fn number(number: u64) -> Vec<u8> {
    let mut body = vec![1, b't', 0];
    align(&mut body, 8);
    body.extend(number.to_le_bytes());
    body
}

/// The body of a list of units, each of name, load state, state and path.
pub(crate) fn units(units: &[[&str; 4]]) -> Vec<u8> {
    let mut list = vec![0; 8];
    for [name, load, state, path] in units {
        align(&mut list, 8);
        for text in [name, "", load, state, "", "", path] {
            put_text(&mut list, text);
        }
        align(&mut list, 4);
        list.extend(0_u32.to_le_bytes());
        put_text(&mut list, "");
        put_text(&mut list, "/");
    }
    let bytes = length(&list[8..]).to_le_bytes();
    list[..4].copy_from_slice(&bytes);
    list
}
