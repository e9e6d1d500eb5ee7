//! What aggregators of a pair say.

use bincode::{BorrowDecode, Encode};
use model::TimestampMs;

use super::parts::{NAME_BYTES_MAX, fits, take_name};
use super::sealed::Codec;
use super::{malformed, put_envelope, renewal, take_envelope};
use crate::{
    DecodeError, EncodeError, Frame, FrameKind, PairHello, PairMessage, Share, SharedRecord,
    SharedTable,
};

#[derive(Encode, BorrowDecode)]
struct Hello<'a> {
    protocol: u16,
    version: &'a str,
    name: &'a str,
    sees: &'a str,
    wall_ms: i64,
}

#[derive(Encode, BorrowDecode)]
struct Empty {}

#[derive(Encode, BorrowDecode)]
struct Records<'a> {
    /// Table, key, value.
    records: Vec<(u8, &'a [u8], &'a [u8])>,
}

#[derive(Encode, BorrowDecode)]
struct Place<'a> {
    place: &'a [u8],
}

#[derive(Encode, BorrowDecode)]
struct Configuration {
    digest: u64,
}

#[derive(Encode, BorrowDecode)]
struct Answer<'a> {
    place: &'a [u8],
    granted: bool,
}

impl Codec for PairMessage {
    fn kind(&self) -> FrameKind {
        match self {
            Self::Hello(_) => FrameKind::PairHello,
            Self::Alive => FrameKind::PairAlive,
            Self::Renew { .. } => FrameKind::Renew,
            Self::Certificate { .. } => FrameKind::Certificate,
            Self::RenewalRefused { .. } => FrameKind::RenewalRefused,
            Self::Share(Share::Records(_)) => FrameKind::PairRecords,
            Self::Share(Share::Synced) => FrameKind::PairSynced,
            Self::Share(Share::Ask { .. }) => FrameKind::PairAsk,
            Self::Share(Share::Answer { .. }) => FrameKind::PairAnswer,
            Self::Share(Share::Release { .. }) => FrameKind::PairRelease,
            Self::Share(Share::Configuration { .. }) => FrameKind::PairConfiguration,
        }
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let kind = self.kind();
        match self {
            Self::Hello(hello) => {
                fits("the version", hello.version.len(), NAME_BYTES_MAX)?;
                fits("the name", hello.name.len(), NAME_BYTES_MAX)?;
                fits("the address", hello.sees.len(), NAME_BYTES_MAX)?;
                let mirror = Hello {
                    protocol: hello.protocol,
                    version: &hello.version,
                    name: &hello.name,
                    sees: &hello.sees,
                    wall_ms: hello.wall.0,
                };
                put_envelope(out, kind, mirror)
            }
            Self::Alive | Self::Share(Share::Synced) => put_envelope(out, kind, Empty {}),
            Self::Renew { request } => renewal::put_request(out, request),
            Self::Certificate { chain } => renewal::put_certificate(out, chain),
            Self::RenewalRefused { message } => renewal::put_refusal(out, message),
            Self::Share(Share::Records(records)) => {
                let parts = records
                    .iter()
                    .map(|record| (table_code(record.table), &*record.key, &*record.value));
                let records = parts.collect();
                put_envelope(out, kind, Records { records })
            }
            Self::Share(Share::Ask { place } | Share::Release { place }) => {
                put_envelope(out, kind, Place { place })
            }
            Self::Share(Share::Answer { place, granted }) => {
                let granted = *granted;
                put_envelope(out, kind, Answer { place, granted })
            }
            Self::Share(Share::Configuration { digest }) => {
                put_envelope(out, kind, Configuration { digest: *digest })
            }
        }
    }

    fn take(frame: Frame<'_>) -> Result<Self, DecodeError> {
        let kind = frame.kind;
        Ok(match kind {
            FrameKind::PairHello => {
                let hello: Hello<'_> = take_envelope(frame)?;
                Self::Hello(PairHello {
                    protocol: hello.protocol,
                    version: take_name(kind, hello.version)?,
                    name: take_name(kind, hello.name)?,
                    sees: take_name(kind, hello.sees)?,
                    wall: TimestampMs(hello.wall_ms),
                })
            }
            FrameKind::PairAlive => {
                let Empty {} = take_envelope(frame)?;
                Self::Alive
            }
            FrameKind::Renew => Self::Renew {
                request: renewal::take_request(frame)?,
            },
            FrameKind::Certificate => Self::Certificate {
                chain: renewal::take_certificate(frame)?,
            },
            FrameKind::RenewalRefused => Self::RenewalRefused {
                message: renewal::take_refusal(frame)?,
            },
            FrameKind::PairRecords => Self::Share(Share::Records(take_records(frame)?)),
            FrameKind::PairSynced => {
                let Empty {} = take_envelope(frame)?;
                Self::Share(Share::Synced)
            }
            FrameKind::PairAsk => {
                let place = take_place(frame)?;
                Self::Share(Share::Ask { place })
            }
            FrameKind::PairAnswer => {
                let Answer { place, granted } = take_envelope(frame)?;
                let place = place.to_vec();
                Self::Share(Share::Answer { place, granted })
            }
            FrameKind::PairRelease => {
                let place = take_place(frame)?;
                Self::Share(Share::Release { place })
            }
            FrameKind::PairConfiguration => {
                let Configuration { digest } = take_envelope(frame)?;
                Self::Share(Share::Configuration { digest })
            }
            FrameKind::Hello
            | FrameKind::Define
            | FrameKind::Batch
            | FrameKind::Floor
            | FrameKind::Status
            | FrameKind::JoinRequest
            | FrameKind::JoinReply
            | FrameKind::Welcome
            | FrameKind::Refused
            | FrameKind::Acknowledged
            | FrameKind::Resend
            | FrameKind::Quarantine
            | FrameKind::Retry => return Err(DecodeError::Direction { kind }),
        })
    }
}

fn take_place(frame: Frame<'_>) -> Result<Vec<u8>, DecodeError> {
    let Place { place } = take_envelope(frame)?;
    Ok(place.to_vec())
}

fn take_records(frame: Frame<'_>) -> Result<Vec<SharedRecord>, DecodeError> {
    let Records { records } = take_envelope(frame)?;
    let records = records.into_iter().map(|(table, key, value)| {
        Ok(SharedRecord {
            table: take_table(table)?,
            key: key.to_vec(),
            value: value.to_vec(),
        })
    });
    records.collect()
}

const fn table_code(table: SharedTable) -> u8 {
    match table {
        SharedTable::Silences => 0,
        SharedTable::Notifications => 1,
    }
}

const fn take_table(code: u8) -> Result<SharedTable, DecodeError> {
    Ok(match code {
        0 => SharedTable::Silences,
        1 => SharedTable::Notifications,
        _ => return Err(malformed(FrameKind::PairRecords, "its table is unknown")),
    })
}
