//! Where a server listens.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::Mistakes;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::Caller;

/// Where to listen.
#[derive(Clone, Debug)]
pub enum Listen {
    /// `HOST:PORT`; port 0 takes a free one. `web_config` is exporter-toolkit's file.
    Tcp {
        /// The address.
        address: String,
        /// The web configuration file, when there is one.
        web_config: Option<PathBuf>,
    },
    /// A unix socket; an old one in its place is removed. Only root and the owner of this process may call.
    Unix {
        /// The socket.
        path: PathBuf,
    },
    /// The same, but whoever reaches the socket may call, and is known by the cgroup of its process.
    OpenUnix {
        /// The socket.
        path: PathBuf,
        /// Where procfs is mounted.
        procfs: PathBuf,
    },
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}; choose another with --web.listen-address")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        reason: io::Error,
    },
    /// The socket cannot be made.
    #[error(
        "cannot listen on the unix socket {path}: {reason}; choose a folder where it can be made, with a path of less than 100 bytes"
    )]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The web configuration is wrong.
    #[error(transparent)]
    WebConfig(#[from] Mistakes),
    /// A header of the web configuration cannot be sent.
    #[error("{path}: header {name} has a value that no header can have; use printable ASCII")]
    Header {
        /// The web configuration file.
        path: PathBuf,
        /// The header.
        name: String,
    },
    /// The certificates of the web configuration cannot be used.
    #[error("cannot use the certificates that {path} names")]
    Tls {
        /// The web configuration file.
        path: PathBuf,
        /// What is wrong with them.
        source: transport::TlsFileError,
    },
}

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        path: PathBuf,
        /// Where callers are looked up; `None`: the owner alone may call.
        procfs: Option<PathBuf>,
    },
}

/// An accepted connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    pub(crate) async fn bind(listen: &Listen) -> Result<Self, BindError> {
        match listen {
            Listen::Tcp { address, .. } => {
                let listener = TcpListener::bind(address).await;
                listener.map(Self::Tcp).map_err(|reason| BindError::Listen {
                    address: address.clone(),
                    reason,
                })
            }
            Listen::Unix { path } => Self::unix(path, None),
            Listen::OpenUnix { path, procfs } => Self::unix(path, Some(procfs.clone())),
        }
    }

    fn unix(path: &Path, procfs: Option<PathBuf>) -> Result<Self, BindError> {
        let mode = if procfs.is_some() { 0o666 } else { 0o600 };
        match bind_unix(path, mode) {
            Ok(listener) => Ok(Self::Unix {
                listener,
                path: path.to_owned(),
                procfs,
            }),
            Err(reason) => Err(BindError::Socket {
                path: path.to_owned(),
                reason,
            }),
        }
    }

    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix { .. } => None,
        }
    }

    /// Returns the user that this process runs as, by the socket's file, which belongs to who made it; 0 for TCP.
    pub(crate) fn owner_uid(&self) -> u32 {
        match self {
            Self::Tcp(_) => 0,
            Self::Unix { path, .. } => std::fs::metadata(path).map_or(0, |file| file.uid()),
        }
    }

    /// Waits for a connection. Cancelling loses none.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Caller)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "answers may be delayed: TCP_NODELAY not set");
                }
                Ok((
                    Stream::Tcp(stream),
                    Caller::Remote {
                        address,
                        user: None,
                    },
                ))
            }
            Self::Unix {
                listener, procfs, ..
            } => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?;
                let uid = peer.uid();
                let caller = match procfs {
                    None => Caller::Local { uid },
                    // Now, not when it asks for something: by then the process may be gone, and its number another's.
                    Some(procfs) => Caller::Process {
                        uid,
                        cgroup: cgroup_of(peer.pid(), procfs),
                    },
                };
                Ok((Stream::Unix(stream), caller))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, .. } = self
            && let Err(error) = std::fs::remove_file(&*path)
        {
            tracing::debug!(path = %path.display(), %error, "socket not removed");
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Unix(_) => "Unix",
        })
    }
}

/// Returns what the kernel says of a process' cgroup; nothing when it cannot be seen from here.
fn cgroup_of(pid: Option<i32>, procfs: &Path) -> Arc<str> {
    let pid = pid.filter(|pid| *pid > 0);
    let cgroup = pid.and_then(|pid| {
        let file = procfs.join(pid.to_string()).join("cgroup");
        std::fs::read_to_string(file).ok()
    });
    cgroup.unwrap_or_default().into()
}

/// With mode 0600, only root and the owner may connect: the kernel checks the mode, and each call's user id is checked again.
fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is something else of this name",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}
