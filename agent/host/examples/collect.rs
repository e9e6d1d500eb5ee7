//! Prints one text exposition of this machine, or measures collections: `collect [--bench ROUNDS]`.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clock::{Clock, SystemClock};
use exposition::{Format, Writer};
use host::{CohortBuilder, Host, HostConfig, MetricFamily, Tier};
use model::TimestampMs;
use rows::CohortId;
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<(), Box<dyn Error>> {
    let clock = Arc::new(SystemClock::new());
    let mut host = Host::new(&HostConfig::default(), Arc::clone(&clock) as _)?;
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        None => std::io::stdout().write_all(text(&host.expose()).as_bytes())?,
        Some("--bench") => {
            let rounds = arguments.next().ok_or("--bench needs a number")?.parse()?;
            bench(&mut host, &*clock, rounds)?;
        }
        Some(other) => return Err(format!("unknown argument {other}").into()),
    }
    Ok(())
}

fn text(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    let mut writer = Writer::new(Format::Text, &mut text);
    for family in families {
        family.write(&mut writer);
    }
    writer.finish();
    text
}

/// Prints the CPU time of this process per collection of the fast tier into a row.
fn bench(host: &mut Host, clock: &dyn Clock, rounds: u32) -> Result<(), Box<dyn Error>> {
    let labels = [("job", "node-exporter"), ("instance", "n1")];
    let mut builder = CohortBuilder::new(CohortId(0), Arc::from("node/fast"), &labels);
    let mut slots = 0;
    let mut collect = |host: &mut Host| {
        let mut sink = builder.begin(TimestampMs::from(clock.wall()));
        host.collect(Tier::Fast, &mut sink);
        slots = sink.finish().row.presence.count();
    };
    collect(host);
    let (cpu, wall) = (cpu_time(), clock.monotonic());
    for _ in 0..rounds {
        collect(host);
    }
    let cpu = cpu_time().saturating_sub(cpu) / rounds.max(1);
    let wall = clock.monotonic().saturating_since(wall) / rounds.max(1);
    writeln!(
        std::io::stdout(),
        "fast tier: {slots} samples, {} us CPU and {} us wall per collection",
        cpu.as_micros(),
        wall.as_micros()
    )?;
    Ok(())
}

fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
