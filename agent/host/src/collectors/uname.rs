//! What `uname` says of the kernel that this process runs on.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::{Family, Sink};

static INFO: Family = Family::gauge(
    "node_uname_info",
    "Labeled system information as provided by the uname system call.",
    &[
        "sysname",
        "release",
        "version",
        "machine",
        "nodename",
        "domainname",
    ],
);

#[derive(Debug)]
pub(super) struct Uname;

impl Collector for Uname {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let uname = rustix::system::uname();
        let texts = [
            uname.sysname(),
            uname.release(),
            uname.version(),
            uname.machine(),
            uname.nodename(),
            uname.domainname(),
        ]
        .map(|text| text.to_string_lossy());
        sink.sample(&INFO, &texts.each_ref().map(|text| &**text), 1.0);
        Ok(())
    }
}
