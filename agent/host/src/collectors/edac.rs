//! Errors of memory that were detected: `devices/system/edac/mc`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::Folder;
use crate::host::Moment;
use crate::{Family, Paths, Sink};

static CORRECTABLE: Family = Family::counter(
    "node_edac_correctable_errors_total",
    "Total correctable memory errors.",
    &["controller"],
);
static UNCORRECTABLE: Family = Family::counter(
    "node_edac_uncorrectable_errors_total",
    "Total uncorrectable memory errors.",
    &["controller"],
);
static ROW_CORRECTABLE: Family = Family::counter(
    "node_edac_csrow_correctable_errors_total",
    "Total correctable memory errors for this csrow.",
    &["controller", "csrow"],
);
static ROW_UNCORRECTABLE: Family = Family::counter(
    "node_edac_csrow_uncorrectable_errors_total",
    "Total uncorrectable memory errors for this csrow.",
    &["controller", "csrow"],
);
static CHANNEL_CORRECTABLE: Family = Family::counter(
    "node_edac_channel_correctable_errors_total",
    "Total correctable memory errors for this channel.",
    &["controller", "csrow", "channel", "dimm_label"],
);
static CHANNEL_UNCORRECTABLE: Family = Family::counter(
    "node_edac_channel_uncorrectable_errors_total",
    "Total uncorrectable memory errors for this channel.",
    &["controller", "csrow", "channel", "dimm_label"],
);

/// Errors of a controller that no row is known to have made.
const NO_ROW: &str = "unknown";

#[derive(Debug)]
pub(super) struct Edac {
    controllers: Folder,
}

impl Edac {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            controllers: Folder::new(paths.sysfs.join("devices/system/edac/mc")),
        }
    }
}

impl Collector for Edac {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        for (controller, folder) in self.controllers.numbered("mc")? {
            let number = |file| folder.number(file);
            sink.sample(&CORRECTABLE, &[&controller], number("ce_count")?);
            let nowhere = [&*controller, NO_ROW];
            sink.sample(&ROW_CORRECTABLE, &nowhere, number("ce_noinfo_count")?);
            sink.sample(&UNCORRECTABLE, &[&controller], number("ue_count")?);
            sink.sample(&ROW_UNCORRECTABLE, &nowhere, number("ue_noinfo_count")?);
            for (row, folder) in folder.numbered("csrow")? {
                sample_row(&controller, &row, &folder, sink)?;
            }
        }
        Ok(())
    }
}

fn sample_row(
    controller: &str,
    row: &str,
    folder: &Folder,
    sink: &mut dyn Sink,
) -> Result<(), CollectError> {
    let labels = [controller, row];
    sink.sample(&ROW_CORRECTABLE, &labels, folder.number("ce_count")?);
    sink.sample(&ROW_UNCORRECTABLE, &labels, folder.number("ue_count")?);
    for file in folder.entries()? {
        let Some(channel) = file
            .strip_prefix("ch")
            .and_then(|file| file.strip_suffix("_ce_count"))
        else {
            continue;
        };
        let dimm = label(&folder.text_or_empty(&format!("ch{channel}_dimm_label")));
        let labels = [controller, row, channel, &*dimm];
        sink.sample(&CHANNEL_CORRECTABLE, &labels, folder.number(&file)?);
        let uncorrectable = folder.optional_number(&format!("ch{channel}_ue_count"))?;
        if let Some(errors) = uncorrectable {
            sink.sample(&CHANNEL_UNCORRECTABLE, &labels, errors);
        }
    }
    Ok(())
}

/// The kernel's own label, `mc#0csrow#1channel#2`, is made readable, and no label is empty.
fn label(text: &str) -> String {
    if text.is_empty() {
        return "unknown".to_owned();
    }
    text.replace('#', "")
        .replace("csrow", "_csrow")
        .replace("channel", "_channel")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_made_readable() {
        for (text, expected) in [
            ("mc#0csrow#1channel#2", "mc0_csrow1_channel2"),
            ("CPU_SrcID#0_Chan#0_DIMM#1", "CPU_SrcID0_Chan0_DIMM1"),
            ("", "unknown"),
        ] {
            assert_eq!(label(text), expected);
        }
    }
}
