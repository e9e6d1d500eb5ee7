use std::collections::BTreeMap;

use files::Simulated;
use model::is_stale;
use rows::Slot;
use runtime::{QueueReceiver, RuntimeClock, Task, WhenFull, queue};

use super::*;

struct Case {
    pushing: Pushing,
    updates: QueueReceiver<Update>,
    sender: QueueSender<Update>,
    task: Task<()>,
    stop: Token,
    names: BTreeMap<(CohortId, Slot), String>,
}

impl Case {
    fn new(disk: &Simulated, config: PushConfig) -> Self {
        let start = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let clock = Arc::new(RuntimeClock::starting_at(start));
        let files = Arc::new(disk.clone());
        let registry = Registry::new();
        let pushing = Pushing::open(config, Path::new("/"), files, clock, &registry).unwrap();
        let (sender, updates) = queue("updates", 4, WhenFull::Reject);
        let (tasks, stop) = (Tasks::new("test"), Token::new());
        let running = pushing
            .clone()
            .run(sender.clone(), tasks.clone(), stop.clone());
        Self {
            task: tasks.spawn("pushed groups", running),
            pushing,
            updates,
            sender,
            stop,
            names: BTreeMap::new(),
        }
    }

    async fn push(&self, job: &str, text: &str) -> Result<(), PushFailure> {
        let key = self
            .pushing
            .key(&format!("/metrics/job/{job}"), None)
            .unwrap();
        let body = Body {
            bytes: text.as_bytes(),
            ..Body::default()
        };
        self.pushing.push(&key, &body, PushOptions::default()).await
    }

    /// The next update, as `NAME VALUE` of what is not a time of pushes.
    async fn next(&mut self) -> Vec<String> {
        let update = self.updates.receive().await.expect("senders live");
        for definition in update.definitions {
            for (slot, series) in (definition.first_slot..).zip(definition.series) {
                let name = series.labels.to_string();
                self.names.insert((definition.cohort, slot), name);
            }
        }
        let mut shown = Vec::new();
        for row in update.rows {
            for at in row.presence.iter() {
                let name = &self.names[&(row.cohort, Slot::try_from(at).unwrap())];
                if !name.starts_with("push_") {
                    let value = row.floats[at];
                    let value = if is_stale(value) {
                        "ended".to_owned()
                    } else {
                        value.to_string()
                    };
                    shown.push(format!("{name} {value}"));
                }
            }
        }
        shown
    }

    fn now(&self) -> Duration {
        self.pushing.clock().monotonic().since_origin()
    }
}

#[tokio::test(start_paused = true)]
async fn rows_leave_at_once_and_together_under_load() {
    let mut case = Case::new(&Simulated::new(), PushConfig::default());
    case.push("early", "m 0\n").await.unwrap();
    case.pushing.connect();
    assert_eq!(case.next().await, ["m{job=\"early\"} 0"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = case.now();
    case.push("a", "m 1\n").await.unwrap();
    assert_eq!(case.next().await, ["m{job=\"a\"} 1"]);
    assert!(case.now() - begun < Duration::from_millis(2));
    for job in ["b", "c", "d"] {
        case.push(job, "m 1\n").await.unwrap();
    }
    let together = ["m{job=\"b\"} 1", "m{job=\"c\"} 1", "m{job=\"d\"} 1"];
    assert_eq!(case.next().await, together);
    assert!(case.now() - begun <= PACE + Duration::from_millis(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_pushed_again_is_sampled_until_it_ends() {
    let mut case = Case::new(&Simulated::new(), PushConfig::default());
    case.pushing.connect();
    case.push("a", "m 1\n").await.unwrap();
    let mut seen = vec![case.next().await];
    while case.now() < Duration::from_secs(35) {
        seen.push(case.next().await);
    }
    assert_eq!(seen, vec![["m{job=\"a\"} 1"]; seen.len()]);
    assert_eq!(seen.len(), 4, "a push, and three samplings");
    let key = case.pushing.key("/metrics/job/a", None).unwrap();
    case.pushing.delete(&key);
    assert_eq!(case.next().await, ["m{job=\"a\"} ended"]);
}

#[tokio::test(start_paused = true)]
async fn half_of_the_queue_is_left_to_collectors() {
    let mut case = Case::new(&Simulated::new(), PushConfig::default());
    case.pushing.connect();
    for _ in 0..2 {
        case.sender.try_send(Update::default()).unwrap();
    }
    case.push("a", "m 1\n").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(case.sender.stats().length, 2);
    assert!(case.next().await.is_empty());
    assert!(case.next().await.is_empty());
    assert_eq!(case.next().await, ["m{job=\"a\"} 1"]);
}

#[tokio::test(start_paused = true)]
async fn pushes_wait_for_room_and_then_give_up() {
    let case = Case::new(&Simulated::new(), PushConfig::default());
    case.pushing.connect();
    while case.sender.try_send(Update::default()).is_ok() {}
    let mut taken = 0;
    let begun = case.now();
    let failure = loop {
        match case.push(&format!("j{taken}"), "m 1\n").await {
            Ok(()) => taken += 1,
            Err(failure) => break failure,
        }
    };
    assert!(matches!(failure, PushFailure::Crowded(_)), "{failure}");
    assert!(taken > 1 && case.now() - begun >= ROOM_WITHIN);
    assert!(case.pushing.unhealthy().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_end_marks_everything_unless_it_comes_back() {
    let disk = Simulated::new();
    for persistence in [None, Some(PathBuf::from("groups"))] {
        let is_kept = persistence.is_some();
        let config = PushConfig {
            gateway: GatewayConfig {
                persistence,
                ..GatewayConfig::default()
            },
            ..PushConfig::default()
        };
        let mut case = Case::new(&disk, config);
        case.pushing.connect();
        case.push("a", "m 1\n").await.unwrap();
        assert_eq!(case.next().await, ["m{job=\"a\"} 1"]);
        case.stop.stop();
        let last = case.next().await;
        let expected = if is_kept {
            vec![]
        } else {
            vec!["m{job=\"a\"} ended"]
        };
        assert_eq!(last, expected);
        (&mut case.task).await.unwrap();
        let late = case.push("a", "m 2\n").await;
        assert!(matches!(late, Err(PushFailure::Closed)));
    }
}
