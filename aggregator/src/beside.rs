//! What lies in the data folder beside the store, and belongs into a snapshot of it: the keys, by which agents know the aggregator, and the
//! databases of tokens, agents, rules and alerts. A process that is started on the snapshot goes on as this one.
//!
//! Left out: what is made anew at each start (lock, socket), earlier snapshots, and the folder of the agent of `promontory up`, which joins
//! again by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alerting::Alerting;
use files::{FileSystem, KeyValue, Open, SharedFileSystem, write_atomically};

use crate::{alerting_service, pair_service, service};

/// The largest file with keys and certificates: these have some KiB.
const KEYS_BYTES_MAX: u64 = 256 << 10;
/// What files with keys and certificates end in.
const KEYS: &str = "pem";

/// The parts of the data folder beside the store.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) files: SharedFileSystem,
    /// The data folder.
    pub(crate) folder: PathBuf,
    /// Of tokens and agents.
    pub(crate) service: Arc<KeyValue>,
    pub(crate) rules: Arc<KeyValue>,
    pub(crate) alerting: Alerting,
    /// Of the tokens of the pair, where it is joined here.
    pub(crate) pair: Option<Arc<KeyValue>>,
}

impl Beside {
    /// Copies all parts into a folder of the same form, durably, each as it is at one moment.
    pub(crate) fn copy_into(&self, to: &Path) -> io::Result<()> {
        for folder in [service::AUTHORITY_FOLDER, pair_service::FOLDER] {
            copy_keys(&*self.files, &self.folder.join(folder), &to.join(folder))?;
        }
        let copy = |database: &KeyValue, path: &str| database.copy_to(&to.join(path)).map_err(told);
        copy(&self.service, service::DATABASE)?;
        copy(&self.rules, service::RULES_DATABASE)?;
        if let Some(pair) = &self.pair {
            let path = Path::new(pair_service::FOLDER).join(pair_service::DATABASE);
            pair.copy_to(&to.join(path)).map_err(told)?;
        }
        let path = to.join(alerting_service::DATABASE);
        self.alerting.copy_to(&path).map_err(told)
    }
}

/// Copies the keys and certificates of a folder, if there is one, readable by their owner only.
fn copy_keys(files: &dyn FileSystem, from: &Path, to: &Path) -> io::Result<()> {
    if !files.exists(from)? {
        return Ok(());
    }
    files.create_folders(to)?;
    for entry in files.list(from)? {
        let path = from.join(&entry.name);
        if entry.folder || path.extension().is_none_or(|extension| extension != KEYS) {
            continue;
        }
        let file = files.open(&path, Open::read())?;
        let length = file.len()?;
        if length > KEYS_BYTES_MAX {
            return Err(io::Error::other(format!(
                "{} has {length} bytes, more than keys and certificates take ({KEYS_BYTES_MAX}); move it away",
                path.display()
            )));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_exact_at(0, &mut bytes)?;
        write_atomically(files, &to.join(&entry.name), &bytes, Some(0o600)).map_err(told)?;
    }
    Ok(())
}

/// Returns an error that says what those behind it say.
fn told(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(format!("{:#}", anyhow::Error::new(error)))
}
