//! The renewal of a certificate, which the store answers to agents, and the first of a pair to the second, in the same frames.

use bincode::{BorrowDecode, Encode};

use super::parts::{
    CERTIFICATE_BYTES_MAX, chain_fits, fits, fitted, prose, take_chain, take_prose,
};
use super::{put_envelope, take_envelope};
use crate::{DecodeError, EncodeError, Frame, FrameKind};

#[derive(Encode, BorrowDecode)]
struct Renew<'a> {
    request: &'a [u8],
}

#[derive(Encode, BorrowDecode)]
struct Certificate<'a> {
    chain: Vec<&'a [u8]>,
}

#[derive(Encode, BorrowDecode)]
struct RenewalRefused<'a> {
    message: &'a str,
}

pub(super) fn put_request(out: &mut Vec<u8>, request: &[u8]) -> Result<(), EncodeError> {
    fits("a request", request.len(), CERTIFICATE_BYTES_MAX)?;
    put_envelope(out, FrameKind::Renew, Renew { request })
}

pub(super) fn take_request(frame: Frame<'_>) -> Result<Vec<u8>, DecodeError> {
    let Renew { request } = take_envelope(frame)?;
    let limit = CERTIFICATE_BYTES_MAX;
    fitted(frame.kind, "its request is too long", request.len(), limit)?;
    Ok(request.to_vec())
}

pub(super) fn put_certificate(out: &mut Vec<u8>, chain: &[Vec<u8>]) -> Result<(), EncodeError> {
    chain_fits(chain)?;
    let chain = chain.iter().map(Vec::as_slice).collect();
    put_envelope(out, FrameKind::Certificate, Certificate { chain })
}

pub(super) fn take_certificate(frame: Frame<'_>) -> Result<Vec<Vec<u8>>, DecodeError> {
    let Certificate { chain } = take_envelope(frame)?;
    take_chain(frame.kind, chain)
}

pub(super) fn put_refusal(out: &mut Vec<u8>, message: &str) -> Result<(), EncodeError> {
    let message = prose(message);
    put_envelope(out, FrameKind::RenewalRefused, RenewalRefused { message })
}

pub(super) fn take_refusal(frame: Frame<'_>) -> Result<String, DecodeError> {
    let RenewalRefused { message } = take_envelope(frame)?;
    take_prose(frame.kind, message)
}
