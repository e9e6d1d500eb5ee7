//! Pushed groups: who takes them, and pushes as jobs make them, twenty gauges each.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Lab;
use crate::daemon::{Daemon, Program};
use crate::http::Client;
use crate::proc::Proc;
use crate::waiting::Stopwatch;

/// Groups of a node with much pushing.
pub(crate) const GROUPS_OF_A_NODE: usize = 1_000;
/// Gauges of a group.
const GAUGES: usize = 20;
/// Jobs that push at the same time.
const CLIENTS: usize = 4;

/// Where pushes go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gateway {
    address: SocketAddr,
    /// What stands before the path of a push.
    base: &'static str,
}

/// What some time of pushing came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PushRun {
    pub(crate) pushes: u64,
    pub(crate) took: Duration,
    /// Of the program that took them.
    pub(crate) cpu: Duration,
    /// Of that program, at the end.
    pub(crate) resident: u64,
}

impl Gateway {
    pub(crate) const fn of_agent(agent: &Daemon) -> Self {
        Self {
            address: agent.web(),
            base: "/push",
        }
    }

    /// Starts Debian's Pushgateway; its persistence is off, as by default.
    pub(crate) fn start_peer(lab: &Lab) -> Result<(Daemon, Self)> {
        let daemon = lab.start_peer(Program::Pushgateway, &["--log.level=error"])?;
        let gateway = Self {
            address: daemon.web(),
            base: "",
        };
        Ok((daemon, gateway))
    }

    /// Makes groups by one push each.
    pub(crate) fn fill(self, groups: usize) -> Result<()> {
        let mut client = Client::new(self.address);
        (0..groups).try_for_each(|group| self.push(&mut client, group, group as u64))
    }

    /// Pushes to `groups` groups in turn, several clients at a time, for this long.
    pub(crate) fn run(self, process: &Proc, groups: usize, within: Duration) -> Result<PushRun> {
        let before = process.cpu()?;
        let watch = Stopwatch::start();
        let pushes = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|first| {
                    let watch = &watch;
                    scope.spawn(move || {
                        let mut client = Client::new(self.address);
                        let mut pushes = 0;
                        while watch.elapsed() < within {
                            let group = (first + pushes * CLIENTS) % groups;
                            self.push(&mut client, group, pushes as u64)?;
                            pushes += 1;
                        }
                        anyhow::Ok(pushes as u64)
                    })
                })
                .collect();
            clients.into_iter().try_fold(0, |sum, client| {
                let pushes = client.join().ok().context("a client panicked")?;
                anyhow::Ok(sum + pushes?)
            })
        })?;
        Ok(PushRun {
            pushes,
            took: watch.elapsed(),
            cpu: process.cpu()?.saturating_sub(before),
            resident: process.resident()?.now,
        })
    }

    /// Pushes twenty gauges to a group; `value` makes them others than before.
    fn push(self, client: &mut Client, group: usize, value: u64) -> Result<()> {
        let mut body = String::new();
        for gauge in 0..GAUGES {
            let value = value * 31 + gauge as u64 * 17;
            // Writing to a String cannot fail.
            write!(
                body,
                "# TYPE compare_pushed_{gauge:02} gauge\ncompare_pushed_{gauge:02} {value}\n"
            )
            .unwrap_or_default();
        }
        let path = format!("{}/metrics/job/compare/instance/{group}", self.base);
        client.put(&path, body.as_bytes())?.success()?;
        Ok(())
    }
}

impl PushRun {
    pub(crate) fn per_second(&self) -> f64 {
        self.pushes as f64 / self.took.as_secs_f64()
    }
}
