//! Which operations are to fail, and when the power goes.

use std::io;
use std::ops::Range;

/// A kind of operation that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening or creating a file.
    Open,
    /// Reading bytes.
    Read,
    /// Writing bytes, appending included.
    Write,
    /// Cutting off or filling up.
    SetLen,
    /// Reserving space.
    Preallocate,
    /// Syncing a file. What it should have synced is lost at the next crash even if a later sync succeeds.
    SyncData,
    /// Syncing a folder.
    SyncFolder,
    /// Renaming a file or folder.
    Rename,
    /// Giving a file a second name.
    Link,
    /// Removing a file or folder.
    Remove,
    /// Listing a folder.
    List,
    /// Creating folders.
    CreateFolders,
}

impl Operation {
    pub(super) fn needs_write(self) -> bool {
        matches!(self, Self::Write | Self::SetLen | Self::Preallocate)
    }

    /// Whether it can change what a crash leaves. Opening counts since it may create.
    fn changes(self) -> bool {
        !matches!(self, Self::Read | Self::List)
    }
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With an error of this kind, without effect.
    Error(io::ErrorKind),
    /// A write of half its bytes, then an I/O error. For other operations the same as an error.
    Short,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    Short,
    /// The power goes while it is under way: done, but nobody hears of it.
    LastBreath,
}

impl Verdict {
    pub(super) fn conclude<T>(self, result: io::Result<T>) -> io::Result<T> {
        match self {
            Self::Go => result,
            Self::Short => result.and_then(|_| Err(io::Error::other("injected short write"))),
            Self::LastBreath => Err(power()),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    plans: Vec<Plan>,
    hit: u64,
    changes: u64,
    cut_in: Option<u64>,
    cut: bool,
}

#[derive(Debug)]
struct Plan {
    operation: Operation,
    which: Range<u64>,
    fault: Fault,
    seen: u64,
}

impl Faults {
    pub(super) fn plan(&mut self, operation: Operation, which: Range<u64>, fault: Fault) {
        self.plans.push(Plan {
            operation,
            which,
            fault,
            seen: 0,
        });
    }

    pub(super) fn clear(&mut self) {
        self.plans.clear();
        self.cut_in = None;
        self.cut = false;
    }

    pub(super) fn cut_power_in(&mut self, change: u64) {
        self.cut_in = Some(change);
    }

    pub(super) fn hit(&self) -> u64 {
        self.hit
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn power_is_cut(&self) -> bool {
        self.cut
    }

    /// Counts the operation and says what becomes of it.
    pub(super) fn judge(&mut self, operation: Operation) -> io::Result<Verdict> {
        if self.cut {
            return Err(power());
        }
        if operation.changes() {
            self.changes += 1;
            match self.cut_in {
                Some(0) => {
                    self.cut = true;
                    return Ok(Verdict::LastBreath);
                }
                Some(left) => self.cut_in = Some(left - 1),
                None => {}
            }
        }
        let mut due = None;
        for plan in &mut self.plans {
            if plan.operation == operation {
                if plan.which.contains(&plan.seen) {
                    due = due.or(Some(plan.fault));
                }
                plan.seen += 1;
            }
        }
        self.plans.retain(|plan| plan.seen < plan.which.end);
        self.hit += u64::from(due.is_some());
        match due {
            None => Ok(Verdict::Go),
            Some(Fault::Short) if operation == Operation::Write => Ok(Verdict::Short),
            Some(Fault::Short) => Err(io::Error::other("injected I/O error")),
            Some(Fault::Error(kind)) => Err(io::Error::new(kind, "injected I/O error")),
        }
    }
}

fn power() -> io::Error {
    io::Error::other("the power is cut")
}
