//! The world that a pair is tried in.
//!
//! Each *episode* is an alert in a group of its own that fires, goes on for some minutes, and is over. Both sides are sent all alerts
//! every minute, within seconds of each other. So of each episode exactly two messages are due: that it fires, and that it is over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use model::{Matcher, TimestampMs};
use template::Zone;
use wire::Share;

use super::super::super::{AttemptId, Pipeline, PipelineLimits, Record, ToAttempt};
use super::super::{PairConfig, PairPlace};
use crate::{
    Change, Config, Failure, FailureKind, MatcherMode, Notification, Outcome, Posted, Remembered,
    SilenceRequest,
};

pub(super) const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
/// How long something happens; then all is mended, and what is open comes to its end.
const PLAY: i64 = 60 * MINUTE;
const QUIET: i64 = 40 * MINUTE;
/// Whoever hears nothing for so long takes the link to be down.
const SILENCE: i64 = 5 * SECOND;

const CONFIG: &str = "
route: {receiver: ops, group_by: [alertname], group_wait: 10s, group_interval: 1m, repeat_interval: 12h}
receivers: [{name: ops, webhook_configs: [{url: 'http://x.example'}]}]
";

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// The receiver is slow, and fails for one side at a time.
    pub(super) receiver: bool,
    /// Either side dies, and comes back.
    pub(super) deaths: bool,
    /// The link is cut.
    pub(super) cuts: bool,
}

/// One of the two, dead or alive.
struct Side {
    pipeline: Option<Pipeline>,
    disk: BTreeMap<(&'static str, Vec<u8>), Vec<u8>>,
    /// What its clock is ahead by.
    skew: i64,
    /// Counts its lives: what an earlier one began ends in nothing.
    life: u32,
    /// When this one began.
    since: i64,
    alone: u64,
}

struct Episode {
    name: String,
    ends_at: i64,
    /// Whether it is silenced for all its time.
    is_silenced: bool,
}

/// A message that the receiver has taken.
struct Heard {
    at: i64,
    side: usize,
    text: String,
}

enum Happening {
    Minute,
    /// All alerts that fired at a time, and those that were over lately, come to a side.
    Alerts(usize, i64),
    /// The receiver takes a message.
    Hears(usize, String),
    /// An attempt of a side's life is over.
    Over(usize, u32, AttemptId, Outcome),
    /// A share arrives, over the link of this number.
    Arrives(usize, u32, Share),
    /// A side notices that the link of this number is down.
    Notices(usize, u32),
    LinkUp,
    Cut,
    Mend,
    Dies(usize),
    Lives(usize),
    Begins,
    FailsFor(Option<usize>),
}

pub(super) struct World {
    rng: Rng,
    faults: Faults,
    now: i64,
    sides: [Side; 2],
    /// What will happen, by time and then by when it was decided.
    agenda: BTreeMap<(i64, u64), Happening>,
    decided: u64,
    episodes: Vec<Episode>,
    heard: Vec<Heard>,
    link: u32,
    is_up: bool,
    is_cut: bool,
    /// Shares of one side arrive in order.
    arrives: [i64; 2],
    fails_for: Option<usize>,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let mut rng = Rng::with_seed(seed);
        let sides = [0, 1].map(|_| Side {
            pipeline: None,
            disk: BTreeMap::new(),
            skew: rng.i64(-5 * SECOND..5 * SECOND),
            life: 0,
            since: 0,
            alone: 0,
        });
        let mut world = Self {
            rng,
            faults,
            now: 10 * MINUTE,
            sides,
            agenda: BTreeMap::new(),
            decided: 0,
            episodes: Vec::new(),
            heard: Vec::new(),
            link: 0,
            is_up: false,
            is_cut: false,
            arrives: [0; 2],
            fails_for: None,
        };
        for side in 0..2 {
            world.start(side);
        }
        world.after(0..MINUTE, Happening::Minute);
        world
    }

    fn after(&mut self, wait: std::ops::Range<i64>, happening: Happening) {
        let at = self.now + self.rng.i64(wait);
        self.decided += 1;
        self.agenda.insert((at, self.decided), happening);
    }

    /// Lets everything happen, and then come to its end.
    pub(super) fn play(&mut self) {
        for _ in 0..12 {
            self.after(0..PLAY, Happening::Begins);
        }
        if self.faults.receiver {
            for part in 0..PLAY / (10 * MINUTE) {
                let side = self.rng.usize(..2);
                let from = part * 10 * MINUTE;
                self.after(from..from + 5 * MINUTE, Happening::FailsFor(Some(side)));
            }
        }
        if self.faults.cuts {
            for _ in 0..4 {
                self.after(0..PLAY, Happening::Cut);
                self.after(0..PLAY, Happening::Mend);
            }
        }
        if self.faults.deaths {
            for side in [0, 1, 0, 1] {
                self.after(3 * MINUTE..PLAY, Happening::Dies(side));
                self.after(0..PLAY, Happening::Lives(side));
            }
        }
        self.run_for(PLAY);
        for happening in [
            Happening::Mend,
            Happening::Lives(0),
            Happening::Lives(1),
            Happening::FailsFor(None),
        ] {
            self.happen(happening);
        }
        self.run_for(QUIET);
    }

    /// Lets time pass.
    pub(super) fn run_for(&mut self, time: i64) {
        let end = self.now + time;
        loop {
            for side in 0..2 {
                self.send(side);
            }
            let polls = [0, 1].map(|side| {
                let pipeline = self.sides[side].pipeline.as_ref();
                let at = pipeline.map_or(i64::MAX, |one| one.next_poll().0);
                at.saturating_sub(self.sides[side].skew).max(self.now)
            });
            let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let next = next.unwrap_or(i64::MAX);
            let soonest = polls[0].min(polls[1]).min(next);
            if soonest > end {
                self.now = end;
                return;
            }
            self.now = soonest;
            if let Some(side) = (0..2).find(|side| polls[*side] == soonest) {
                self.poll(side);
            } else if let Some((_, happening)) = self.agenda.pop_first() {
                self.happen(happening);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Minute => {
                self.alerts_are_sent(0);
                self.after(MINUTE..MINUTE + 1, Happening::Minute);
            }
            Happening::Alerts(side, sent_at) => self.alerts_come(side, sent_at),
            Happening::Hears(side, text) => {
                let at = self.now;
                self.heard.push(Heard { at, side, text });
            }
            Happening::Over(side, life, id, outcome) => {
                if self.sides[side].life == life {
                    self.change(side, |pipeline, now| pipeline.finished(id, outcome, now));
                }
            }
            Happening::Arrives(side, link, share) => {
                if self.link == link && self.is_up {
                    self.change(side, |pipeline, now| pipeline.peer_says(share, now));
                }
            }
            Happening::Notices(side, link) => {
                if self.link == link {
                    self.change(side, |pipeline, now| pipeline.peer_went(now));
                }
            }
            Happening::LinkUp => self.link_up(),
            Happening::Cut => {
                self.is_cut = true;
                self.link_down();
            }
            Happening::Mend => {
                self.is_cut = false;
                self.after(0..10 * SECOND, Happening::LinkUp);
            }
            Happening::Dies(side) => {
                // There is always one who has lived long enough to know everything.
                let other = &self.sides[1 - side];
                if other.pipeline.is_some() && other.since + 3 * MINUTE <= self.now {
                    self.kill(side);
                }
            }
            Happening::Lives(side) => self.start(side),
            Happening::Begins => {
                // With both alive and in touch, a silence is everywhere at once.
                let is_calm = self.sides.iter().all(|side| side.pipeline.is_some()) && self.is_up;
                let is_silenced = is_calm && self.rng.u32(..4) == 0;
                self.begin_episode(is_silenced);
            }
            Happening::FailsFor(side) => {
                self.fails_for = side;
                if side.is_some() {
                    self.after(2 * MINUTE..2 * MINUTE + 1, Happening::FailsFor(None));
                }
            }
        }
    }

    /// An episode begins: both sides are sent the alert within seconds. Returns when.
    pub(super) fn begin_episode(&mut self, is_silenced: bool) -> i64 {
        let name = format!("e{}", self.episodes.len());
        let ends_at = self.now + self.rng.i64(6 * MINUTE..20 * MINUTE);
        if is_silenced {
            let side = self.rng.usize(..2);
            let (matcher, id) = (Matcher::equal("alertname", &*name), name.clone());
            self.change(side, |pipeline, now| {
                let request = SilenceRequest {
                    matcher_sets: vec![vec![matcher]],
                    starts_at: now,
                    ends_at: now.saturating_add(Duration::from_secs(3_600)),
                    ..SilenceRequest::default()
                };
                let set = pipeline.set_silence(request, id, now);
                set.expect("there is room");
            });
        }
        self.episodes.push(Episode {
            name,
            ends_at,
            is_silenced,
        });
        self.alerts_are_sent(SECOND);
        self.now
    }

    fn alerts_are_sent(&mut self, at_least: i64) {
        for side in 0..2 {
            let alerts = Happening::Alerts(side, self.now);
            self.after(at_least..5 * SECOND, alerts);
        }
    }

    fn alerts_come(&mut self, side: usize, sent_at: i64) {
        let skew = self.sides[side].skew;
        let lately = (self.episodes.iter()).filter(|one| one.ends_at + 15 * MINUTE > sent_at);
        let posted: Vec<Posted<'_>> = lately
            .map(|one| Posted {
                labels: [("alertname", one.name.clone())].into_iter().collect(),
                ends_at: (one.ends_at <= sent_at).then_some(TimestampMs(one.ends_at + skew)),
                ..Posted::default()
            })
            .collect();
        self.change(side, |pipeline, now| drop(pipeline.take(posted, now)));
    }

    /// Changes a side, if it lives; what has changed is on its disk then.
    fn change(&mut self, side: usize, work: impl FnOnce(&mut Pipeline, TimestampMs)) {
        let now = TimestampMs(self.now + self.sides[side].skew);
        let Side { pipeline, disk, .. } = &mut self.sides[side];
        let Some(pipeline) = pipeline else { return };
        work(pipeline, now);
        for Change { table, key, value } in pipeline.drain_changes() {
            match value {
                Some(value) => drop(disk.insert((table, key), value)),
                None => drop(disk.remove(&(table, key))),
            }
        }
    }

    fn poll(&mut self, side: usize) {
        let mut attempts = Vec::new();
        self.change(side, |pipeline, now| attempts = pipeline.poll(now));
        for ToAttempt { id, notification } in attempts {
            self.attempt(side, id, &notification);
        }
    }

    fn attempt(&mut self, side: usize, id: AttemptId, notification: &Notification) {
        let slow = self.faults.receiver && self.rng.u32(..4) == 0;
        let takes = if slow {
            self.rng.i64(SECOND..25 * SECOND)
        } else {
            self.rng.i64(10..500)
        };
        let life = self.sides[side].life;
        let outcome = if self.fails_for == Some(side) {
            Outcome::Retry {
                after: None,
                failure: Failure {
                    kind: FailureKind::Server,
                    reason: "status 500".to_owned(),
                },
            }
        } else {
            let text = text(notification);
            self.after(takes / 2..takes / 2 + 1, Happening::Hears(side, text));
            Outcome::Delivered {
                remembered: Remembered::new(),
            }
        };
        self.after(takes..takes + 1, Happening::Over(side, life, id, outcome));
    }

    /// Puts what a side has to say on its way.
    fn send(&mut self, side: usize) {
        if !self.is_up {
            return;
        }
        let mut shares = VecDeque::new();
        self.change(side, |pipeline, now| {
            while let Some(share) = pipeline.next_share(now) {
                shares.push_back(share);
            }
        });
        for share in shares {
            let latency = self.rng.i64(1..200);
            let at = (self.now + latency).max(self.arrives[side]);
            self.arrives[side] = at;
            self.decided += 1;
            let arrives = Happening::Arrives(1 - side, self.link, share);
            self.agenda.insert((at, self.decided), arrives);
        }
    }

    fn link_up(&mut self) {
        let both_live = self.sides.iter().all(|side| side.pipeline.is_some());
        if self.is_up || self.is_cut || !both_live {
            return;
        }
        self.link += 1;
        self.is_up = true;
        for side in 0..2 {
            self.change(side, |pipeline, now| {
                pipeline.peer_went(now);
                pipeline.peer_came();
            });
        }
    }

    fn link_down(&mut self) {
        if std::mem::take(&mut self.is_up) {
            for side in 0..2 {
                self.after(0..SILENCE, Happening::Notices(side, self.link));
            }
        }
    }

    pub(super) fn kill(&mut self, side: usize) {
        if let Some(pipeline) = self.sides[side].pipeline.take() {
            self.sides[side].life += 1;
            self.sides[side].alone += pipeline.counts().pair.attempts_alone;
            self.link_down();
        }
    }

    pub(super) fn start(&mut self, side: usize) {
        if self.sides[side].pipeline.is_some() {
            return;
        }
        let now = TimestampMs(self.now + self.sides[side].skew);
        let config = Config::parse(
            Path::new("am.yml"),
            CONFIG,
            MatcherMode::Fallback,
            &Zone::utc(),
        );
        let config = Arc::new(config.expect("it is good"));
        let pair = PairConfig {
            place: [PairPlace::First, PairPlace::Second][side],
            peer_timeout: Duration::from_secs(15),
            settle_timeout: Duration::from_secs(60),
        };
        let limits = PipelineLimits::default();
        let mut pipeline = Pipeline::new(config, String::new(), limits).in_pair(pair, now);
        let mut records = Vec::new();
        for table in Pipeline::TABLES {
            let of_table = self.sides[side].disk.iter();
            let of_table = of_table.filter(|((one, _), _)| one == table);
            records.extend(of_table.map(|((_, key), value)| Record {
                table,
                key: key.clone(),
                value: value.clone(),
            }));
        }
        pipeline.restore(records, now);
        self.sides[side].pipeline = Some(pipeline);
        self.sides[side].since = self.now;
        self.after(0..5 * SECOND, Happening::LinkUp);
    }

    /// What was due and was not told.
    pub(super) fn lost(&self) -> Vec<String> {
        let mut lost = Vec::new();
        for episode in self.episodes.iter().filter(|one| !one.is_silenced) {
            let of = |sign: &str| {
                let text = format!("{sign}{}", episode.name);
                self.heard.iter().rposition(|heard| heard.text == text)
            };
            if of("+").is_none() || of("-") < of("+") {
                lost.push(episode.name.clone());
            }
        }
        lost
    }

    /// What was told twice, or not due.
    pub(super) fn doubled(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let silenced = self.episodes.iter().filter(|one| one.is_silenced);
        let silenced: Vec<String> = silenced
            .flat_map(|one| [format!("+{}", one.name), format!("-{}", one.name)])
            .collect();
        let doubled = self.heard.iter().filter(|heard| {
            let is_new = seen.insert(&heard.text);
            !is_new || silenced.contains(&heard.text)
        });
        doubled
            .map(|heard| format!("{} at {} by {}", heard.text, heard.at, heard.side))
            .collect()
    }

    /// When the first message was taken.
    pub(super) fn first_told(&self) -> i64 {
        self.heard.first().map_or(i64::MAX, |heard| heard.at)
    }

    /// How many messages each side has told.
    pub(super) fn told_by(&self) -> [usize; 2] {
        [0, 1].map(|side| self.heard.iter().filter(|heard| heard.side == side).count())
    }

    /// How many attempts were made without the other.
    pub(super) fn alone(&self) -> u64 {
        let sides = self.sides.iter();
        let now = sides.map(|side| {
            let pipeline = side.pipeline.as_ref();
            let now = pipeline.map_or(0, |one| one.counts().pair.attempts_alone);
            side.alone + now
        });
        now.sum()
    }

    /// Both have the same silences and the same log, in memory and on their disks.
    pub(super) fn assert_converged(&self) {
        let silences = self.sides.each_ref().map(|side| {
            let pipeline = side.pipeline.as_ref().expect("it lives");
            pipeline.silences().cloned().collect::<Vec<_>>()
        });
        assert_eq!(silences[0], silences[1]);
        for table in ["silences", "notifications"] {
            let of = |side: &Side| {
                let of_table = side.disk.iter().filter(|((one, _), _)| *one == table);
                let of_table = of_table.map(|((_, key), value)| (key.clone(), value.clone()));
                of_table.collect::<Vec<_>>()
            };
            assert_eq!(of(&self.sides[0]), of(&self.sides[1]), "{table}");
        }
        let log = self.sides[0].disk.keys();
        assert!(log.filter(|(table, _)| *table == "notifications").count() > 0);
    }
}

/// What a message says: `+NAME` or `-NAME`.
fn text(notification: &Notification) -> String {
    let alerts = notification.data.alerts.iter().map(|alert| {
        let sign = if alert.status == "firing" { '+' } else { '-' };
        format!("{sign}{}", alert.labels["alertname"])
    });
    alerts.collect::<Vec<_>>().join(" ")
}
