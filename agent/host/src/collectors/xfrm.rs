//! Errors of IPsec: `net/xfrm_stat`.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

/// A count of packets, by the kernel's name.
macro_rules! packets {
    ($field:literal, $name:literal, $help:literal) => {
        (
            $field,
            Family::counter(concat!("node_xfrm_", $name, "_packets_total"), $help, &[]),
        )
    };
}

/// In the kernel's order.
static COUNTS: [(&[u8], Family); 28] = [
    packets!(
        b"XfrmInError",
        "in_error",
        "All errors not matched by other"
    ),
    packets!(b"XfrmInBufferError", "in_buffer_error", "No buffer is left"),
    packets!(b"XfrmInHdrError", "in_hdr_error", "Header error"),
    packets!(
        b"XfrmInNoStates",
        "in_no_states",
        "No state is found i.e. Either inbound SPI, address, or IPsec protocol at SA is wrong"
    ),
    packets!(
        b"XfrmInStateProtoError",
        "in_state_proto_error",
        "Transformation protocol specific error e.g. SA key is wrong"
    ),
    packets!(
        b"XfrmInStateModeError",
        "in_state_mode_error",
        "Transformation mode specific error"
    ),
    packets!(
        b"XfrmInStateSeqError",
        "in_state_seq_error",
        "Sequence error i.e. Sequence number is out of window"
    ),
    packets!(
        b"XfrmInStateExpired",
        "in_state_expired",
        "State is expired"
    ),
    packets!(
        b"XfrmInStateMismatch",
        "in_state_mismatch",
        "State has mismatch option e.g. UDP encapsulation type is mismatch"
    ),
    packets!(
        b"XfrmInStateInvalid",
        "in_state_invalid",
        "State is invalid"
    ),
    packets!(
        b"XfrmInTmplMismatch",
        "in_tmpl_mismatch",
        "No matching template for states e.g. Inbound SAs are correct but SP rule is wrong"
    ),
    packets!(
        b"XfrmInNoPols",
        "in_no_pols",
        "No policy is found for states e.g. Inbound SAs are correct but no SP is found"
    ),
    packets!(b"XfrmInPolBlock", "in_pol_block", "Policy discards"),
    packets!(b"XfrmInPolError", "in_pol_error", "Policy error"),
    packets!(
        b"XfrmOutError",
        "out_error",
        "All errors which is not matched others"
    ),
    packets!(
        b"XfrmOutBundleGenError",
        "out_bundle_gen_error",
        "Bundle generation error"
    ),
    packets!(
        b"XfrmOutBundleCheckError",
        "out_bundle_check_error",
        "Bundle check error"
    ),
    packets!(b"XfrmOutNoStates", "out_no_states", "No state is found"),
    packets!(
        b"XfrmOutStateProtoError",
        "out_state_proto_error",
        "Transformation protocol specific error"
    ),
    packets!(
        b"XfrmOutStateModeError",
        "out_state_mode_error",
        "Transformation mode specific error"
    ),
    packets!(
        b"XfrmOutStateSeqError",
        "out_state_seq_error",
        "Sequence error i.e. Sequence number overflow"
    ),
    packets!(
        b"XfrmOutStateExpired",
        "out_state_expired",
        "State is expired"
    ),
    packets!(b"XfrmOutPolBlock", "out_pol_block", "Policy discards"),
    packets!(b"XfrmOutPolDead", "out_pol_dead", "Policy is dead"),
    packets!(b"XfrmOutPolError", "out_pol_error", "Policy error"),
    packets!(
        b"XfrmFwdHdrError",
        "fwd_hdr_error",
        "Forward routing of a packet is not allowed"
    ),
    packets!(
        b"XfrmOutStateInvalid",
        "out_state_invalid",
        "State is invalid, perhaps expired"
    ),
    packets!(
        b"XfrmAcquireError",
        "acquire_error",
        "State hasn\u{2019}t been fully acquired before use"
    ),
];

#[derive(Debug)]
pub(super) struct Xfrm {
    file: KeptFile,
}

impl Xfrm {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::new(paths.procfs.join("net/xfrm_stat")),
        }
    }
}

impl Collector for Xfrm {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self
            .file
            .read()
            .map_err(|error| error.missing_as("the kernel counts no errors of IPsec"))?;
        for (field, family) in &COUNTS {
            let mut words = content.lines().map(scan::words);
            let found =
                words.find_map(|mut words| (words.next()? == *field).then_some(words.next()));
            let count = match found {
                // What a kernel does not count is 0.
                None => 0,
                Some(word) => word
                    .and_then(scan::number)
                    .ok_or_else(|| content.without("lines of `name number`"))?,
            };
            sink.sample(family, &[], count as f64);
        }
        Ok(())
    }
}
