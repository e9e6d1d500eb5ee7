//! Groups from the disk.

use std::sync::Arc;
use std::time::Duration;

use super::{Change, Now, Place, Store};
use crate::group::{About, Family, Group, GroupId};
use crate::journal::{Restored, RestoredFamily};

impl Store {
    /// Takes over a group as it stood; whatever the limits are now, what is there stays. What lives goes on where it was: the time
    /// that the agent was away counts.
    pub(crate) fn restore(&mut self, restored: Restored, now: Now) {
        if self.by_key.contains_key(&restored.key) || self.check_own_series(&restored.key).is_err()
        {
            return;
        }
        let id = self.insert(&restored.key);
        let Some(mut group) = self.groups.remove(&id) else {
            return;
        };
        let before = (group.bytes, group.layout.live());
        let families = restored.families.into_iter();
        let families = families.map(|family| self.restore_family(id, &mut group, family));
        let families = families.collect();
        group.set_families(families);
        group.pushed = restored.pushed;
        group.failed = restored.failed;
        group.show_times();
        group.measure();
        self.bytes = self.bytes + group.bytes - before.0;
        self.live = self.live + group.layout.live() - before.1;
        group.ttl = restored.ttl;
        let last = restored.pushed.max(restored.failed).unwrap_or(now.wall);
        group.ends = restored.ttl.map(|ttl| {
            let gone = now.wall.0.saturating_sub(last.0);
            let gone = Duration::from_millis(u64::try_from(gone).unwrap_or(0));
            now.monotonic + ttl.saturating_sub(gone)
        });
        if let Some(ends) = group.ends {
            self.ends.insert((ends, id));
        }
        self.outlet.emit(&mut group, now.wall, &[]);
        self.groups.insert(id, group);
        self.changes.push((id, Change::Shape));
    }

    fn restore_family(
        &mut self,
        id: GroupId,
        group: &mut Group,
        restored: RestoredFamily,
    ) -> (Family, Vec<rows::Slot>) {
        let RestoredFamily {
            name,
            help,
            kind,
            at,
            series,
        } = restored;
        let known = self.families.get(name.as_str());
        let about = match known {
            Some(known) if *known.about.help == *help && known.about.kind == kind => {
                Arc::clone(&known.about)
            }
            _ => Arc::new(About {
                name: name.into(),
                help: help.into(),
                kind,
            }),
        };
        let mut slots = Vec::with_capacity(series.len());
        for (labels, value) in series {
            if self.owner(&labels).is_some() {
                continue;
            }
            let slot = group.layout.add(labels.clone(), kind);
            self.series.insert(labels, Place { group: id, slot });
            group.layout.set(slot, value);
            slots.push(slot);
        }
        self.acquire(&about);
        (Family::new(about, at), slots)
    }

    /// Returns the groups with their numbers, in the order in which they were made.
    pub(crate) fn numbered(&self) -> Vec<(GroupId, &Group)> {
        let mut groups: Vec<_> = self.groups.iter().map(|(id, group)| (*id, group)).collect();
        groups.sort_by_key(|(id, _)| *id);
        groups
    }
}
