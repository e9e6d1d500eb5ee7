//! Nobody who is due to be told is forgotten or told twice, however often the process dies.
//!
//! Each *episode* is an alert of its own, in a group of its own: it fires, and some time later it is over. Half of them are posted to
//! API v2, the others come from a rule over data that were written by remote write. Four services are told. The ledger says of each
//! episode and service what was taken, and in which order.
//!
//! - **Lost**: an episode that went on until its firing was told, and of whose firing or end a service never heard; one that a service
//!   was told of as firing, and not as resolved afterwards.
//! - **Doubled**: the same is told again. That is allowed in one case: the process died between a service's taking and the log's
//!   entry. Then the first of the two is the last that this service had taken before a death, and the second came after it. Since each
//!   service has one attempt under way at a time, there is at most one for a service and a death: where one service is told, at most
//!   one for a death.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use clock::{Clock as _, Monotonic, SystemClock};
use fastrand::Rng;
use model::TimestampMs;
use serde_json::{Value, json};
use tests::processes::{
    Aggregator, Moment, PATIENCE, Receivers, Service, TakenRequest, now, pause, post_body,
    wait_until, write_series,
};

/// Alerts that are told at once, and again never.
const ROUTE: &str = "route: {receiver: all, group_by: [episode], group_wait: 50ms, group_interval: 200ms, repeat_interval: 1h}\n";
const RULES: &str = "groups:
- name: storm
  rules:
  - {alert: Hot, expr: 'heat > 5'}
";
/// A step of the storm: time for a few notifications.
const STEP: Duration = Duration::from_millis(15);
/// Episodes under way at once.
const EPISODES_MAX: usize = 12;

/// How many deaths, who is told, and the seed of it all.
struct Storm {
    seed: u64,
    kills: usize,
    services: &'static [Service],
}

#[test]
fn whoever_is_due_is_told_once_although_the_process_is_killed() {
    let storm = Storm {
        seed: 0x5eed,
        kills: 10,
        services: &Service::ALL,
    };
    println!("{}", storm.rage());
}

#[test]
#[ignore = "takes two minutes"]
fn whoever_is_due_is_told_once_over_200_kills() {
    for seed in 0..4 {
        let storm = Storm {
            seed,
            kills: 50,
            services: &Service::ALL,
        };
        println!("{}", storm.rage());
    }
}

#[test]
#[ignore = "takes two minutes"]
fn one_service_is_told_twice_at_most_once_for_each_of_200_kills() {
    let storm = Storm {
        seed: 4,
        kills: 200,
        services: &[Service::Webhook],
    };
    println!("{}", storm.rage());
}

/// Where an alert of an episode comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// API v2.
    Post,
    /// A rule.
    Rule,
}

/// An alert that fires and ends.
#[derive(Debug)]
struct Episode {
    name: String,
    source: Source,
    began: TimestampMs,
    ended: Option<TimestampMs>,
    /// How long it lasts; `None`: until all services were told that it fires.
    lasts: Option<Duration>,
    /// Since when the aggregator is known to have it.
    fires_since: Option<Monotonic>,
    is_over: bool,
}

/// What a service was told.
#[derive(Clone, Debug)]
struct Told {
    at: Monotonic,
    firing: bool,
}

/// What all services were told, by episode and service.
#[derive(Debug)]
struct Ledger {
    services: &'static [Service],
    read: usize,
    told: BTreeMap<(String, Service), Vec<Told>>,
    /// When each service took anything.
    times: BTreeMap<Service, Vec<Monotonic>>,
}

/// What came of a storm.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    lost: Vec<String>,
    /// Doubles that no death explains.
    unexplained: Vec<String>,
    /// Doubles of what was in doubt when the process died, by the number of that death and by service.
    in_doubt: BTreeMap<(usize, Service), usize>,
}

impl Storm {
    fn rage(self) -> String {
        let begun = now();
        let mut rng = Rng::with_seed(self.seed);
        let receivers = Receivers::start();
        receivers.be_moody(Some(self.seed));
        let home = tempfile::tempdir().expect("a folder");
        let mut aggregator = aggregator(home.path(), &receivers, self.services);
        let mut episodes = Episodes::default();
        let mut ledger = Ledger::of(self.services);
        let mut deaths = Vec::new();
        for _ in 0..self.kills {
            let moment = *rng.choice(&MOMENTS).expect("there are some");
            let trap = moment.map(|moment| receivers.trap(moment));
            let random = Duration::from_millis(rng.u64(20..900));
            let armed = now();
            loop {
                ledger.read(&receivers);
                episodes.step(&aggregator, &ledger, &mut rng, true);
                let is_time = match &trap {
                    Some(trap) => trap.has_caught(STEP),
                    None => {
                        pause(STEP);
                        now().saturating_since(armed) > random
                    }
                };
                if is_time {
                    break;
                }
                let waited = now().saturating_since(armed);
                assert!(waited < PATIENCE, "nobody is told of anything");
            }
            aggregator.kill();
            drop(trap);
            // What the dead have sent is still taken, however busy the machine is.
            receivers.await_idle();
            deaths.push(now());
            aggregator.start();
        }
        receivers.be_moody(None);
        let ended = now();
        while now().saturating_since(ended) < PATIENCE {
            ledger.read(&receivers);
            episodes.step(&aggregator, &ledger, &mut rng, false);
            if episodes.are_over() && ledger.verdict(&episodes, &deaths).lost.is_empty() {
                break;
            }
            pause(STEP);
        }
        let lost = ledger.verdict(&episodes, &deaths).lost;
        assert_eq!(lost, Vec::<String>::new(), "seed {:#x}", self.seed);
        await_quiet(&aggregator);
        aggregator.stop();
        ledger.read(&receivers);

        let verdict = ledger.verdict(&episodes, &deaths);
        let seed = self.seed;
        assert_eq!(verdict.unexplained, Vec::<String>::new(), "seed {seed:#x}");
        assert_eq!(verdict.lost, Vec::<String>::new(), "seed {seed:#x}");
        let more_than_one = verdict.in_doubt.iter().find(|(_, doubles)| **doubles > 1);
        assert_eq!(more_than_one, None, "death, service: seed {seed:#x}");
        let mut told = format!(
            "notifications to {} services: {} kills, {} episodes, {} taken, 0 lost, {} doubled, all in doubt at a kill",
            self.services.len(),
            deaths.len(),
            episodes.0.len(),
            ledger.read,
            verdict.in_doubt.len(),
        );
        let took = now().saturating_since(begun);
        write!(
            told,
            ", at most one for a service and a kill; seed {seed:#x}, {took:.0?}"
        )
        .expect("a text");
        told
    }
}

/// Deaths come at random, before an answer, or right after it: before the log has it.
const MOMENTS: [Option<Moment>; 4] = [None, None, Some(Moment::Taken), Some(Moment::Answered)];

fn aggregator(home: &std::path::Path, receivers: &Receivers, services: &[Service]) -> Aggregator {
    let write = |name: &str, text: &str| {
        let path = home.join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let title = "{{ .GroupLabels.episode }} {{ .Status }}";
    let mut receiver = "receivers:\n- name: all\n".to_owned();
    for service in services {
        let url = receivers.url(*service);
        let integration = match service {
            Service::Webhook => format!("webhook_configs: [{{url: '{url}'}}]"),
            Service::Slack => format!(
                "slack_configs: [{{api_url: '{url}', channel: '#all', send_resolved: true, title: '{title}'}}]"
            ),
            Service::Teams => {
                format!("msteamsv2_configs: [{{webhook_url: '{url}', title: '{title}'}}]")
            }
            Service::PagerDuty => format!(
                "pagerduty_configs: [{{routing_key: key, url: '{url}', description: '{title}'}}]"
            ),
        };
        writeln!(receiver, "  {integration}").expect("a text");
    }
    write("rules.yml", RULES);
    let config = write(
        "promontory.yml",
        "global: {evaluation_interval: 1s}\nrule_files: [rules.yml]\n",
    );
    let alerting = write("alertmanager.yml", &format!("{ROUTE}{receiver}"));
    Aggregator::new(&[
        "--config.file",
        &config,
        "--alertmanager.config-file",
        &alerting,
    ])
}

/// Waits until all that was decided on is told, and every group is gone.
fn await_quiet(aggregator: &Aggregator) {
    let entries =
        |what: &str| aggregator.metric(&format!("promontory_alerting_entries{{what=\"{what}\"}}"));
    wait_until(PATIENCE, "quiet", || {
        (entries("log") > 0.0 && entries("notification") + entries("group") < 0.5).then_some(())
    });
}

/// All episodes, those that are over too.
#[derive(Debug, Default)]
struct Episodes(Vec<Episode>);

impl Episodes {
    /// Lets some begin and some end; whatever the aggregator does not acknowledge is sent again at the next step.
    fn step(&mut self, aggregator: &Aggregator, ledger: &Ledger, rng: &mut Rng, may_begin: bool) {
        let under_way = self.0.iter().filter(|episode| !episode.is_over).count();
        if may_begin && under_way < EPISODES_MAX && rng.u32(..3) == 0 {
            let source = *rng
                .choice(&[Source::Post, Source::Rule])
                .expect("there are some");
            let lasts = rng.bool().then(|| Duration::from_millis(rng.u64(..600)));
            self.0.push(Episode {
                name: format!("e{}", self.0.len()),
                source,
                began: wall(),
                ended: None,
                lasts,
                fires_since: None,
                is_over: false,
            });
        }
        for episode in self.0.iter_mut().filter(|episode| !episode.is_over) {
            episode.step(aggregator, ledger);
        }
    }

    fn are_over(&self) -> bool {
        self.0.iter().all(|episode| episode.is_over)
    }
}

impl Episode {
    fn step(&mut self, aggregator: &Aggregator, ledger: &Ledger) {
        let Some(since) = self.fires_since else {
            if self.send(aggregator) {
                self.fires_since = Some(now());
            }
            return;
        };
        let is_long_enough = match self.lasts {
            Some(lasts) => now().saturating_since(since) > lasts,
            None => {
                (ledger.services.iter()).all(|service| ledger.has_told(&self.name, *service, true))
            }
        };
        if is_long_enough {
            let after = self.began.saturating_add(Duration::from_millis(1));
            self.ended.get_or_insert_with(|| wall().max(after));
            self.is_over = self.send(aggregator);
        }
    }

    /// Says how it stands; returns whether that was acknowledged.
    fn send(&self, aggregator: &Aggregator) -> bool {
        match self.source {
            Source::Post => {
                let time = |at: TimestampMs| promql::number::rfc3339(at.0);
                let mut alert = json!({
                    "labels": {"alertname": "Posted", "episode": self.name},
                    "startsAt": time(self.began),
                });
                if let Some(ended) = self.ended {
                    alert["endsAt"] = time(ended).into();
                }
                let body = json!([alert]).to_string();
                let headers = "content-type: application/json\r\n";
                let answer =
                    post_body(aggregator.web(), "/api/v2/alerts", headers, body.as_bytes());
                answer.is_some_and(|answer| answer.status == 200)
            }
            Source::Rule => {
                let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
                let labels = vec![label("__name__", "heat"), label("episode", &self.name)];
                let sample = match self.ended {
                    Some(ended) => (ended.0, 1.0),
                    None => (self.began.0, 9.0),
                };
                write_series(aggregator.web(), &[(labels, vec![sample])])
            }
        }
    }
}

impl Ledger {
    fn of(services: &'static [Service]) -> Self {
        Self {
            services,
            read: 0,
            told: BTreeMap::new(),
            times: BTreeMap::new(),
        }
    }

    /// Reads what was taken since the last time.
    fn read(&mut self, receivers: &Receivers) {
        for request in receivers.taken_since(self.read) {
            self.read += 1;
            let (episode, firing) = said(&request);
            let told = Told {
                at: request.at,
                firing,
            };
            self.times
                .entry(request.service)
                .or_default()
                .push(request.at);
            self.told
                .entry((episode, request.service))
                .or_default()
                .push(told);
        }
    }

    fn told(&self, episode: &str, service: Service) -> &[Told] {
        let told = self.told.get(&(episode.to_owned(), service));
        told.map(Vec::as_slice).unwrap_or_default()
    }

    fn has_told(&self, episode: &str, service: Service, firing: bool) -> bool {
        let mut told = self.told(episode, service).iter();
        told.any(|told| told.firing == firing)
    }

    fn verdict(&self, episodes: &Episodes, deaths: &[Monotonic]) -> Verdict {
        let mut verdict = Verdict::default();
        for episode in &episodes.0 {
            for service in self.services.iter().copied() {
                let told = self.told(&episode.name, service);
                let what = || format!("{episode:?} {service:?} {told:?}");
                let was_due = episode.lasts.is_none();
                let heard = told.iter().any(|told| told.firing);
                let heard_last = told.last().is_some_and(|told| !told.firing);
                if was_due && !heard || heard && !heard_last {
                    verdict.lost.push(what());
                }
                for pair in told.windows(2) {
                    let [first, second] = pair else { continue };
                    if first.firing && !second.firing {
                        continue;
                    }
                    let is_copy = first.firing == second.firing;
                    let death = self.death_between(service, first.at, second.at, deaths);
                    match death.filter(|_| is_copy) {
                        Some(death) => {
                            *verdict.in_doubt.entry((death, service)).or_default() += 1;
                        }
                        None => verdict.unexplained.push(what()),
                    }
                }
            }
        }
        verdict
    }

    /// Returns the number of the death that came between the two, before which the first was the last that the service had taken.
    fn death_between(
        &self,
        service: Service,
        first: Monotonic,
        copy: Monotonic,
        deaths: &[Monotonic],
    ) -> Option<usize> {
        let times = self.times.get(&service).map(Vec::as_slice);
        let next = times.unwrap_or_default().iter().find(|at| **at > first);
        let number = deaths.iter().position(|death| *death >= first)?;
        let death = deaths[number];
        (death <= copy && next.is_none_or(|next| *next >= death)).then_some(number)
    }
}

/// Returns the episode that a request tells of, and whether as firing.
fn said(request: &TakenRequest) -> (String, bool) {
    let body = &request.body;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let titled = |title: String| {
        let (episode, status) = title.split_once(' ').expect("a title in two words");
        (episode.to_owned(), status == "firing")
    };
    match request.service {
        Service::Webhook => (
            text(&body["groupLabels"]["episode"]),
            body["status"] == "firing",
        ),
        Service::Slack => titled(text(&body["attachments"][0]["title"])),
        Service::Teams => titled(text(&body["attachments"][0]["content"]["body"][0]["text"])),
        Service::PagerDuty => titled(text(&body["payload"]["summary"])),
    }
}

fn wall() -> TimestampMs {
    TimestampMs::from(SystemClock::new().wall())
}
