//! Settings of a pair of aggregators, by Alertmanager's names.

use std::time::Duration;

use config::{Kind, Setting};

const HOUR: Duration = Duration::from_secs(3_600);

pub(super) const CLUSTER: &[Setting] = &[
    Setting {
        name: "cluster.listen-address",
        kind: Kind::Address,
        default: None,
        value_name: "HOST:PORT",
        help: "Where the other aggregator of a pair connects (UDP and TCP). Two that are a pair for alerting share silences and what was told, and each is given all alerts; this one, the first, tells, and the other one when this one does not. `promontory token create --peer` makes the token that the other one needs.",
    },
    Setting {
        name: "cluster.peer",
        kind: Kind::Address,
        default: None,
        value_name: "HOST:PORT",
        help: "The --cluster.listen-address of the other aggregator of a pair; this one is the second. Not together with --cluster.listen-address: one of the two listens, the other dials.",
    },
    Setting {
        name: "cluster.token-file",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "With --cluster.peer: the token that `promontory token create --peer` has made at the other aggregator. Needed once; the identity is kept in the data folder, and its certificate is renewed over the link.",
    },
    Setting {
        name: "cluster.peer-name",
        kind: Kind::Text,
        default: None,
        value_name: "NAME",
        help: "The name of this aggregator in a pair, for people: a-z, A-Z, 0-9, '.', '_' and '-'. The machine's name when not given.",
    },
    Setting {
        name: "cluster.peer-timeout",
        kind: Kind::Duration(Duration::from_secs(1), HOUR),
        default: Some("15s"),
        value_name: "DURATION",
        help: "How long the second of a pair waits for the first to tell before it tells itself. The link counts as down when nothing is heard for a third of it.",
    },
    Setting {
        name: "cluster.settle-timeout",
        kind: Kind::Duration(Duration::ZERO, HOUR),
        default: Some("1m"),
        value_name: "DURATION",
        help: "How long one of a pair waits at its start, at most, for what the other knows before it tells anybody.",
    },
];

/// Which tokens are meant.
pub(super) const PEER: Setting = Setting {
    name: "peer",
    kind: Kind::Switch,
    default: Some("false"),
    value_name: "",
    help: "Of the other aggregator of a pair (--cluster.peer), not of agents.",
};
