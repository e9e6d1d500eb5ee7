//! The size of the agent's program, symbols stripped.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::daemon::Program;
use crate::lab::Lab;
use crate::rows::Row;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "binary",
    method: "bytes of the program after strip(1), as it was built; Debian's are stripped already",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let size = |program| Cell::of(megabytes(lab, program));
    let mut line = Line::ours("stripped binary", "MB", size(Program::Agent));
    line.peers = [size(Program::NodeExporter), size(Program::Pushgateway)];
    line.bound = Some(Bound::at_most(14.0, 12.0));
    vec![line]
}

fn megabytes(lab: &Lab, program: Program) -> Result<f64> {
    ensure!(
        program == Program::Agent || lab.programs.peers,
        "{} is left out",
        program.name()
    );
    let path = program.path(&lab.programs.ours)?;
    let stripped = tempfile::NamedTempFile::new_in(&lab.work)?;
    strip(&path, stripped.path())?;
    Ok(fs::metadata(stripped.path())?.len() as f64 / 1e6)
}

fn strip(program: &Path, into: &Path) -> Result<()> {
    let mut command = Command::new("strip");
    let output = command.arg("-o").arg(into).arg(program).output();
    let output = output.context("strip, of Debian's package binutils, does not run")?;
    ensure!(
        output.status.success(),
        "strip: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
