//! How containers ended, shown as long as their runtime knows of them.
//!
//! An orchestrator keeps the last container that ended beside the one that runs, so its exit is there when somebody asks why it was
//! restarted. A group that has gone says nothing of that; only the runtime does.

use std::collections::{HashMap, HashSet};

use rows::Sink;

use crate::containers::{Showing, Taken, Taker, Tier};
use crate::families::{Identity, give_exit};
use crate::names::Names;

/// The exits that are shown, by the ids of their containers.
#[derive(Debug, Default)]
pub(crate) struct Exits(HashMap<String, Showing>);

impl Exits {
    /// Hands out all exits. `next` numbers those that are shown for the first time.
    pub(crate) fn collect(
        &mut self,
        names: &Names,
        mut next: impl FnMut() -> Showing,
        taker: &mut dyn Taker,
    ) {
        let exits = names.exits();
        let known: HashSet<&str> = exits.iter().map(|(about, _)| about.id.as_str()).collect();
        self.0.retain(|id, showing| {
            let is_known = known.contains(id.as_str());
            if !is_known {
                taker.ended(*showing);
            }
            is_known
        });
        for (about, exit) in &exits {
            let showing = *self.0.entry(about.id.clone()).or_insert_with(&mut next);
            let identity = Identity {
                container: about.container.clone(),
                id: String::new(),
                image: about.image.clone(),
                name: about.alias.clone().unwrap_or_else(|| about.id.clone()),
                namespace: about.namespace.clone(),
                pod: about.pod.clone(),
            };
            let taken = Taken {
                showing,
                id: &format!("/exit/{}", about.id),
                tier: Tier::Slow,
                last: None,
            };
            taker.take(taken, &|sink: &mut dyn Sink| {
                give_exit(&identity, exit, sink)
            });
        }
    }
}
