//! Long answers, written in pieces.
//!
//! The kernel copies what it is given at once without letting anybody else have the processor, if it is one that does not preempt itself. In
//! traces of hostile queries workers ran for 7 ms at a stretch, for which the program's own code does not account, and samples waited.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is written at once, at most: some 0.1 ms.
const PIECE_BYTES: usize = 256 << 10;

/// Passes reads on, and writes in pieces.
pub(crate) struct InPieces<S>(pub(crate) S);

impl<S: AsyncRead + Unpin> AsyncRead for InPieces<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InPieces<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        Pin::new(&mut self.0).poll_write(cx, piece)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices.iter().find(|slice| !slice.is_empty()) {
            // Alone: what comes behind it waits.
            Some(long) if long.len() > PIECE_BYTES => self.poll_write(cx, long),
            _ => Pin::new(&mut self.0).poll_write_vectored(cx, within_piece(slices)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Returns those slices from the first that make a piece at most.
fn within_piece<'s, 'b>(slices: &'s [IoSlice<'b>]) -> &'s [IoSlice<'b>] {
    let mut bytes = 0_usize;
    let fits = |slice: &&IoSlice<'_>| {
        bytes = bytes.saturating_add(slice.len());
        bytes <= PIECE_BYTES
    };
    &slices[..slices.iter().take_while(fits).count()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Remembers how much came at once.
    #[derive(Default)]
    struct Taker {
        taken: Vec<u8>,
        most: usize,
    }

    impl AsyncWrite for Taker {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.most = self.most.max(bytes.len());
            self.taken.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let bytes: Vec<u8> = slices
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            self.most = self.most.max(bytes.len());
            self.taken.extend_from_slice(&bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    proptest! {
        #[test]
        fn all_arrives_and_no_more_than_a_piece_at_once(
            lengths in proptest::collection::vec(
                prop_oneof![Just(0), 1..100_usize, PIECE_BYTES - 2..PIECE_BYTES + 3, Just(3 * PIECE_BYTES)],
                0..6,
            ),
        ) {
            let texts: Vec<Vec<u8>> = (0_u8..).zip(&lengths).map(|(n, length)| vec![n; *length]).collect();
            let whole = texts.concat();
            let mut stream = InPieces(Taker::default());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut slices: Vec<IoSlice<'_>> = texts.iter().map(|text| IoSlice::new(text)).collect();
                let mut rest = &mut slices[..];
                let mut left = whole.len();
                while left > 0 {
                    let written = stream.write_vectored(rest).await.unwrap();
                    assert!(written > 0);
                    left -= written;
                    IoSlice::advance_slices(&mut rest, written);
                }
            });
            prop_assert!(stream.0.most <= PIECE_BYTES);
            prop_assert_eq!(&stream.0.taken, &whole);
            let mut stream = InPieces(Taker::default());
            runtime.block_on(stream.write_all(&whole)).unwrap();
            prop_assert!(stream.0.most <= PIECE_BYTES);
            prop_assert_eq!(&stream.0.taken, &whole);
        }
    }
}
