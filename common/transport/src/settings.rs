//! The figures of both transports, in one place. Worst-case memory of a connection: its windows, its outgoing queues and one
//! frame per stream; a connection that is idle holds next to nothing.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::{
    AckFrequencyConfig, EndpointConfig, HashedConnectionIdGenerator, IdleTimeout, TransportConfig,
    VarInt,
};

use crate::reset::ResetKey;

/// Silence after which a peer counts as gone.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Something is said at least this often: address translators forget quiet UDP after 30 s.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A handshake that takes longer is given up.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes on their way on one stream that the receiver has not read yet; TCP's streams have the same ([`wire::Mux`]).
const STREAM_WINDOW: u32 = 1_024 * 1_024;
/// The same for a whole QUIC connection.
const CONNECTION_WINDOW: u32 = 2 * 1_024 * 1_024;
/// Bytes that QUIC keeps for sending again.
const SEND_WINDOW: u64 = 2 * 1_024 * 1_024;
/// Bytes queued on one stream before a sender waits (a larger frame goes alone).
pub(crate) const OUTGOING_BYTES_MAX: u32 = 256 * 1_024;
/// How long a close waits for what was queued before.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns QUIC's settings of whoever dials: agents.
pub(crate) fn dialer(segmentation_offload: bool) -> Arc<TransportConfig> {
    Arc::new(quic(segmentation_offload))
}

/// Returns QUIC's settings of whoever listens: the aggregator. It asks for the acknowledgement of each packet as it comes: an agent sends
/// nothing in answer that it could go with, and to wait 25 ms for company only wakes the agent once more.
pub(crate) fn listener(segmentation_offload: bool) -> Arc<TransportConfig> {
    let mut at_once = AckFrequencyConfig::default();
    at_once.ack_eliciting_threshold(VarInt::from_u32(0));
    let mut config = quic(segmentation_offload);
    config.ack_frequency_config(Some(at_once));
    Arc::new(config)
}

/// What both have alike; the streams are one-way, one per [`wire::StreamId`] and direction.
fn quic(segmentation_offload: bool) -> TransportConfig {
    let mut config = TransportConfig::default();
    let idle = IdleTimeout::try_from(IDLE_TIMEOUT).expect("60 s fit in a QUIC integer");
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(4))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .datagram_receive_buffer_size(None)
        .enable_segmentation_offload(segmentation_offload);
    config
}

/// The largest UDP payload that is taken: an Ethernet frame's. QUIC sizes its receive buffers by it, 2,048 of them per endpoint.
const UDP_PAYLOAD_BYTES_MAX: u16 = 1_472;

/// Returns the settings of a QUIC endpoint.
pub(crate) fn endpoint() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    // Without it the second bit of every packet is set, and a datagram that is not QUIC can be told by its outside.
    config.grease_quic_bit(false);
    config
        .max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX)
        .expect("between 1,200 and 65,527");
    config
}

/// Returns the settings of the aggregator's QUIC endpoint: one that can end the connections of the process before it.
pub(crate) fn server_endpoint(key: ResetKey) -> EndpointConfig {
    let mut config = endpoint();
    let of_ids = key.of_connection_ids();
    config
        .reset_key(Arc::new(key))
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(of_ids)));
    config
}
