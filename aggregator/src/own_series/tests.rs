//! The sampler against a store that fails by script.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use clock::SimulatedClock;
use rows::{Batch, NumberSet, StoreId};
use storage::{Busy, Done, Refusals};

use super::*;

/// What the store does with a call.
#[derive(Clone, Copy, Debug)]
enum Fate {
    BusyToDefine,
    BusyToAppend,
    Fails,
    Forgets,
    HasIt,
    Stores,
}

/// A store that knows what it was told, and fails as it is told.
#[derive(Debug)]
struct Scripted {
    fate: Mutex<Fate>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// Labels by cohort and slot.
    defined: Vec<(CohortId, u16, String)>,
    stored: Vec<Arc<Batch>>,
}

impl Scripted {
    fn fate(&self) -> Fate {
        *self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Appender for Scripted {
    fn store_id(&self) -> StoreId {
        StoreId(0)
    }

    fn known(&self, _: &AgentId, _: Epoch) -> NumberSet {
        NumberSet::default()
    }

    fn settle(&self, _: &AgentId, _: Epoch, _: BatchNumber) -> Result<(), Busy> {
        Ok(())
    }

    fn define(&self, _: &Source, definition: CohortDefinition) -> Result<(), Busy> {
        if matches!(self.fate(), Fate::BusyToDefine) {
            return Err(Busy);
        }
        let mut told = self.told.lock().unwrap();
        for (slot, series) in (definition.first_slot..).zip(&definition.series) {
            told.defined
                .push((definition.cohort, slot, series.labels.to_string()));
        }
        Ok(())
    }

    fn append(&self, _: &Source, batch: Arc<Batch>, done: Done) -> Result<(), Busy> {
        match self.fate() {
            Fate::BusyToDefine | Fate::BusyToAppend => return Err(Busy),
            Fate::Fails => done(AppendOutcome::Failed("no space".to_owned())),
            Fate::Forgets => drop(done),
            Fate::HasIt => done(AppendOutcome::Duplicate),
            Fate::Stores => {
                self.told.lock().unwrap().stored.push(batch);
                done(AppendOutcome::Stored(Refusals::default()));
            }
        }
        Ok(())
    }
}

fn sampler(fate: Fate) -> (OwnSeries, Arc<Scripted>) {
    let store = Arc::new(Scripted {
        fate: Mutex::new(fate),
        told: Mutex::default(),
    });
    let registry = Registry::new();
    registry.gauge("promontory_test", "A test.").set(7.0);
    let clock = Arc::new(SimulatedClock::starting_at(SystemTime::UNIX_EPOCH));
    let of = ("here".to_owned(), Epoch(1));
    let own = OwnSeries::new(Arc::clone(&store), registry, Agents::new(10), clock, of);
    let mut own = own.unwrap();
    own.metadata.push(MetricMetadata {
        metric: Arc::from("promontory_test"),
        metadata: model::Metadata {
            kind: MetricType::Gauge,
            help: "A test.".to_owned(),
            unit: String::new(),
        },
    });
    (own, store)
}

fn admit(agents: &Agents) -> (transport::PeerIdentity, ingest::Generation) {
    let peer = transport::PeerIdentity::new("n1".parse().unwrap(), Some("prod"), None).unwrap();
    let hello = wire::AgentHello {
        node: "n1".to_owned(),
        version: "0".to_owned(),
        epoch: Epoch(1),
        predecessor: None,
        interval: Duration::from_secs(15),
        epochs: Vec::new(),
        wall: TimestampMs(0),
    };
    let arrival = ingest::Arrival {
        peer: &peer,
        hello: &hello,
        transport: "quic",
        now: clock::Monotonic::ORIGIN,
        wall: TimestampMs(0),
    };
    let generation = agents.admit(&arrival, Arc::new(|| ())).unwrap();
    (peer, generation)
}

#[test]
fn what_a_failing_store_did_not_take_comes_with_the_next_rows_and_numbers_have_no_holes() {
    let failures = [
        Fate::BusyToDefine,
        Fate::BusyToAppend,
        Fate::Fails,
        Fate::Forgets,
    ];
    for failure in failures {
        let (mut own, store) = sampler(failure);
        for _ in 0..3 {
            assert!(own.sample().is_err(), "{failure:?}");
            own.encoder.reset();
        }
        *store.fate.lock().unwrap() = Fate::Stores;
        for _ in 0..2 {
            own.sample().unwrap();
        }
        let told = store.told.lock().unwrap();
        let defined: Vec<_> = (told.defined.iter())
            .map(|(cohort, slot, labels)| (cohort.0, *slot, labels.as_str()))
            .collect();
        let expected = r#"promontory_test{instance="here", job="promontory"}"#;
        assert_eq!(defined, [(0, 0, expected)], "{failure:?}");
        let numbers: Vec<u64> = told.stored.iter().map(|batch| batch.number.0).collect();
        assert_eq!(numbers, [0, 1], "{failure:?}");
        let described: Vec<usize> = (told.stored.iter())
            .map(|batch| batch.metadata.len())
            .collect();
        assert_eq!(described, [1, 0], "{failure:?}");
        assert!(own.definitions.is_empty() && own.metadata.is_empty());
    }
}

#[test]
fn a_number_that_the_store_has_is_left_behind() {
    let (mut own, store) = sampler(Fate::HasIt);
    assert!(own.sample().is_err(), "these rows are not stored");
    own.encoder.reset();
    *store.fate.lock().unwrap() = Fate::Stores;
    own.sample().unwrap();
    let told = store.told.lock().unwrap();
    assert_eq!(told.stored[0].number, BatchNumber(1));
    assert_eq!(told.stored[0].metadata.len(), 1);
}

#[test]
fn the_view_of_agents_has_a_name_and_a_job_of_its_own() {
    let (mut own, store) = sampler(Fate::Stores);
    let (peer, generation) = admit(&own.agents);
    own.sample().unwrap();
    own.agents.left(peer.agent(), generation);
    own.sample().unwrap();
    let told = store.told.lock().unwrap();
    let view = told.defined.iter().find(|(cohort, ..)| cohort.0 == 1);
    assert_eq!(
        view.map(|(.., labels)| labels.as_str()),
        Some(
            r#"promontory_agent_up{agent="n1", cluster="prod", instance="n1", job="promontory", node="n1"}"#
        )
    );
    let values: Vec<f64> = (told.stored.iter())
        .flat_map(|batch| &batch.rows)
        .filter(|decoded| decoded.row.cohort.0 == 1)
        .map(|decoded| decoded.row.floats[0])
        .collect();
    assert_eq!(values, [1.0, 0.0]);
}

#[test]
fn sampling_has_agents_remembered_even_while_the_store_fails() {
    let (mut own, _store) = sampler(Fate::Fails);
    let disk = files::Simulated::new();
    let open = || {
        let files = Arc::new(disk.clone());
        Arc::new(files::KeyValue::open(files, std::path::Path::new("/service.redb")).unwrap())
    };
    own.agents.keep_in(open()).unwrap();
    admit(&own.agents);
    own.sample_and_remember();
    drop(own);
    let later = Agents::new(10);
    later.keep_in(open()).unwrap();
    let known = later.list();
    assert_eq!(known.len(), 1);
    assert!(!known[0].connected && known[0].node == "n1");
}
