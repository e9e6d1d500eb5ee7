//! The first request line of a connection, made acceptable.
//!
//! `curl -g 'http://host/api/v1/query?query=up{job="a"}'` stands in every Prometheus tutorial and sends its quotes as they are,
//! which RFC 3986 forbids, Go's server takes and hyper refuses. So the characters `"`, `<` and `>` are percent-encoded in the query
//! of the first request line. Only there: where later requests of a connection begin cannot be told without reading what is
//! between, and whoever sends several is a program that encodes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is read at once while the line lasts.
const PIECE_BYTES: usize = 1_024;

/// Passes reads and writes on, the first line's query encoded.
pub(crate) struct Lenient<S> {
    stream: S,
    place: Place,
    /// What was read and encoded, and not handed on yet; at most three times [`PIECE_BYTES`].
    encoded: Vec<u8>,
    handed_on: usize,
}

/// Where in the connection the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Empty lines before a request are allowed.
    Before,
    Line,
    Query,
    Beyond,
}

impl<S> Lenient<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            place: Place::Before,
            encoded: Vec::new(),
            handed_on: 0,
        }
    }

    fn encode(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let escape: &[u8] = match (self.place, byte) {
                (Place::Query, b'"') => b"%22",
                (Place::Query, b'<') => b"%3C",
                (Place::Query, b'>') => b"%3E",
                _ => std::slice::from_ref(byte),
            };
            self.encoded.extend_from_slice(escape);
            self.place = match (self.place, byte) {
                (Place::Before, b'\r' | b'\n') => Place::Before,
                (Place::Line | Place::Query, b'\n') | (Place::Beyond, _) => Place::Beyond,
                (Place::Before | Place::Line, b'?') | (Place::Query, _) => Place::Query,
                (Place::Before | Place::Line, _) => Place::Line,
            };
        }
    }

    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let waiting = self.encoded.get(self.handed_on..).unwrap_or_default();
        let taken = waiting.len().min(buffer.remaining());
        buffer.put_slice(&waiting[..taken]);
        self.handed_on += taken;
        if self.handed_on == self.encoded.len() {
            self.handed_on = 0;
            self.encoded.clear();
            if self.place == Place::Beyond {
                self.encoded = Vec::new();
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.encoded.is_empty() {
            if self.place == Place::Beyond {
                return Pin::new(&mut self.stream).poll_read(cx, buffer);
            }
            let mut piece = [0; PIECE_BYTES];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
            self.encode(piece.filled());
        }
        self.hand_on(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn only_the_first_lines_query_is_encoded() {
        let line = "\r\nGET /\"a\"?q={a=\"<1>\"} HTTP/1.1\r\n";
        let rest = "etag: \"x?\"\r\n\r\n\"<body>\"GET /?\" HTTP/1.1\r\n";
        let expected = format!("\r\nGET /\"a\"?q={{a=%22%3C1%3E%22}} HTTP/1.1\r\n{rest}");
        let sent = format!("{line}{rest}");
        // However the bytes come in, and however they are asked for.
        for (coming, asked) in [(1, 1), (1, 100), (7, 3), (1_000, 2), (1_000, 1_000)] {
            let bytes = sent.as_bytes();
            let mut pieces = Pieces {
                bytes,
                most: coming,
            };
            let mut stream = Lenient::new(&mut pieces);
            let mut got = Vec::new();
            let mut buffer = vec![0; asked];
            loop {
                let count = stream.read(&mut buffer).await.unwrap();
                if count == 0 {
                    break;
                }
                got.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(
                String::from_utf8(got).unwrap(),
                expected,
                "{coming} {asked}"
            );
        }
    }

    /// Gives at most `most` bytes at once.
    struct Pieces<'a> {
        bytes: &'a [u8],
        most: usize,
    }

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = self.most.min(self.bytes.len()).min(buffer.remaining());
            let (now, later) = self.bytes.split_at(count);
            buffer.put_slice(now);
            self.bytes = later;
            Poll::Ready(Ok(()))
        }
    }
}
