use std::path::Path;

use model::Matcher;
use proptest::prelude::*;
use template::Zone;

use super::*;
use crate::record::{INTENTS, NOTIFICATIONS};
use crate::{Failure, MatcherMode, Outcome, Remembered, SilenceRequest};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// A pipeline, a clock, and receivers that take everything unless told otherwise.
struct World {
    pipeline: Pipeline,
    now: i64,
    /// What the disk has.
    store: BTreeMap<(&'static str, Vec<u8>), Vec<u8>>,
    /// Time, lane, and the alerts as in `+a -b`.
    told: Vec<String>,
    outcome: Outcome,
    /// Whether a receiver that gives no answer takes the message all the same.
    takes: bool,
}

fn config(text: &str) -> Arc<Config> {
    let path = Path::new("am.yml");
    let config = Config::parse(path, text, MatcherMode::Fallback, &Zone::utc());
    Arc::new(config.unwrap())
}

const PLAIN: &str = "
route: {receiver: ops, group_by: [g], group_wait: 10s, group_interval: 1m, repeat_interval: 1h}
inhibit_rules: [{source_matchers: [role=source], target_matchers: [role=target]}]
receivers: [{name: ops, webhook_configs: [{url: 'http://x.example'}]}]
";

fn delivered() -> Outcome {
    Outcome::Delivered {
        remembered: Remembered::new(),
    }
}

fn retry(after: Option<u64>) -> Outcome {
    let failure = Failure {
        kind: FailureKind::Server,
        reason: "status 500".to_owned(),
    };
    Outcome::Retry {
        after: after.map(Duration::from_secs),
        failure,
    }
}

fn no_answer() -> Outcome {
    let failure = Failure {
        kind: FailureKind::Timeout,
        reason: "no answer".to_owned(),
    };
    Outcome::Retry {
        after: None,
        failure,
    }
}

impl World {
    fn new(text: &str) -> Self {
        Self {
            pipeline: Pipeline::new(config(text), String::new(), PipelineLimits::default()),
            now: 0,
            store: BTreeMap::new(),
            told: Vec::new(),
            outcome: delivered(),
            takes: false,
        }
    }

    fn write(&mut self) {
        for Change { table, key, value } in self.pipeline.drain_changes() {
            match value {
                Some(value) => drop(self.store.insert((table, key), value)),
                None => drop(self.store.remove(&(table, key))),
            }
        }
    }

    /// Sends alerts such as `a g=1`, or `-a g=1` for one that is over.
    fn send(&mut self, alerts: &[&str]) {
        let now = TimestampMs(self.now);
        let posted = alerts.iter().map(|text| {
            let (text, ended) = text
                .strip_prefix('-')
                .map_or((*text, false), |text| (text, true));
            let labels = text.split(' ').enumerate().map(|(place, part)| {
                let (name, value) = part.split_once('=').unwrap_or(("alertname", part));
                assert!(place == 0 || name != "alertname");
                (name, value)
            });
            Posted {
                labels: labels.collect(),
                ends_at: ended.then_some(now),
                ..Posted::default()
            }
        });
        let posted: Vec<Posted<'_>> = posted.collect();
        assert_eq!(self.pipeline.take(posted, now), Taken::default());
        self.write();
    }

    /// Makes the attempts of this moment.
    fn poll(&mut self) {
        loop {
            let now = TimestampMs(self.now);
            let attempts = self.pipeline.poll(now);
            self.write();
            if attempts.is_empty() {
                return;
            }
            for ToAttempt { id, notification } in attempts {
                if self.outcome == delivered() || self.outcome == no_answer() && self.takes {
                    self.hear(&notification);
                }
                self.pipeline.finished(id, self.outcome.clone(), now);
                self.write();
            }
        }
    }

    fn hear(&mut self, notification: &crate::Notification) {
        let alerts = notification.data.alerts.iter().map(|alert| {
            let sign = if alert.status == "firing" { '+' } else { '-' };
            format!("{sign}{}", alert.labels["alertname"])
        });
        let alerts: Vec<String> = alerts.collect();
        let at = self.now / SECOND;
        self.told.push(format!("{at} {}", alerts.join(" ")));
    }

    /// Lets time pass, stopping whenever there is something to do.
    fn run_until(&mut self, end: i64) {
        while self.pipeline.next_poll().0 <= end {
            self.now = self.pipeline.next_poll().0.max(self.now);
            self.poll();
        }
        self.now = end;
    }

    /// Ends the process without warning; a new one finds what the disk has.
    fn kill(&mut self) {
        let limits = self.pipeline.limits;
        let config = Arc::clone(&self.pipeline.config);
        self.pipeline = Pipeline::new(config, String::new(), limits);
        let mut records = Vec::new();
        for table in Pipeline::TABLES {
            let of_table = self.store.iter().filter(|((one, _), _)| one == table);
            records.extend(of_table.map(|((_, key), value)| Record {
                table,
                key: key.clone(),
                value: value.clone(),
            }));
        }
        self.pipeline.restore(records, TimestampMs(self.now));
        self.pipeline.go_on(TimestampMs(self.now));
        self.write();
        assert_eq!(self.pipeline.counts.unreadable_records, 0);
    }

    fn silence(&mut self, name: &str, minutes: i64) -> String {
        let request = SilenceRequest {
            matcher_sets: vec![vec![Matcher::equal("alertname", name)]],
            starts_at: TimestampMs(self.now),
            ends_at: TimestampMs(self.now + minutes * MINUTE),
            ..SilenceRequest::default()
        };
        let id = format!("silence-{}", self.now);
        let set = self
            .pipeline
            .set_silence(request, id, TimestampMs(self.now));
        self.write();
        set.unwrap()
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    fn history(&self) -> Vec<&'static str> {
        let filter = HistoryFilter {
            limit: 1_000,
            ..HistoryFilter::default()
        };
        let events = self.pipeline.history(&filter).into_iter();
        events.map(|event| event.kind.name()).collect()
    }
}

/// Sends the same alerts every minute from `from` on, as Prometheus does.
fn keep_firing(world: &mut World, alerts: &[&str], minutes: i64) {
    for _ in 0..minutes {
        world.send(alerts);
        world.run_until(world.now + MINUTE);
    }
}

#[test]
fn a_group_waits_tells_repeats_and_ends() {
    let mut world = World::new(PLAIN);
    world.send(&["a g=1"]);
    world.run_until(5 * SECOND);
    world.send(&["b g=1", "c g=2"]);
    world.run_until(30 * SECOND);
    assert_eq!(world.told(), ["10 +a +b", "15 +c"]);
    world.send(&["d g=1"]);
    keep_firing(&mut world, &["a g=1", "b g=1", "d g=1", "c g=2"], 75);
    assert_eq!(
        world.told(),
        ["70 +a +b +d", "3675 +c", "3730 +a +b +d"],
        "new ones after the group's interval, all again after the repeat interval"
    );
    world.send(&["-a g=1", "b g=1", "d g=1", "-c g=2"]);
    world.run_until(world.now + 2 * MINUTE);
    assert_eq!(world.told(), ["4570 -a +b +d", "4575 -c"]);
    // Nobody sends them any more: they are over once resolve_timeout has passed.
    world.run_until(2 * HOUR);
    assert_eq!(world.told().len(), 1);
    assert_eq!(world.pipeline.sizes().alerts, 0);
    assert_eq!(world.pipeline.sizes().groups, 0);
}

#[test]
fn repeats_become_rarer_while_nothing_changes() {
    let text = PLAIN.replace("group_wait", "repeat_interval_max: 4h, group_wait");
    let mut world = World::new(&text);
    let hours = |told: &[String]| {
        let seconds = told.iter().map(|line| line.split(' ').next().unwrap());
        let seconds = seconds.map(|seconds| seconds.parse::<i64>().unwrap());
        seconds.map(|at| at * SECOND / HOUR).collect::<Vec<_>>()
    };
    keep_firing(&mut world, &["a g=1"], 5 * 60);
    world.kill();
    keep_firing(&mut world, &["a g=1"], 8 * 60);
    assert_eq!(hours(&world.told()), [0, 1, 3, 7, 11]);
    // What is new is told at once, and the count begins anew.
    keep_firing(&mut world, &["a g=1", "b g=1"], 4 * 60);
    let told = world.told();
    assert_eq!(hours(&told), [13, 14, 16], "{told:?}");
    assert!(told[0].ends_with("+a +b"));
    // The end is no repeat.
    world.send(&["-a g=1", "-b g=1"]);
    world.run_until(world.now + 2 * MINUTE);
    assert_eq!(hours(&world.told()), [17]);
}

#[test]
fn what_fires_and_ends_before_it_is_told_is_not_told() {
    let mut world = World::new(PLAIN);
    world.send(&["a g=1"]);
    world.run_until(5 * SECOND);
    world.send(&["-a g=1"]);
    world.run_until(HOUR);
    assert!(world.told().is_empty());
    assert_eq!(
        world.pipeline.sizes(),
        Sizes {
            events: world.pipeline.sizes().events,
            ..Sizes::default()
        }
    );
}

#[test]
fn who_is_inhibited_is_not_told_of_over_restarts_too() {
    let mut world = World::new(PLAIN);
    world.send(&["s role=source g=1", "t role=target g=2"]);
    world.run_until(MINUTE);
    assert_eq!(world.told(), ["10 +s"]);
    for _ in 0..20 {
        world.kill();
        world.run_until(world.now + MINUTE);
    }
    assert!(world.told().is_empty());
    world.send(&["-s role=source g=1", "t role=target g=2"]);
    world.run_until(world.now + 2 * MINUTE);
    assert_eq!(world.told().join(";").matches("+t").count(), 1);
    assert!(world.history().contains(&"inhibited"));
}

#[test]
fn who_was_told_of_and_silenced_is_told_of_when_it_ends() {
    let mut world = World::new(PLAIN);
    world.send(&["a g=1", "b g=1"]);
    world.run_until(MINUTE);
    assert_eq!(world.told(), ["10 +a +b"]);
    world.silence("a", 30);
    keep_firing(&mut world, &["a g=1", "b g=1"], 5);
    assert!(world.told().is_empty());
    world.send(&["-a g=1", "b g=1"]);
    world.run_until(world.now + 2 * MINUTE);
    assert_eq!(world.told(), ["370 -a +b"]);
    // One that is silenced before anybody is told stays unknown.
    world.send(&["a g=1", "b g=1"]);
    keep_firing(&mut world, &["a g=1", "b g=1"], 3);
    assert!(world.told().is_empty());
    world.send(&["-a g=1", "b g=1"]);
    world.run_until(world.now + 2 * MINUTE);
    assert!(world.told().is_empty());
}

/// As with Alertmanager: whoever silences an alert looks after it until it is over.
#[test]
fn a_route_may_keep_the_end_of_silenced_alerts_to_itself() {
    let text = PLAIN.replace("group_wait", "send_resolved_suppressed: false, group_wait");
    let mut world = World::new(&text);
    world.send(&["a g=1", "b g=1", "c g=2"]);
    world.run_until(MINUTE);
    assert_eq!(world.told(), ["10 +a +b", "10 +c"]);
    world.silence("a", 30);
    world.now += 1;
    world.silence("c", 30);
    keep_firing(&mut world, &["a g=1", "b g=1", "c g=2"], 3);
    world.send(&["-a g=1", "b g=1", "-c g=2"]);
    keep_firing(&mut world, &["b g=1"], 3);
    assert_eq!(world.told(), Vec::<String>::new());
    let sizes = world.pipeline.sizes();
    assert_eq!((sizes.alerts, sizes.groups), (1, 1), "they are forgotten");
    // Alone in its group and silenced no longer, it is news when it fires again; the end of others is told as ever.
    world.send(&["-b g=1"]);
    world.run_until(HOUR);
    world.send(&["c g=2"]);
    world.run_until(world.now + MINUTE);
    assert_eq!(world.told(), ["430 -b", "3610 +c"]);
}

#[test]
fn when_a_silence_ends_the_receiver_knows_already() {
    let mut world = World::new(PLAIN);
    world.send(&["a g=1"]);
    world.run_until(MINUTE);
    let id = world.silence("a", 600);
    keep_firing(&mut world, &["a g=1"], 90);
    assert_eq!(world.told(), ["10 +a"], "not even repeated");
    world
        .pipeline
        .expire_silence(&id, TimestampMs(world.now))
        .unwrap();
    keep_firing(&mut world, &["a g=1"], 3);
    assert_eq!(world.told().len(), 1, "the repeat is due by then");
}

#[test]
fn a_silence_that_comes_again_silences_each_time() {
    let text = format!(
        "{PLAIN}
time_intervals: [{{name: nights, time_intervals: [{{times: [{{start_time: '02:00', end_time: '04:00'}}], location: Europe/Berlin}}]}}]
recurring_silences: [{{name: backup, matchers: [role=db], time_intervals: [nights], comment: backups}}]
"
    );
    let mut world = World::new(&text);
    // In January that is 01:00 to 03:00 UTC.
    world.run_until(HOUR);
    for day in 0..2 {
        assert_eq!(world.now, day * 24 * HOUR + HOUR);
        world.send(&["a role=db g=1", "b g=2"]);
        keep_firing(&mut world, &["a role=db g=1", "b g=2"], 10);
        let second = world.now / SECOND - 590;
        assert_eq!(world.told(), [format!("{second} +b")]);
        let now = TimestampMs(world.now);
        let [shown] = &world.pipeline.recurring_silences(now)[..] else {
            panic!("one that silences now")
        };
        let alerts = world.pipeline.alerts(&AlertFilter::default(), now);
        let silenced_by = alerts.iter().map(|alert| alert.silenced_by.clone());
        let mut silenced_by: Vec<_> = silenced_by.collect();
        silenced_by.sort_unstable();
        assert_eq!(silenced_by, [vec![], vec![shown.id.clone()]]);
        assert_eq!(
            shown.request.ends_at,
            TimestampMs(day * 24 * HOUR + 3 * HOUR)
        );
        let refused = world.pipeline.expire_silence(&shown.id, now).unwrap_err();
        assert!(refused.to_string().contains("\"backup\""), "{refused}");
        // When it is over, people are told of what goes on; a restart changes nothing.
        world.kill();
        keep_firing(&mut world, &["a role=db g=1"], 115);
        let told = world.told();
        assert_eq!(
            told.last().unwrap(),
            &format!("{} +a", (day * 24 + 3) * 3600),
            "{told:?}"
        );
        world.send(&["-a role=db g=1", "-b g=2"]);
        world.run_until((day + 1) * 24 * HOUR + HOUR);
        world.told();
    }
    let details = world.pipeline.history(&HistoryFilter {
        limit: 1_000,
        ..HistoryFilter::default()
    });
    let silenced = details
        .iter()
        .filter(|event| event.kind.name() == "silenced");
    let silenced: Vec<&str> = silenced.map(|event| event.detail.as_str()).collect();
    assert!(silenced.len() >= 2);
    assert!(
        silenced
            .iter()
            .all(|detail| *detail == "silenced by recurring silence backup"),
        "{silenced:?}"
    );
}

#[test]
fn muted_groups_keep_what_is_resolved_until_they_may_tell() {
    let text = r#"
route:
  receiver: none
  routes: [{receiver: ops, group_wait: 10s, group_interval: 1m, repeat_interval: 12h, mute_time_intervals: [night], matchers: ['alertname=~".+"']}]
time_intervals: [{name: night, time_intervals: [{times: [{start_time: '00:30', end_time: '06:00'}]}]}]
receivers: [{name: none}, {name: ops, webhook_configs: [{url: 'http://x.example'}]}]
"#;
    let mut world = World::new(text);
    world.send(&["a"]);
    world.run_until(MINUTE);
    assert_eq!(world.told(), ["10 +a"]);
    keep_firing(&mut world, &["a"], 60);
    world.send(&["-a", "b"]);
    keep_firing(&mut world, &["b"], 10);
    assert!(world.told().is_empty());
    keep_firing(&mut world, &["b"], 5 * 60);
    assert_eq!(world.told(), ["21610 -a +b"]);
    assert!(world.history().contains(&"muted"));
}

#[test]
fn failures_are_tried_again_and_whoever_asks_for_time_gets_it() {
    let mut world = World::new(PLAIN);
    world.outcome = retry(None);
    world.send(&["a g=1"]);
    keep_firing(&mut world, &["a g=1"], 10);
    let attempts = world.pipeline.counts.attempts[&IntegrationKind::Webhook];
    assert!(
        (10..60).contains(&attempts),
        "{attempts} attempts in ten minutes"
    );
    world.outcome = delivered();
    keep_firing(&mut world, &["a g=1"], 3);
    assert_eq!(world.told().len(), 1);

    world.outcome = retry(Some(1800));
    let before = world.now;
    world.send(&["b g=2", "c g=3"]);
    let attempts = world.pipeline.counts.attempts[&IntegrationKind::Webhook];
    keep_firing(&mut world, &["b g=2", "c g=3"], 29);
    let after = world.pipeline.counts.attempts[&IntegrationKind::Webhook];
    assert_eq!(
        after,
        attempts + 1,
        "nothing is sent while the other side wants nothing"
    );
    world.outcome = delivered();
    keep_firing(&mut world, &["b g=2", "c g=3"], 3);
    let told = world.told();
    assert_eq!(
        told.len(),
        3,
        "of two groups, and that the first alert is over: {told:?}"
    );
    assert!(
        told[0].starts_with(&format!("{}", before / SECOND + 1810)),
        "{told:?}"
    );
}

#[test]
fn a_bad_day_of_a_receiver_is_bounded_counted_and_over_at_once() {
    // What it answers, for how many hours, and the most attempts in that time.
    let days = [
        (retry(None), 24, 3_000),
        (retry(Some(3600)), 1, 1),
        (no_answer(), 24, 3_000),
    ];
    for (outcome, hours, attempts_max) in days {
        let mut world = World::new(PLAIN);
        world.outcome = outcome;
        world.send(&["a g=1", "b g=1"]);
        keep_firing(&mut world, &["a g=1"], hours * 60);
        let counts = world.pipeline.counts.clone();
        let attempts = counts.attempts[&IntegrationKind::Webhook];
        assert!(
            (1..=attempts_max).contains(&attempts),
            "{attempts} attempts"
        );
        assert_eq!(counts.attempts_failed, counts.attempts);
        assert!(world.told().is_empty());
        world.outcome = delivered();
        keep_firing(&mut world, &["a g=1"], 3);
        let told = world.told();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].ends_with(" +a -b"), "{told:?}");
    }
}

#[test]
fn a_refused_message_is_decided_on_again() {
    let mut world = World::new(PLAIN);
    world.outcome = Outcome::GiveUp(Failure {
        kind: FailureKind::Client,
        reason: "status 400".to_owned(),
    });
    world.send(&["a g=1"]);
    world.run_until(3 * MINUTE);
    assert_eq!(world.pipeline.counts.attempts[&IntegrationKind::Webhook], 3);
    // What ended meanwhile is not lost: nobody was told that it fired.
    world.outcome = delivered();
    world.send(&["-a g=1"]);
    world.run_until(6 * MINUTE);
    assert!(world.told().is_empty());
    assert_eq!(world.pipeline.sizes().alerts, 0);
}

#[test]
fn a_kill_between_accept_and_log_doubles_one_notification() {
    let mut world = World::new(PLAIN);
    world.send(&["a g=1", "b g=2", "c g=3"]);
    world.now = 10 * SECOND;
    let attempts = world.pipeline.poll(TimestampMs(world.now));
    world.write();
    assert_eq!(attempts.len(), 1, "one attempt at a time for a lane");
    world.kill();
    assert!(world.history().contains(&"in_doubt"));
    world.run_until(MINUTE);
    assert_eq!(world.told().len(), 3);
    world.kill();
    world.run_until(3 * MINUTE);
    assert!(world.told().is_empty());
}

#[test]
fn who_may_have_been_told_of_an_alert_is_told_of_its_end() {
    let mut world = World::new(PLAIN);
    world.send(&["a g=1", "b g=1"]);
    world.now = 10 * SECOND;
    let attempts = world.pipeline.poll(TimestampMs(world.now));
    world.write();
    world.hear(&attempts[0].notification);
    world.kill();
    world.send(&["-a g=1", "-b g=1"]);
    world.run_until(MINUTE);
    assert_eq!(world.told(), ["10 +a +b", "20 -a -b"]);
    assert_eq!(
        world
            .store
            .keys()
            .filter(|(table, _)| *table == "intents")
            .count(),
        0
    );

    // The other way round: it may have been told of the end, and the alert fires again.
    world.send(&["a g=1"]);
    world.run_until(2 * MINUTE);
    world.send(&["-a g=1"]);
    (world.outcome, world.takes) = (no_answer(), true);
    world.run_until(2 * MINUTE + 10 * SECOND);
    world.send(&["a g=1"]);
    world.outcome = delivered();
    keep_firing(&mut world, &["a g=1"], 3);
    assert_eq!(known(&world.told()).get("a"), Some(&true));
}

#[test]
fn what_comes_late_is_history_over_restarts_too_and_tells_nobody() {
    let mut world = World::new(PLAIN);
    world.now = HOUR;
    let labels = Labels::from_pairs([("alertname", "a"), ("g", "1")]).unwrap();
    let late = |minute: i64, fired: bool| Late {
        start: TimestampMs(minute * MINUTE),
        end: TimestampMs((minute + 1) * MINUTE),
        fired,
    };
    let amend = |world: &mut World, minutes: &[i64], fired: bool| {
        for minute in minutes {
            let now = TimestampMs(world.now);
            world.pipeline.amend(&labels, late(*minute, fired), now);
        }
        world.write();
    };
    amend(&mut world, &[10, 11, 12], true);
    world.kill();
    // After a crash some of it comes again.
    amend(&mut world, &[12, 13, 14], true);
    amend(&mut world, &[15, 16], false);
    amend(&mut world, &[30], false);
    // Once more other rows came.
    amend(&mut world, &[12], false);
    amend(&mut world, &[12], true);
    world.kill();
    world.now += HOUR;
    world.poll();
    assert_eq!(world.told(), Vec::<String>::new());
    let history = |from: i64, to: i64| {
        let filter = HistoryFilter {
            matchers: vec![Matcher::equal("alertname", "a")],
            start: Some(TimestampMs(from * MINUTE)),
            end: Some(TimestampMs(to * MINUTE)),
            limit: 1_000,
        };
        let events = world.pipeline.history(&filter).into_iter();
        let late = events.filter_map(|event| event.late);
        late.map(|late| (late.start.0 / MINUTE, late.end.0 / MINUTE, late.fired))
            .collect::<Vec<_>>()
    };
    let all = [
        (10, 15, true),
        (15, 17, false),
        (30, 31, false),
        (12, 13, false),
        (12, 13, true),
    ];
    assert_eq!(history(60, 60), all, "when it came to be known");
    assert_eq!(history(16, 20), [(15, 17, false)], "of when it tells");
    assert_eq!(history(61, 90), []);
}

#[test]
fn a_new_configuration_takes_the_groups_over() {
    let mut world = World::new(PLAIN);
    world.send(&["a g=1"]);
    world.run_until(MINUTE);
    world.told();
    let now = TimestampMs(world.now);
    world.pipeline.reconfigure(config(PLAIN), now);
    world.send(&["a g=1"]);
    world.run_until(4 * MINUTE);
    assert!(world.told().is_empty());
    let other = PLAIN.replace("group_by: [g]", "group_by: ['...']");
    world
        .pipeline
        .reconfigure(config(&other), TimestampMs(world.now));
    world.send(&["a g=1"]);
    world.run_until(6 * MINUTE);
    assert_eq!(world.told().len(), 1, "another group");
}

#[test]
fn a_restart_is_no_news_of_an_alert() {
    let mut world = World::new(PLAIN);
    world.send(&["a g=1", "b g=2"]);
    world.run_until(MINUTE);
    let before = world.history();
    world.kill();
    world.send(&["a g=1", "b g=2"]);
    assert_eq!(world.history(), before);
}

#[test]
fn an_intent_of_an_earlier_build_is_in_doubt() {
    let mut world = World::new(PLAIN);
    world.send(&["a g=1"]);
    world.run_until(MINUTE);
    let logged = world
        .store
        .keys()
        .find(|(table, _)| *table == NOTIFICATIONS);
    let (_, lane) = logged.unwrap().clone();
    world.store.insert((INTENTS, lane), b"12345".to_vec());
    world.kill();
    assert_eq!(world.history().last(), Some(&"in_doubt"));
}

/// An alert that comes again is looked up, and nothing else: it must be back in every group that it has left.
#[test]
fn an_alert_that_has_left_one_of_its_groups_enters_it_again() {
    let two_routes = "
route:
  receiver: ops
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 1h
  routes:
  - {matchers: [alertname!=none], receiver: ops, group_by: [g], continue: true}
  - {matchers: [alertname!=none], receiver: slow, group_by: [g], group_interval: 1h}
receivers:
- {name: ops, webhook_configs: [{url: 'http://x.example'}]}
- {name: slow, webhook_configs: [{url: 'http://y.example'}]}
";
    let mut world = World::new(two_routes);
    world.send(&["a g=1"]);
    world.run_until(30 * SECOND);
    world.send(&["-a g=1"]);
    world.run_until(5 * MINUTE);
    assert_eq!(
        world.told().len(),
        3,
        "the slow one does not know of the end"
    );
    world.send(&["a g=1"]);
    world.run_until(6 * MINUTE);
    assert_eq!(world.told(), ["310 +a"]);
}

#[test]
fn too_many_alerts_are_refused_and_counted() {
    let limits = PipelineLimits {
        alerts_per_name: 2,
        ..PipelineLimits::default()
    };
    let mut pipeline = Pipeline::new(config(PLAIN), String::new(), limits);
    let posted = |n: usize| Posted {
        labels: [("alertname", "a".to_owned()), ("n", n.to_string())]
            .into_iter()
            .collect(),
        ..Posted::default()
    };
    let taken = pipeline.take((0..5).map(posted), TimestampMs(0));
    assert_eq!(taken.refused, 3);
    let again = pipeline.take((0..2).map(posted), TimestampMs(9));
    assert_eq!(again.refused, 0, "known ones have room");
}

/// What a receiver knows: the state of every alert as it was told last.
fn known(told: &[String]) -> BTreeMap<String, bool> {
    let mut known = BTreeMap::new();
    for word in told.iter().flat_map(|line| line.split(' ').skip(1)) {
        let (sign, name) = word.split_at(1);
        known.insert(name.to_owned(), sign == "+");
    }
    known
}

#[derive(Clone, Debug)]
enum Step {
    Fire(usize),
    End(usize),
    Pass(u8),
    Silence(usize, u8),
    Fail(bool),
    /// What is sent gets no answer; whether it was taken.
    Hang(bool),
    Kill,
    /// The process dies while attempts are under way; whether those were taken.
    KillInFlight(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0usize..6).prop_map(Step::Fire),
        3 => (0usize..6).prop_map(Step::End),
        4 => (1u8..20).prop_map(Step::Pass),
        1 => (0usize..6, 1u8..30).prop_map(|(alert, minutes)| Step::Silence(alert, minutes)),
        1 => any::<bool>().prop_map(Step::Fail),
        1 => any::<bool>().prop_map(Step::Hang),
        1 => Just(Step::Kill),
        2 => any::<bool>().prop_map(Step::KillInFlight),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Days of alerts, failures and kills: in the end the receiver knows what a plain model says, and nothing is left over.
    #[test]
    fn the_receiver_ends_up_knowing_the_truth(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new(PLAIN);
        let text = |alert: usize| format!("n{alert} g={}", alert % 2);
        let mut firing = [false; 6];
        let has_doubts = (steps.iter())
            .any(|step| matches!(step, Step::Hang(true) | Step::KillInFlight(true)));
        for step in steps {
            match step {
                Step::Fire(alert) => {
                    firing[alert] = true;
                    world.send(&[&text(alert)]);
                }
                Step::End(alert) => {
                    if std::mem::take(&mut firing[alert]) {
                        world.send(&[&format!("-{}", text(alert))]);
                    }
                }
                Step::Pass(minutes) => {
                    for _ in 0..minutes {
                        for alert in (0..6).filter(|alert| firing[*alert]) {
                            world.send(&[&text(alert)]);
                        }
                        world.run_until(world.now + MINUTE);
                    }
                }
                Step::Silence(alert, minutes) => {
                    world.silence(&format!("n{alert}"), i64::from(minutes));
                    world.now += 1;
                }
                Step::Fail(fails) => world.outcome = if fails { retry(None) } else { delivered() },
                Step::Hang(takes) => {
                    world.outcome = no_answer();
                    world.takes = takes;
                }
                Step::Kill => world.kill(),
                Step::KillInFlight(takes) => {
                    world.now = world.pipeline.next_poll().0.max(world.now);
                    let attempts = world.pipeline.poll(TimestampMs(world.now));
                    world.write();
                    if takes {
                        attempts.iter().for_each(|attempt| world.hear(&attempt.notification));
                    }
                    world.kill();
                }
            }
        }
        // All silences end, everything is delivered, and what fires goes on.
        world.outcome = delivered();
        for _ in 0..70 {
            for alert in (0..6).filter(|alert| firing[*alert]) {
                world.send(&[&text(alert)]);
            }
            world.run_until(world.now + MINUTE);
        }
        let known = known(&world.told);
        for (alert, is_firing) in firing.iter().enumerate() {
            let told = known.get(&format!("n{alert}")).copied().unwrap_or(false);
            prop_assert_eq!(told, *is_firing, "n{}: {:?}", alert, &world.told);
        }
        // Nobody is told twice the same at once, unless there was no answer.
        for pair in world.told.windows(2) {
            prop_assert!(has_doubts || pair[0] != pair[1], "{:?}", pair);
        }
        let sizes = world.pipeline.sizes();
        prop_assert_eq!(sizes.alerts, firing.iter().filter(|is_firing| **is_firing).count());
        prop_assert_eq!(sizes.on_their_way, 0);
        let stored = world.store.keys().filter(|(table, _)| *table == ALERTS).count();
        prop_assert_eq!(stored, sizes.alerts);
    }
}

/// Three days of two hundred alerts that come and go, in seconds.
#[test]
fn days_pass_in_seconds() {
    let mut world = World::new(PLAIN);
    let mut random = 7_u64;
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    let mut firing = BTreeSet::new();
    for _ in 0..3 * 24 {
        for _ in 0..next(5) {
            let alert = next(200);
            if !firing.remove(&alert) {
                firing.insert(alert);
                continue;
            }
            world.send(&[&format!("-n{alert} g={}", alert % 20)]);
        }
        let alerts: Vec<String> = firing
            .iter()
            .map(|n| format!("n{n} g={}", n % 20))
            .collect();
        let alerts: Vec<&str> = alerts.iter().map(String::as_str).collect();
        for _ in 0..4 {
            world.send(&alerts);
            world.run_until(world.now + 15 * MINUTE);
        }
    }
    world.run_until(world.now + HOUR);
    let known = known(&world.told);
    assert!(known.values().all(|is_firing| !is_firing));
    assert!(world.told.len() > 200, "{}", world.told.len());
    assert_eq!(world.pipeline.sizes().alerts, 0);
}
