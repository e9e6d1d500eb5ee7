//! Our own programs, built in the profile that this one was built with.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Builds the programs of these packages beside this one, and returns the folder.
pub(crate) fn build(packages: &[&str]) -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program has no path")?;
    let profile = own.parent().context("a target folder")?;
    let target = profile.parent().context("a target folder")?;
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--bins"]);
    command.args(packages.iter().flat_map(|package| ["-p", package]));
    command
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if is_release(profile) {
        command.arg("--release");
    }
    let built = command.output().context("cargo does not run")?;
    ensure!(
        built.status.success(),
        "{} cannot be built; fix it, or name the folder of programs with --bin.dir:\n{}",
        packages.join(" and "),
        String::from_utf8_lossy(&built.stderr)
    );
    Ok(profile.to_owned())
}

fn is_release(profile: &Path) -> bool {
    profile.file_name().is_some_and(|name| name == "release")
}
