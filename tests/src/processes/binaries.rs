//! Where the programs are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::process::{Outcome, clean};

/// The aggregator and its tools.
pub const PROMONTORY: &str = "promontory";
/// The agent.
pub const AGENT: &str = "promontory-agent";

/// Returns the path of a program: in the folder that the variable `PROMONTORY_BIN_DIR` names, and otherwise built, once, beside the
/// test and in its profile.
///
/// # Panics
/// When it cannot be built.
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(folder);
    let path = FOLDER.join(name);
    assert!(path.exists(), "there is no {}", path.display());
    path
}

/// Runs a command of `promontory` to its end.
pub fn tool(arguments: &[impl AsRef<OsStr>]) -> Outcome {
    let mut command = clean(&binary(PROMONTORY), Path::new("/"));
    command.args(arguments);
    Outcome::of(&mut command)
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the tests says so where the programs are"
)]
fn given() -> Option<PathBuf> {
    std::env::var_os("PROMONTORY_BIN_DIR").map(PathBuf::from)
}

fn folder() -> PathBuf {
    given().unwrap_or_else(build)
}

/// Builds both programs into the folder of the profile that this process was built with.
fn build() -> PathBuf {
    let own = std::env::current_exe().expect("this process has a path");
    let profile = (own.ancestors().skip(1))
        .find(|folder| folder.file_name().is_some_and(|name| name != "deps"))
        .expect("a target folder");
    let target = profile.parent().expect("a target folder");
    let mut command = Command::new(env!("CARGO"));
    command
        .args([
            "build",
            "--quiet",
            "-p",
            "aggregator",
            "-p",
            "agent",
            "--bins",
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    let built = command.output().expect("cargo runs");
    assert!(
        built.status.success(),
        "the programs cannot be built:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    profile.to_owned()
}
