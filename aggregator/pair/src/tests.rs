//! Two links on loopback. Nothing sleeps for luck: every wait is for a condition, with a deadline.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use alerting::{
    Alerting, Attempt, Config, Deliver, MatcherMode, Notification, Outcome, PairConfig, PairPlace,
    Pipeline, PipelineLimits, Remembered, SilenceRequest,
};
use clock::{SharedClock, SystemClock};
use files::{Disk, Journaled, KeyValue, SharedFileSystem, Simulated};
use ingest::{TokenTerms, Tokens};
use model::{Matcher, TimestampMs};
use runtime::{Task, Tasks, Token};
use telemetry::Registry;
use tempfile::TempDir;
use template::Zone;
use tokio::time::{Instant, sleep};
use transport::{Authority, JoinToken, Listener, ListenerConfig};

use super::{Dialling, Link, LinkConfig, Listening, dial, listen};

const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

#[derive(Debug)]
struct Nobody;

impl Deliver for Nobody {
    fn deliver<'a>(&'a self, _notification: &'a Arc<Notification>) -> Attempt<'a> {
        Box::pin(async {
            Outcome::Delivered {
                remembered: Remembered::new(),
            }
        })
    }
}

fn clock() -> SharedClock {
    Arc::new(SystemClock::new())
}

fn alerting(place: PairPlace) -> Alerting {
    let text = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";
    let config = Config::parse(
        Path::new("am.yml"),
        text,
        MatcherMode::Fallback,
        &Zone::utc(),
    );
    let config = Arc::new(config.expect("it is good"));
    let pair = PairConfig {
        place,
        peer_timeout: Duration::from_secs(15),
        settle_timeout: Duration::from_secs(3_600),
    };
    let now = || TimestampMs::from(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let pipeline = Pipeline::new(config, String::new(), PipelineLimits::default());
    let pipeline = pipeline.in_pair(pair, now());
    let files: SharedFileSystem = Arc::new(Simulated::new());
    files.create_folders(Path::new("/data")).expect("a folder");
    let store = Journaled::open(&files, Path::new("/data/alerting.redb")).expect("a store");
    Alerting::open(pipeline, Arc::new(Nobody), store, Arc::new(now)).expect("it opens")
}

/// One of the two, at work.
struct One {
    alerting: Alerting,
    link: Link,
    stop: Token,
    running: Option<Task<()>>,
}

impl One {
    fn new(name: &str, place: PairPlace) -> Self {
        Self::bearing(name, place, Duration::from_secs(10))
    }

    /// One that bears so much silence.
    fn bearing(name: &str, place: PairPlace, silence_max: Duration) -> Self {
        let alerting = alerting(place);
        let config = LinkConfig {
            name: name.parse().expect("a name"),
            version: "0.1.0",
            silence_max,
        };
        let tasks = Tasks::new("pair test");
        let registry = Registry::new();
        Self {
            link: Link::new(config, alerting.clone(), clock(), tasks, &registry),
            alerting,
            stop: Token::new(),
            running: None,
        }
    }

    fn run(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.running = Some(self.link.tasks.spawn("link", work));
    }

    fn dial(&mut self, target: &str, token: Option<JoinToken>, folder: &Path) {
        let dialling = Dialling {
            target: target.to_owned(),
            token,
            folder: folder.to_owned(),
            files: Arc::new(Disk),
        };
        self.run(dial(self.link.clone(), dialling, self.stop.clone()));
    }

    async fn end(&mut self) {
        self.stop.stop();
        if let Some(running) = self.running.take() {
            running.await.expect("it ends");
        }
    }

    fn silence(&self, id: &str) {
        let set = self.alerting.change(|pipeline, now| {
            let request = SilenceRequest {
                matcher_sets: vec![vec![Matcher::equal("a", "b")]],
                starts_at: now,
                ends_at: now.saturating_add(Duration::from_secs(60)),
                ..SilenceRequest::default()
            };
            pipeline.set_silence(request, id.to_owned(), now)
        });
        set.expect("it is kept").expect("there is room");
    }

    fn silences(&self) -> Vec<String> {
        self.alerting.see(|pipeline, _| {
            let silences = pipeline.silences();
            silences.map(|silence| silence.id.clone()).collect()
        })
    }

    fn is_linked_with(&self, name: &str) -> bool {
        let peer = self.link.view().peer;
        peer.is_some_and(|peer| peer.name == name)
    }

    fn is_settled(&self) -> bool {
        let pair = self.alerting.see(|pipeline, _| pipeline.pair());
        pair.is_some_and(|pair| pair.is_settled)
    }

    fn has_same_config(&self) -> bool {
        let pair = self.alerting.see(|pipeline, _| pipeline.pair());
        pair.is_some_and(|pair| pair.has_same_config == Some(true))
    }
}

/// One that listens, and a token.
async fn listening(folder: &Path) -> (One, String, JoinToken) {
    listening_as(One::new("first", PairPlace::First), folder).await
}

async fn listening_as(mut one: One, folder: &Path) -> (One, String, JoinToken) {
    let authority = Authority::open_or_create(&Disk, folder, clock()).expect("an authority");
    let authority = Arc::new(authority);
    let database = KeyValue::open(Arc::new(Disk), &folder.join("tokens.redb")).expect("a store");
    let tokens = Arc::new(Tokens::new(database, authority.fingerprint()));
    let now = TimestampMs::from(SystemTime::UNIX_EPOCH);
    let token = tokens.create(&TokenTerms::default(), now).expect("a token");
    let config = ListenerConfig::new(([127, 0, 0, 1], 0).into());
    let listener = Listener::bind(config, Arc::clone(&authority)).await;
    let listener = Arc::new(listener.expect("a port"));
    let address = listener.address().to_string();
    let parts = Listening {
        listener,
        authority,
        tokens,
    };
    one.run(listen(one.link.clone(), parts, one.stop.clone()));
    (one, address, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_joins_shares_and_comes_back() {
    let folder = TempDir::new().expect("a folder");
    let (mut first, address, token) = listening(&folder.path().join("first")).await;
    let home = folder.path().join("second");
    first.silence("early");
    let mut second = One::new("second", PairPlace::Second);
    second.dial(&address, Some(token.clone()), &home);
    until("what the first had", || second.silences() == ["early"]).await;
    until("both to be settled", || {
        first.is_settled() && second.is_settled()
    })
    .await;
    assert!(first.is_linked_with("second") && second.is_linked_with("first"));
    until("both to know the other's configuration", || {
        first.has_same_config() && second.has_same_config()
    })
    .await;
    second.silence("later");
    until("what is new", || first.silences() == ["early", "later"]).await;

    second.end().await;
    until("the end of the link", || first.link.view().peer.is_none()).await;
    first.silence("meanwhile");
    // It has its identity, and needs no token; nor has it kept anything else.
    let mut second = One::new("second", PairPlace::Second);
    second.dial(&address, None, &home);
    until("all", || second.silences().len() == 3).await;

    // A third one is turned away as long as the second is there.
    let mut third = One::new("third", PairPlace::Second);
    third.dial(&address, Some(token), &folder.path().join("third"));
    until("a refusal", || first.link.status.refused() >= 1.0).await;
    assert!(first.is_linked_with("second") && third.silences().is_empty());
    second.end().await;
    until("the third to be the second", || {
        first.is_linked_with("third")
    })
    .await;
    third.end().await;
    first.end().await;
    assert!(first.link.view().peer.is_none());
}

/// Changes come more often than signs of life, and there is nothing to share.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_alerting_does_not_silence_the_link() {
    const SILENCE_MAX: Duration = Duration::from_secs(1);
    let folder = TempDir::new().expect("a folder");
    let first = One::bearing("first", PairPlace::First, SILENCE_MAX);
    let (mut first, address, token) = listening_as(first, &folder.path().join("first")).await;
    let mut second = One::bearing("second", PairPlace::Second, SILENCE_MAX);
    second.dial(&address, Some(token), &folder.path().join("second"));
    until("both to be settled", || {
        first.is_settled() && second.is_settled()
    })
    .await;
    let began = Instant::now();
    while began.elapsed() < SILENCE_MAX * 3 {
        for one in [&first, &second] {
            one.alerting.change(|_, _| ()).expect("it is kept");
            assert!(one.link.view().peer.is_some(), "{:?}", began.elapsed());
        }
        sleep(SILENCE_MAX / 50).await;
    }
    second.end().await;
    first.end().await;
}
