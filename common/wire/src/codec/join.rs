//! Joining: one request, one reply.

use bincode::{BorrowDecode, Encode};

use super::parts::{
    CERTIFICATE_BYTES_MAX, NAME_BYTES_MAX, TOKEN_BYTES_MAX, chain_fits, fits, fitted, prose,
    take_chain, take_name, take_prose,
};
use super::sealed::Codec;
use super::{malformed, put_envelope, take_envelope};
use crate::{DecodeError, EncodeError, Frame, FrameKind, JoinRefusal, JoinReply, JoinRequest};

#[derive(Encode, BorrowDecode)]
struct Request<'a> {
    token: &'a str,
    agent: &'a str,
    request: &'a [u8],
}

#[derive(Encode, BorrowDecode)]
enum Reply<'a> {
    Granted { chain: Vec<&'a [u8]> },
    Refused { reason: u8, message: &'a str },
}

impl Codec for JoinRequest {
    fn kind(&self) -> FrameKind {
        FrameKind::JoinRequest
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        fits("the token", self.token.len(), TOKEN_BYTES_MAX)?;
        fits("the agent's id", self.agent.len(), NAME_BYTES_MAX)?;
        fits("a request", self.request.len(), CERTIFICATE_BYTES_MAX)?;
        let mirror = Request {
            token: &self.token,
            agent: &self.agent,
            request: &self.request,
        };
        put_envelope(out, self.kind(), mirror)
    }

    fn take(frame: Frame<'_>) -> Result<Self, DecodeError> {
        let kind = frame.kind;
        if kind != FrameKind::JoinRequest {
            return Err(DecodeError::Direction { kind });
        }
        let Request {
            token,
            agent,
            request,
        } = take_envelope(frame)?;
        fitted(kind, "its token is too long", token.len(), TOKEN_BYTES_MAX)?;
        let limit = CERTIFICATE_BYTES_MAX;
        fitted(kind, "its request is too long", request.len(), limit)?;
        Ok(Self {
            token: token.to_owned(),
            agent: take_name(kind, agent)?,
            request: request.to_vec(),
        })
    }
}

impl Codec for JoinReply {
    fn kind(&self) -> FrameKind {
        FrameKind::JoinReply
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mirror = match self {
            Self::Granted { chain } => {
                chain_fits(chain)?;
                Reply::Granted {
                    chain: chain.iter().map(Vec::as_slice).collect(),
                }
            }
            Self::Refused { reason, message } => Reply::Refused {
                reason: refusal_code(*reason),
                message: prose(message),
            },
        };
        put_envelope(out, self.kind(), mirror)
    }

    fn take(frame: Frame<'_>) -> Result<Self, DecodeError> {
        let kind = frame.kind;
        if kind != FrameKind::JoinReply {
            return Err(DecodeError::Direction { kind });
        }
        Ok(match take_envelope(frame)? {
            Reply::Granted { chain } => Self::Granted {
                chain: take_chain(kind, chain)?,
            },
            Reply::Refused { reason, message } => Self::Refused {
                reason: take_refusal(reason)?,
                message: take_prose(kind, message)?,
            },
        })
    }
}

const fn refusal_code(reason: JoinRefusal) -> u8 {
    match reason {
        JoinRefusal::UnknownToken => 0,
        JoinRefusal::Expired => 1,
        JoinRefusal::UsedUp => 2,
        JoinRefusal::Revoked => 3,
        JoinRefusal::Malformed => 4,
        JoinRefusal::Busy => 5,
    }
}

const fn take_refusal(code: u8) -> Result<JoinRefusal, DecodeError> {
    Ok(match code {
        0 => JoinRefusal::UnknownToken,
        1 => JoinRefusal::Expired,
        2 => JoinRefusal::UsedUp,
        3 => JoinRefusal::Revoked,
        4 => JoinRefusal::Malformed,
        5 => JoinRefusal::Busy,
        _ => return Err(malformed(FrameKind::JoinReply, "its reason is unknown")),
    })
}
