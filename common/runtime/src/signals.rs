//! What the operating system asks of the process.

use std::io;

/// A request from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Stop in order (SIGINT or SIGTERM). A second one means: at once.
    Shutdown,
    /// Read the configuration again (SIGHUP).
    Reload,
}

/// The stream of signals; from the moment it exists the process no longer dies by them.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Installs the handlers. Must be called within the runtime.
    pub fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. Cancelling loses none.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Signal::Shutdown,
            Some(()) = self.terminate.recv() => Signal::Shutdown,
            Some(()) = self.hang_up.recv() => Signal::Reload,
            else => std::future::pending().await,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Installs the handlers. Must be called within the runtime.
    pub fn install() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next signal. Cancelling loses none.
    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "the same signature everywhere"
    )]
    pub async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Shutdown,
            Err(_cannot_listen) => std::future::pending().await,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hang_up_asks_for_a_reload() {
        let mut signals = Signals::install().unwrap();
        let me = std::process::id().to_string();
        let kill = std::process::Command::new("kill")
            .args(["-HUP", &me])
            .status();
        assert!(kill.unwrap().success());
        assert_eq!(signals.next().await, Signal::Reload);
    }
}
