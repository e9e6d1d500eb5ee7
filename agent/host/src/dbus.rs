//! D-Bus, as much of it as asking systemd takes: one connection to a bus, calls, and their replies.
//!
//! Messages are a header and a body of aligned values (the D-Bus specification, "Message Protocol"); what is sent is little endian,
//! what comes may be either. Nothing is believed: lengths are checked, and no reply is read past [`MESSAGE_BYTES_MAX`].

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The most that is read of a message; a unit takes some 300 bytes of a list.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Messages that are of no interest (signals) before a reply.
const OTHERS_MAX: usize = 1_024;
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The longest line of the handshake.
const LINE_BYTES_MAX: usize = 1_024;

const LITTLE: u8 = b'l';
const VERSION: u8 = 1;
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
/// Codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;
const FIXED_HEADER: usize = 16;

/// A connection to a bus.
#[derive(Debug)]
pub(crate) struct Bus {
    stream: UnixStream,
    serial: u32,
}

/// A call of a method whose arguments, if any, are texts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
    pub(crate) arguments: &'a [&'a str],
}

/// The value of a property.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(f64),
}

impl Bus {
    /// Connects and makes itself known.
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        let mut bus = Self { stream, serial: 0 };
        bus.authenticate()?;
        bus.call(Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            arguments: &[],
        })?;
        Ok(bus)
    }

    /// The kernel says who connects; the claim repeats it, as decimal digits in hexadecimal.
    fn authenticate(&mut self) -> io::Result<()> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let claim: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        self.stream
            .write_all(format!("\0AUTH EXTERNAL {claim}\r\n").as_bytes())?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            line.extend(byte);
            if line.len() > LINE_BYTES_MAX {
                return Err(odd("the bus does not end its line"));
            }
        }
        if !line.starts_with(b"OK ") {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the bus does not take this user",
            ));
        }
        self.stream.write_all(b"BEGIN\r\n")
    }

    /// Returns the body of the reply. After an error of the stream, connect anew; an error of the other side leaves the bus usable.
    pub(crate) fn call(&mut self, call: Call<'_>) -> io::Result<Reply> {
        self.serial = self.serial.wrapping_add(1).max(1);
        self.stream.write_all(&call.message(self.serial))?;
        for _ in 0..OTHERS_MAX {
            let message = Message::read(&mut self.stream)?;
            if message.answers != Some(self.serial) {
                continue;
            }
            return match message.kind {
                RETURN => Ok(message.body),
                ERROR => {
                    let body = message.body;
                    let text = body.values().text().unwrap_or_default().to_owned();
                    Err(io::Error::other(format!("{}: {text}", call.member)))
                }
                _ => Err(odd("the bus answers with what is no answer")),
            };
        }
        Err(odd("the bus does not answer"))
    }

    /// Returns a property of an object.
    pub(crate) fn property(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        name: &str,
    ) -> io::Result<Value> {
        let reply = self.call(Call {
            destination,
            path,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            arguments: &[interface, name],
        })?;
        let value = reply.values().variant();
        value.ok_or_else(|| odd("a property is neither text nor number"))
    }
}

fn odd(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Call<'_> {
    fn message(&self, serial: u32) -> Vec<u8> {
        let mut body = Vec::new();
        for argument in self.arguments {
            put_text(&mut body, argument);
        }
        let mut fields = Vec::new();
        for (code, kind, text) in [
            (PATH, b'o', self.path),
            (DESTINATION, b's', self.destination),
            (INTERFACE, b's', self.interface),
            (MEMBER, b's', self.member),
        ] {
            align(&mut fields, 8);
            fields.extend([code, 1, kind, 0]);
            put_text(&mut fields, text);
        }
        if !self.arguments.is_empty() {
            align(&mut fields, 8);
            fields.extend([SIGNATURE, 1, b'g', 0]);
            fields.push(u8::try_from(self.arguments.len()).unwrap_or(u8::MAX));
            fields.extend(self.arguments.iter().map(|_| b's'));
            fields.push(0);
        }
        let mut message = vec![LITTLE, CALL, 0, VERSION];
        for number in [length(&body), serial, length(&fields)] {
            message.extend(number.to_le_bytes());
        }
        message.extend(fields);
        align(&mut message, 8);
        message.extend(body);
        message
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    align(bytes, 4);
    bytes.extend(length(text.as_bytes()).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

/// A message that came.
#[derive(Debug)]
struct Message {
    kind: u8,
    /// The call that it answers.
    answers: Option<u32>,
    body: Reply,
}

impl Message {
    fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut start = [0; FIXED_HEADER];
        stream.read_exact(&mut start)?;
        let is_little = start[0] == LITTLE;
        let mut fixed = Values::new(&start, is_little);
        fixed.at = 4;
        let (Some(body_bytes), Some(_serial), Some(field_bytes)) =
            (fixed.u32(), fixed.u32(), fixed.u32())
        else {
            return Err(odd("a message without a header"));
        };
        let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (body_bytes, field_bytes) = (size(body_bytes), size(field_bytes));
        if body_bytes.saturating_add(field_bytes) > MESSAGE_BYTES_MAX {
            return Err(odd("a message is longer than any should be"));
        }
        let mut fields = vec![0; field_bytes.next_multiple_of(8)];
        stream.read_exact(&mut fields)?;
        fields.truncate(field_bytes);
        let mut body = vec![0; body_bytes];
        stream.read_exact(&mut body)?;
        Ok(Self {
            kind: start[1],
            answers: Values::new(&fields, is_little).reply_serial(),
            body: Reply {
                bytes: body,
                is_little,
            },
        })
    }
}

/// The body of a reply.
#[derive(Debug)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
    is_little: bool,
}

impl Reply {
    pub(crate) fn values(&self) -> Values<'_> {
        Values::new(&self.bytes, self.is_little)
    }
}

/// Reads values one after the other; `None` when there is no such value.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
    is_little: bool,
}

impl<'a> Values<'a> {
    const fn new(bytes: &'a [u8], is_little: bool) -> Self {
        Self {
            bytes,
            at: 0,
            is_little,
        }
    }

    /// Passes over the padding before a value that starts at a multiple of `to`.
    pub(crate) fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    pub(crate) const fn is_at(&self, end: usize) -> bool {
        self.at >= end
    }

    /// Returns where the elements of an array of structs end, having moved to the first.
    pub(crate) fn array_of_structs(&mut self) -> Option<usize> {
        let bytes = usize::try_from(self.u32()?).ok()?;
        self.align(8);
        self.at
            .checked_add(bytes)
            .filter(|end| *end <= self.bytes.len())
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.text_of(length)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        let bytes = self.fixed()?;
        Some(if self.is_little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    fn u64(&mut self) -> Option<u64> {
        let bytes = self.fixed()?;
        Some(if self.is_little {
            u64::from_le_bytes(bytes)
        } else {
            u64::from_be_bytes(bytes)
        })
    }

    fn signature(&mut self) -> Option<&'a str> {
        let [length] = self.fixed()?;
        self.text_of(usize::from(length))
    }

    fn variant(&mut self) -> Option<Value> {
        Some(match self.signature()? {
            "s" | "o" => Value::Text(self.text()?.to_owned()),
            "u" | "b" => Value::Number(f64::from(self.u32()?)),
            "i" => Value::Number(f64::from(self.u32()?.cast_signed())),
            "t" => Value::Number(self.u64()? as f64),
            _ => return None,
        })
    }

    /// Looks through the fields of a header: structs of a code and a variant.
    fn reply_serial(&mut self) -> Option<u32> {
        while self.at < self.bytes.len() {
            self.align(8);
            let [code] = self.fixed()?;
            match (code, self.signature()?) {
                (REPLY_SERIAL, "u") => return self.u32(),
                (_, "u") => drop(self.u32()?),
                (_, "s" | "o") => drop(self.text()?),
                (_, "g") => drop(self.signature()?),
                _ => return None,
            }
        }
        None
    }

    fn text_of(&mut self, length: usize) -> Option<&'a str> {
        let end = self.at.checked_add(length)?;
        let text = std::str::from_utf8(self.bytes.get(self.at..end)?).ok()?;
        // A zero follows.
        self.at = end.checked_add(1)?;
        Some(text)
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.align(N);
        let bytes = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(bytes)
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
