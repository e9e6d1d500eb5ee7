//! Measures how fast bodies become rows, in CPU time of one thread: `bodies FILE [ROUNDS]`, a text exposition such as
//! `promontory-agent collect` prints.
//!
//! Once with nothing but values changing from body to body, and once with a series that comes and goes, so that each is parsed.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use model::{Labels, TimestampMs};
use rows::CohortId;
use rustix::time::{ClockId, clock_gettime};
use scrape::{CohortIds, Format, Job, Sampler, read_jobs};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("which file?")?;
    let rounds = arguments.next().map_or(Ok(200), |rounds| rounds.parse())?;
    let body = std::fs::read_to_string(file)?;
    let other = changed(&body);
    let jobs = read_jobs(Path::new("bench"), "scrape_configs: [{job_name: bench}]")?;
    let job = jobs.first().ok_or("no job")?;
    let formats = [
        (
            "text, values change",
            Format::Text,
            body.clone(),
            other.clone(),
        ),
        (
            "text, a series comes and goes",
            Format::Text,
            body.clone(),
            format!("{other}one_more 1\n"),
        ),
    ];
    for (what, format, one, two) in formats {
        let figures = measure(job, format, [one.as_bytes(), two.as_bytes()], rounds)?;
        writeln!(std::io::stdout(), "{what}: {figures}")?;
    }
    Ok(())
}

/// Returns the body with three of ten values changed, which is what an interval changes on a node.
fn changed(body: &str) -> String {
    let mut out = String::new();
    for (number, line) in body.lines().enumerate() {
        match line.rsplit_once(' ') {
            Some((key, value)) if !line.starts_with('#') && number % 10 < 3 => {
                let value: f64 = value.parse().unwrap_or_default();
                out.push_str(&format!("{key} {}\n", gofloat::format_g(value + 1.0)));
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

fn measure(
    job: &Job,
    format: Format,
    bodies: [&[u8]; 2],
    rounds: u32,
) -> Result<String, Box<dyn Error>> {
    let target = Labels::from_pairs([("job", "bench"), ("instance", "i")])?;
    let mut sampler = Sampler::new(CohortIds::from(CohortId(0)), "bench", target);
    let (mut bytes, mut samples, mut replays) = (0, 0, 0);
    let mut begun = cpu_time();
    for round in 0..rounds.saturating_add(2) {
        if round == 2 {
            (bytes, samples, replays, begun) = (0, 0, 0, cpu_time());
        }
        let body = bodies[usize::from(round % 2 == 1)];
        let at = TimestampMs(i64::from(round) * 1_000);
        let scraped = sampler.scrape(job, Ok((format, body)), at, Duration::ZERO);
        if let Some(error) = scraped.error {
            return Err(error.into());
        }
        bytes += body.len();
        samples += scraped.tally.kept;
        replays += u32::from(scraped.tally.replayed);
    }
    let cpu = cpu_time().saturating_sub(begun).as_secs_f64();
    Ok(format!(
        "{:.0} MB/s, {:.0} ns/sample ({replays} of {rounds} replayed, {} bytes and {} samples a body, {} bytes remembered)",
        bytes as f64 / cpu / 1e6,
        cpu * 1e9 / samples as f64,
        bytes / rounds as usize,
        samples / u64::from(rounds),
        sampler.memory_bytes(),
    ))
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
