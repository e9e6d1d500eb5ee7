//! Definitions as the spool holds them: the very frames that go over the wire.

use rows::{CohortDefinition, Epoch};
use wire::{
    AgentMessage, EncodeError, FrameDecoder, decode_message, encode_message, split_definition,
};

/// Returns the frames of a definition, cut so that each fits.
pub(crate) fn encode(
    epoch: Epoch,
    definition: CohortDefinition,
) -> Result<Vec<Vec<u8>>, EncodeError> {
    let frame = |definition| {
        let mut out = Vec::new();
        encode_message(&AgentMessage::Define { epoch, definition }, &mut out)?;
        Ok(out)
    };
    split_definition(definition)
        .into_iter()
        .map(frame)
        .collect()
}

/// Returns what a frame of [`encode`] defines; `None` when it is anything else.
pub(crate) fn decode(bytes: &[u8]) -> Option<CohortDefinition> {
    let mut frames = FrameDecoder::new();
    frames.push(bytes).ok()?;
    match decode_message(frames.next_frame().ok()??).ok()? {
        AgentMessage::Define { definition, .. } => Some(definition),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Labels, MetricType};
    use rows::{CohortId, SeriesDefinition};

    use super::*;

    #[test]
    fn definitions_round_trip_in_parts() {
        let series = |slot: usize| SeriesDefinition {
            labels: Labels::from_pairs([("__name__", "m"), ("slot", &"x".repeat(100 + slot))])
                .expect("valid"),
            kind: MetricType::Gauge,
        };
        let whole = CohortDefinition {
            cohort: CohortId(3),
            name: Arc::from("c"),
            first_slot: 5,
            series: (0..2_000).map(series).collect(),
        };
        let frames = encode(Epoch(1), whole.clone()).expect("fits");
        assert!(frames.len() > 1);
        let parts: Vec<CohortDefinition> = frames
            .iter()
            .map(|frame| decode(frame).expect("its own frame"))
            .collect();
        let joined: Vec<SeriesDefinition> =
            parts.iter().flat_map(|part| part.series.clone()).collect();
        assert_eq!((parts[0].first_slot, joined), (5, whole.series));
        assert_eq!(decode(b"garbage"), None);
    }
}
