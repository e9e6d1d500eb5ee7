//! What the store says.

use std::time::Duration;

use bincode::{BorrowDecode, Encode};
use model::TimestampMs;
use rows::{BatchNumber, Epoch, StoreId};

use super::parts::{
    Intervals, NAME_BYTES_MAX, REASONS_MAX, fits, fitted, intervals, millis, number_set, prose,
    take_name, take_prose,
};
use super::sealed::Codec;
use super::{malformed, put_envelope, renewal, take_envelope};
use crate::{
    DecodeError, EPOCHS_MAX, EncodeError, EpochKnown, Frame, FrameKind, RefusedSamples,
    SessionRefusal, StoreMessage, Welcome,
};

#[derive(Encode, BorrowDecode)]
struct Opened {
    store: [u8; 16],
    known: Vec<(u64, Intervals)>,
    window_batches: u32,
    wall_ms: i64,
}

#[derive(Encode, BorrowDecode)]
struct Refused<'a> {
    reason: u8,
    message: &'a str,
}

#[derive(Encode, BorrowDecode)]
struct Acknowledged<'a> {
    epoch: u64,
    numbers: Intervals,
    refused: Vec<(&'a str, u64)>,
}

#[derive(Encode, BorrowDecode)]
struct Resend {
    epoch: u64,
    number: u64,
}

#[derive(Encode, BorrowDecode)]
struct Quarantine<'a> {
    epoch: u64,
    number: u64,
    message: &'a str,
}

#[derive(Encode, BorrowDecode)]
struct Retry {
    epoch: u64,
    numbers: Intervals,
    after_ms: u64,
}

impl Codec for StoreMessage {
    fn kind(&self) -> FrameKind {
        match self {
            Self::Welcome(_) => FrameKind::Welcome,
            Self::Refused { .. } => FrameKind::Refused,
            Self::Acknowledged { .. } => FrameKind::Acknowledged,
            Self::Resend { .. } => FrameKind::Resend,
            Self::Quarantine { .. } => FrameKind::Quarantine,
            Self::Retry { .. } => FrameKind::Retry,
            Self::Certificate { .. } => FrameKind::Certificate,
            Self::RenewalRefused { .. } => FrameKind::RenewalRefused,
        }
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let kind = self.kind();
        match self {
            Self::Welcome(welcome) => put_welcome(out, welcome),
            Self::Refused { reason, message } => {
                let (reason, message) = (refusal_code(*reason), prose(message));
                put_envelope(out, kind, Refused { reason, message })
            }
            Self::Acknowledged {
                epoch,
                numbers,
                refused,
            } => {
                fits("the list of reasons", refused.len(), REASONS_MAX)?;
                for RefusedSamples { reason, .. } in refused {
                    fits("a reason", reason.len(), NAME_BYTES_MAX)?;
                }
                let mirror = Acknowledged {
                    epoch: epoch.0,
                    numbers: intervals(numbers),
                    refused: refused
                        .iter()
                        .map(|refused| (&*refused.reason, refused.samples))
                        .collect(),
                };
                put_envelope(out, kind, mirror)
            }
            Self::Resend { epoch, number } => {
                let (epoch, number) = (epoch.0, number.0);
                put_envelope(out, kind, Resend { epoch, number })
            }
            Self::Quarantine {
                epoch,
                number,
                message,
            } => {
                let mirror = Quarantine {
                    epoch: epoch.0,
                    number: number.0,
                    message: prose(message),
                };
                put_envelope(out, kind, mirror)
            }
            Self::Retry {
                epoch,
                numbers,
                after,
            } => {
                let mirror = Retry {
                    epoch: epoch.0,
                    numbers: intervals(numbers),
                    after_ms: millis(*after),
                };
                put_envelope(out, kind, mirror)
            }
            Self::Certificate { chain } => renewal::put_certificate(out, chain),
            Self::RenewalRefused { message } => renewal::put_refusal(out, message),
        }
    }

    fn take(frame: Frame<'_>) -> Result<Self, DecodeError> {
        let kind = frame.kind;
        Ok(match kind {
            FrameKind::Welcome => Self::Welcome(take_welcome(frame)?),
            FrameKind::Refused => {
                let refused: Refused<'_> = take_envelope(frame)?;
                Self::Refused {
                    reason: take_refusal(refused.reason)?,
                    message: take_prose(kind, refused.message)?,
                }
            }
            FrameKind::Acknowledged => take_acknowledged(frame)?,
            FrameKind::Resend => {
                let Resend { epoch, number } = take_envelope(frame)?;
                Self::Resend {
                    epoch: Epoch(epoch),
                    number: BatchNumber(number),
                }
            }
            FrameKind::Quarantine => {
                let quarantine: Quarantine<'_> = take_envelope(frame)?;
                Self::Quarantine {
                    epoch: Epoch(quarantine.epoch),
                    number: BatchNumber(quarantine.number),
                    message: take_prose(kind, quarantine.message)?,
                }
            }
            FrameKind::Retry => {
                let retry: Retry = take_envelope(frame)?;
                Self::Retry {
                    epoch: Epoch(retry.epoch),
                    numbers: number_set(kind, retry.numbers)?,
                    after: Duration::from_millis(retry.after_ms),
                }
            }
            FrameKind::Certificate => Self::Certificate {
                chain: renewal::take_certificate(frame)?,
            },
            FrameKind::RenewalRefused => Self::RenewalRefused {
                message: renewal::take_refusal(frame)?,
            },
            FrameKind::Hello
            | FrameKind::Define
            | FrameKind::Batch
            | FrameKind::Floor
            | FrameKind::Status
            | FrameKind::Renew
            | FrameKind::JoinRequest
            | FrameKind::JoinReply
            | FrameKind::PairHello
            | FrameKind::PairAlive
            | FrameKind::PairRecords
            | FrameKind::PairSynced
            | FrameKind::PairAsk
            | FrameKind::PairAnswer
            | FrameKind::PairRelease
            | FrameKind::PairConfiguration => return Err(DecodeError::Direction { kind }),
        })
    }
}

fn put_welcome(out: &mut Vec<u8>, welcome: &Welcome) -> Result<(), EncodeError> {
    fits("the list of epochs", welcome.known.len(), EPOCHS_MAX)?;
    let known = |known: &EpochKnown| (known.epoch.0, intervals(&known.numbers));
    let mirror = Opened {
        store: welcome.store.0.to_be_bytes(),
        known: welcome.known.iter().map(known).collect(),
        window_batches: welcome.window_batches,
        wall_ms: welcome.wall.0,
    };
    put_envelope(out, FrameKind::Welcome, mirror)
}

fn take_welcome(frame: Frame<'_>) -> Result<Welcome, DecodeError> {
    let opened: Opened = take_envelope(frame)?;
    let kind = frame.kind;
    fitted(
        kind,
        "it knows too many epochs",
        opened.known.len(),
        EPOCHS_MAX,
    )?;
    let mut known = Vec::with_capacity(opened.known.len());
    for (epoch, numbers) in opened.known {
        known.push(EpochKnown {
            epoch: Epoch(epoch),
            numbers: number_set(kind, numbers)?,
        });
    }
    Ok(Welcome {
        store: StoreId(u128::from_be_bytes(opened.store)),
        known,
        window_batches: opened.window_batches,
        wall: TimestampMs(opened.wall_ms),
    })
}

fn take_acknowledged(frame: Frame<'_>) -> Result<StoreMessage, DecodeError> {
    let acknowledged: Acknowledged<'_> = take_envelope(frame)?;
    let kind = frame.kind;
    let reasons = acknowledged.refused.len();
    fitted(kind, "it has too many reasons", reasons, REASONS_MAX)?;
    let mut refused = Vec::with_capacity(reasons);
    for (reason, samples) in acknowledged.refused {
        refused.push(RefusedSamples {
            reason: take_name(kind, reason)?,
            samples,
        });
    }
    Ok(StoreMessage::Acknowledged {
        epoch: Epoch(acknowledged.epoch),
        numbers: number_set(kind, acknowledged.numbers)?,
        refused,
    })
}

const fn refusal_code(reason: SessionRefusal) -> u8 {
    match reason {
        SessionRefusal::IdInUse => 0,
        SessionRefusal::ClockSkew => 1,
        SessionRefusal::Revoked => 2,
        SessionRefusal::TooManyAgents => 3,
        SessionRefusal::Malformed => 4,
        SessionRefusal::ShuttingDown => 5,
    }
}

const fn take_refusal(code: u8) -> Result<SessionRefusal, DecodeError> {
    Ok(match code {
        0 => SessionRefusal::IdInUse,
        1 => SessionRefusal::ClockSkew,
        2 => SessionRefusal::Revoked,
        3 => SessionRefusal::TooManyAgents,
        4 => SessionRefusal::Malformed,
        5 => SessionRefusal::ShuttingDown,
        _ => return Err(malformed(FrameKind::Refused, "its reason is unknown")),
    })
}
