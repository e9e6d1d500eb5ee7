//! What breaks, by hand for stories or by seed.

use std::time::Duration;

use super::agents::Machine;
use super::host::Host;
use super::{Event, Lie, REAL_STORE_EVERY, Sim};

/// How long a seeded run is.
const RUN: Duration = Duration::from_secs(600);
/// How long sampling goes on after the last fault.
const AFTERMATH: Duration = Duration::from_secs(25);

/// Something that happens to a machine.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    StartAgent {
        machine: usize,
    },
    CrashAgent {
        machine: usize,
        power: bool,
        down: Duration,
    },
    StartAggregator,
    CrashAggregator {
        power: bool,
        down: Duration,
    },
    CutAggregatorPowerIn {
        changes: u64,
        down: Duration,
    },
    BackUpAggregator,
    RestoreAggregator,
    Break {
        machine: usize,
    },
    Part {
        machine: usize,
        lasts: Duration,
    },
    FillAgentDisk {
        machine: usize,
        lasts: Duration,
    },
    FreeAgentDisk {
        machine: usize,
    },
    FillAggregatorDisk {
        lasts: Duration,
    },
    FreeAggregatorDisk,
    Stall {
        lasts: Duration,
    },
    StepClock {
        machine: usize,
        offset_ms: i64,
    },
    Mangle {
        machine: usize,
        batches: u32,
    },
}

/// Stories: what breaks at a moment that the test chooses.
impl Sim {
    /// Cuts the aggregator's power and starts it again at once.
    pub fn crash_aggregator(&mut self) {
        self.stop_aggregator();
        self.start_stopped_aggregator();
    }

    /// Cuts the aggregator's power; it stays down.
    pub fn stop_aggregator(&mut self) {
        self.start();
        self.crash_aggregator_process(true);
    }

    /// Starts the aggregator that was stopped.
    pub fn start_stopped_aggregator(&mut self) {
        self.start_aggregator();
    }

    /// Kills an agent (kill -9); it is started again after a while.
    pub fn kill_agent(&mut self, agent: usize, down: Duration) {
        self.break_agent(agent, false, down);
    }

    /// Cuts an agent's power; it is started again after a while.
    pub fn cut_power_of_agent(&mut self, agent: usize, down: Duration) {
        self.break_agent(agent, true, down);
    }

    fn break_agent(&mut self, machine: usize, power: bool, down: Duration) {
        self.start();
        self.fault(Fault::CrashAgent {
            machine,
            power,
            down,
        });
    }

    /// Parts an agent from the aggregator.
    pub fn partition(&mut self, agent: usize, lasts: Duration) {
        self.start();
        self.fault(Fault::Part {
            machine: agent,
            lasts,
        });
    }

    /// Breaks an agent's connection; each end notices after a while.
    pub fn break_connection_of(&mut self, agent: usize) {
        self.start();
        self.fault(Fault::Break { machine: agent });
    }

    /// Lets the twin take batches and sync none for a while.
    pub fn stall_store(&mut self, lasts: Duration) {
        self.start();
        self.fault(Fault::Stall { lasts });
    }

    /// Fills the aggregator's disk until [`free_aggregator_disk`](Self::free_aggregator_disk).
    pub fn fill_aggregator_disk(&mut self) {
        self.start();
        self.fault(Fault::FillAggregatorDisk {
            lasts: Duration::MAX,
        });
    }

    /// Makes room on the aggregator's disk.
    pub fn free_aggregator_disk(&mut self) {
        self.fault(Fault::FreeAggregatorDisk);
    }

    /// Fills an agent's disk for a while.
    pub fn fill_agent_disk(&mut self, agent: usize, lasts: Duration) {
        self.start();
        self.fault(Fault::FillAgentDisk {
            machine: agent,
            lasts,
        });
    }

    /// Sets an agent's wall clock apart from the true time.
    pub fn set_clock_of_agent(&mut self, agent: usize, ahead_ms: i64) {
        self.start();
        self.fault(Fault::StepClock {
            machine: agent,
            offset_ms: ahead_ms,
        });
    }

    /// Mangles the bodies of the next batches that an agent sends.
    pub fn mangle_batches(&mut self, agent: usize, batches: u32) {
        self.start();
        self.fault(Fault::Mangle {
            machine: agent,
            batches,
        });
    }

    /// Stops the aggregator, copies its folder, and starts it.
    pub fn back_up_aggregator(&mut self) {
        self.start();
        self.fault(Fault::BackUpAggregator);
    }

    /// Stops the aggregator, puts the copy in place of its folder, and starts it.
    pub fn restore_aggregator(&mut self) {
        self.fault(Fault::RestoreAggregator);
    }

    /// Starts another agent under the id of this one, on a machine of its own; returns its number. It need not deliver anything.
    pub fn start_twin_of(&mut self, agent: usize) -> usize {
        self.start();
        let id = self.machines[agent].id.to_string();
        let twin = self.add_machine(&id);
        self.machines[twin].exempt = true;
        twin
    }

    /// Ends what is still broken: everybody runs and can talk.
    pub fn heal(&mut self) {
        self.start();
        self.fault(Fault::FreeAggregatorDisk);
        self.host.keep_power();
        self.stalled_until = self.stalled_until.min(self.now);
        let process = self.processes;
        self.schedule_in(Duration::ZERO, Event::StoreSync { process });
        self.start_aggregator();
        for machine in 0..self.machines.len() {
            self.fault(Fault::FreeAgentDisk { machine });
            let state = &mut self.machines[machine];
            let parted = state.parted_until > self.now;
            state.parted_until = state.parted_until.min(self.now);
            state.mangle = 0;
            if parted {
                // What was sent into the partition would arrive when it was to have ended.
                self.break_machine(machine);
            }
            self.start_agent(machine);
        }
    }
}

/// Seeded runs.
impl Sim {
    /// Runs ten minutes of faults that the seed chooses, heals, waits until all is delivered, and verifies.
    pub fn run_seed(seed: u64) -> Self {
        let sim = Self::seeded(seed).chosen_by_seed();
        let real = seed.is_multiple_of(REAL_STORE_EVERY);
        (if real { sim.real_store() } else { sim }).run_faults()
    }

    /// The same on a twin that breaks its promises.
    pub fn run_seed_on(seed: u64, lie: Lie) -> Self {
        let sim = Self::seeded(seed).chosen_by_seed();
        sim.store_that_lies(lie).run_faults()
    }

    fn run_faults(mut self) -> Self {
        self.plan();
        self.run_for(RUN);
        self.tell(format_args!("healing"));
        self.heal();
        self.run_for(AFTERMATH);
        self.run_until_quiet();
        self.verify();
        self
    }

    fn chosen_by_seed(mut self) -> Self {
        let rng = &mut self.rng;
        let setting = &mut self.setting;
        let intervals = [1_000, 2_000, 3_000, 5_000, 5_000, 5_000, 10_000, 40_000];
        setting.agents = rng.usize(1..=3);
        setting.interval = Duration::from_millis(intervals[rng.usize(..intervals.len())]);
        setting.latency_ms = [(0, 2), (1, 40), (20, 200), (1, 1_500)][rng.usize(..4)];
        setting.sync_ms = [(0, 1), (1, 20), (5, 400)][rng.usize(..3)];
        setting.window = [2, 8, 64, 256][rng.usize(..4)];
        if setting.latency_ms.1 > 1_000 {
            // A window of two cannot carry a row a second over such a link, let alone a backlog beside it.
            setting.window = setting.window.max(64);
        }
        // Nor can a store that takes two batches per slow sync.
        let slow = setting.sync_ms.1 > 100;
        setting.waiting_max = if slow { 64 } else { [2, 8, 64][rng.usize(..3)] };
        if rng.u8(..4) == 0 {
            self = self.smallest_spools();
        } else {
            self.setting.spool.segment_bytes = [4 << 10, 16 << 10, 1 << 20][self.rng.usize(..3)];
        }
        self
    }

    /// Schedules the faults of a run.
    fn plan(&mut self) {
        self.start();
        let restores = self.rng.u8(..10) == 0;
        if restores {
            let backup = self.moment(Duration::ZERO, RUN / 2);
            let restore = self.moment(backup, RUN);
            self.schedule(backup, Event::Fault(Fault::BackUpAggregator));
            self.schedule(restore, Event::Fault(Fault::RestoreAggregator));
        }
        for _ in 0..self.rng.u32(3..16) {
            let at = self.moment(Duration::ZERO, RUN);
            let fault = self.any_fault();
            self.schedule(at, Event::Fault(fault));
        }
    }

    fn moment(&mut self, from: Duration, to: Duration) -> Duration {
        from + (to - from).mul_f64(self.rng.f64())
    }

    fn any_fault(&mut self) -> Fault {
        let machine = self.rng.usize(..self.machines.len());
        let power = self.rng.bool();
        let down = if self.rng.u8(..6) == 0 {
            self.random_ms((30_000, 180_000))
        } else {
            self.random_ms((10, 8_000))
        };
        match self.rng.u8(..20) {
            0..3 => Fault::CrashAgent {
                machine,
                power,
                down,
            },
            3..6 => Fault::CrashAggregator { power, down },
            6 => Fault::CutAggregatorPowerIn {
                changes: self.rng.u64(..30),
                down,
            },
            7..11 => Fault::Break { machine },
            11..14 => Fault::Part {
                machine,
                lasts: down * 2,
            },
            14 => Fault::FillAgentDisk {
                machine,
                lasts: down,
            },
            // A full disk makes the real store write everything twice, in real time.
            15 if self.setting.real_store => Fault::FillAggregatorDisk {
                lasts: down.min(Duration::from_secs(20)),
            },
            15 => Fault::FillAggregatorDisk { lasts: down },
            16 => Fault::Stall { lasts: down / 4 },
            17 => Fault::StepClock {
                machine,
                offset_ms: self.rng.i64(-480_000..480_000),
            },
            _ => Fault::Mangle {
                machine,
                batches: if self.rng.u8(..4) == 0 { 3 } else { 1 },
            },
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match &fault {
            Fault::StartAgent { .. } | Fault::StartAggregator => {}
            fault => self.tell(format_args!("{fault:?}")),
        }
        match fault {
            Fault::StartAgent { machine } => self.start_agent(machine),
            Fault::CrashAgent {
                machine,
                power,
                down,
            } => {
                self.crash_agent(machine, power);
                self.schedule_in(down, Event::Fault(Fault::StartAgent { machine }));
            }
            Fault::StartAggregator => self.start_aggregator(),
            Fault::CrashAggregator { power, down } => {
                self.crash_aggregator_process(power);
                self.schedule_in(down, Event::Fault(Fault::StartAggregator));
            }
            Fault::CutAggregatorPowerIn { changes, down } => {
                self.host.cut_power_in(changes);
                // Should nothing be written until then, the power goes all the same.
                let crash = Fault::CrashAggregator { power: true, down };
                self.schedule_in(Duration::from_secs(5), Event::Fault(crash));
            }
            Fault::BackUpAggregator => self.back_up(),
            Fault::RestoreAggregator => self.restore(),
            Fault::Break { machine } => self.break_machine(machine),
            Fault::Part { machine, lasts } => self.part(machine, lasts),
            Fault::FillAgentDisk { machine, lasts } => {
                let state = &mut self.machines[machine];
                state.disk_full = true;
                state.disk.set_capacity(Some(state.disk.used_bytes()));
                self.schedule_in(lasts, Event::Fault(Fault::FreeAgentDisk { machine }));
            }
            Fault::FreeAgentDisk { machine } => {
                let state = &mut self.machines[machine];
                state.disk_full = false;
                state.disk.set_capacity(None);
            }
            Fault::FillAggregatorDisk { lasts } => {
                self.store_full = true;
                self.host.set_full(true);
                let free = Event::Fault(Fault::FreeAggregatorDisk);
                self.schedule(self.now.saturating_add(lasts), free);
            }
            Fault::FreeAggregatorDisk => {
                self.store_full = false;
                self.store_well_since = self.now;
                self.host.set_full(false);
            }
            Fault::Stall { lasts } => {
                self.stalled_until = self.stalled_until.max(self.now + lasts);
            }
            Fault::StepClock { machine, offset_ms } => {
                self.machines[machine].clock_offset_ms = offset_ms;
            }
            Fault::Mangle { machine, batches } => self.machines[machine].mangle = batches,
        }
    }

    fn break_machine(&mut self, machine: usize) {
        let process = self.machines[machine].process.as_ref();
        if let Some(id) = process.and_then(|process| process.connection) {
            self.break_connection(id, 5_000, 60_000);
        }
    }

    /// Parts the machine; either end may give the connection up meanwhile.
    fn part(&mut self, machine: usize, lasts: Duration) {
        let state: &mut Machine = &mut self.machines[machine];
        state.parted_until = state.parted_until.max(self.now + lasts);
        let process = state.process.as_ref();
        let Some(id) = process.and_then(|process| process.connection) else {
            return;
        };
        // Transports give up after some 10 to 25 s of silence; what was sent before may still arrive when the link is back.
        for end in [super::link::End::Agent, super::link::End::Store] {
            let patience = self.random_ms((10_000, 25_000));
            if patience < lasts {
                let connection = id;
                self.schedule_in(patience, Event::Notice { connection, end });
            }
        }
    }

    fn back_up(&mut self) {
        self.host.keep_power();
        self.crash_aggregator_process(false);
        match self.host.back_up() {
            Ok(backup) => self.backup = Some(backup),
            Err(what) => self.violation(&what),
        }
        self.start_aggregator();
    }

    fn restore(&mut self) {
        let Some(backup) = self.backup.clone() else {
            return;
        };
        self.host.keep_power();
        self.crash_aggregator_process(false);
        self.start_aggregator();
        let before = self.known();
        self.crash_aggregator_process(false);
        if let Err(what) = self.host.restore(&backup) {
            self.violation(&what);
        }
        if let Host::Real { .. } = self.host {
            self.host.set_full(self.store_full);
        }
        self.restored = true;
        self.tell(format_args!(
            "an old copy of the aggregator's folder is back"
        ));
        // What is lost is excused before the start checks that nothing is.
        let started = self.host.start();
        let store = match started {
            Ok(store) => store,
            Err(what) => self.violation(&what),
        };
        for ((epoch, machine), before) in before {
            let after = store.known(&self.machines[machine].id, epoch);
            self.ledger.restored(epoch, &before, &after);
        }
        drop(store);
        let seed = self.rng.u64(..);
        self.host.crash(false, seed);
        self.start_aggregator();
    }

    fn known(&self) -> Vec<((rows::Epoch, usize), rows::NumberSet)> {
        let Some(shared) = &self.shared else {
            return Vec::new();
        };
        let epochs = self.ledger.epochs();
        epochs
            .map(|(epoch, machine)| {
                let known = shared.store.known(&self.machines[machine].id, epoch);
                ((epoch, machine), known)
            })
            .collect()
    }
}
