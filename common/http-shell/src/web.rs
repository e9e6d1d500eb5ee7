//! The web configuration of a server, read again when its file changes.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::{ClientAuth, TlsFiles, WebConfig};
use hyper::header::{HeaderName, HeaderValue};
use runtime::Tasks;
use transport::{ServerTls, ServerTlsConfig, TlsVersion};

use crate::auth::Authenticator;
use crate::{BindError, Listen};

/// The web configuration of one listener.
pub(crate) struct Web {
    path: Option<PathBuf>,
    tasks: Tasks,
    state: Mutex<State>,
}

struct State {
    /// Of the file that was looked at last, good or bad; `None` when there was none.
    seen: Option<Stamp>,
    current: Arc<WebState>,
}

/// What holds for the connections and requests that begin now.
pub(crate) struct WebState {
    pub(crate) tls: Option<Tls>,
    pub(crate) authenticator: Authenticator,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// TLS of the listener.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) server: Arc<ServerTls>,
    /// A client's certificate must have one of these names; empty: any.
    pub(crate) client_names: Arc<[String]>,
}

/// Changes when a file does, whether it is written in place or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    bytes: u64,
    inode: u64,
}

impl Web {
    /// Reads the file, if the listener has one; all mistakes come out here.
    pub(crate) fn open(listen: &Listen, tasks: &Tasks) -> Result<Self, BindError> {
        let path = match listen {
            Listen::Tcp { web_config, .. } => web_config.clone(),
            Listen::Unix { .. } | Listen::OpenUnix { .. } => None,
        };
        // Before reading: what changes meanwhile is read once more.
        let seen = path.as_deref().and_then(|path| Stamp::of(path).ok());
        let current = match &path {
            Some(path) => WebState::read(path, tasks)?,
            None => WebState::open_to_all(tasks),
        };
        let state = Mutex::new(State {
            seen,
            current: Arc::new(current),
        });
        Ok(Self {
            path,
            tasks: tasks.clone(),
            state,
        })
    }

    /// Returns what holds now. Costs one look at the file's dates; a changed file is read, a broken one reported, once, and what
    /// held before stays.
    pub(crate) fn now(&self) -> Arc<WebState> {
        let mut state = self.state();
        if let Some(path) = &self.path {
            let stamp = Stamp::of(path).ok();
            if stamp != state.seen {
                state.seen = stamp;
                self.reload(path, &mut state);
            }
        }
        Arc::clone(&state.current)
    }

    fn reload(&self, path: &Path, state: &mut State) {
        match WebState::read(path, &self.tasks) {
            Ok(read) if read.tls.is_some() == state.current.tls.is_some() => {
                tracing::info!(path = %path.display(), "took over the changed web configuration");
                state.current = Arc::new(read);
            }
            Ok(_) => {
                tracing::error!(path = %path.display(), "the changed web configuration switches TLS on or off, which needs a restart; the old one stays");
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!(path = %path.display(), %error, "cannot use the changed web configuration; the old one stays");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Two plain assignments: a panicking holder leaves at worst a stamp whose file is read with the next change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WebState {
    fn open_to_all(tasks: &Tasks) -> Self {
        Self {
            tls: None,
            authenticator: Authenticator::new(std::collections::BTreeMap::new(), tasks.clone()),
            headers: Vec::new(),
        }
    }

    fn read(path: &Path, tasks: &Tasks) -> Result<Self, BindError> {
        let config = WebConfig::read(path)?;
        let tls = config.tls.map(Tls::open).transpose();
        let tls = tls.map_err(|source| BindError::Tls {
            path: path.to_owned(),
            source,
        })?;
        let headers = config.headers.into_iter().map(|(name, value)| {
            let parsed = name.parse().ok().zip(value.parse().ok());
            parsed.ok_or_else(|| BindError::Header {
                path: path.to_owned(),
                name,
            })
        });
        Ok(Self {
            tls,
            headers: headers.collect::<Result<_, _>>()?,
            authenticator: Authenticator::new(config.users, tasks.clone()),
        })
    }
}

impl Tls {
    fn open(files: TlsFiles) -> Result<Self, transport::TlsFileError> {
        let authorities = files.client_authorities.unwrap_or_default();
        let config = ServerTlsConfig {
            cert_file: files.certificate,
            key_file: files.key,
            client_auth: match files.client_auth {
                ClientAuth::None => transport::ClientAuth::None,
                ClientAuth::VerifyIfGiven => transport::ClientAuth::IfGiven(authorities),
                ClientAuth::Require => transport::ClientAuth::Required(authorities),
            },
            min_version: if files.tls13_only {
                TlsVersion::Tls13
            } else {
                TlsVersion::Tls12
            },
            alpn: vec![b"http/1.1".to_vec()],
        };
        Ok(Self {
            server: Arc::new(ServerTls::open(config)?),
            client_names: files.client_allowed_sans.into(),
        })
    }
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let file = std::fs::metadata(path)?;
        Ok(Self {
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
            bytes: file.len(),
            inode: file.ino(),
        })
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Returns an error's message with those of its causes.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
