//! The command line of `promontory-agent`: commands, settings, examples. Help, completion, man pages, environment and configuration
//! keys all come from here.

use std::time::Duration;

use config::{Kind, LOG, Program, Setting, completion_command, man_command};

use crate::{COLLECTOR_OPTIONS, COLLECTORS, CONTAINERS, INTERVAL, PATHS};

/// The command that runs the agent.
pub const RUN: &str = "run";
/// The command that prints one exposition.
pub const COLLECT: &str = "collect";

/// Sections of the configuration file in Prometheus' format.
pub const SECTIONS: &[&str] = &["global", "scrape_configs"];

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const YEAR: Duration = Duration::from_secs(366 * 24 * 3_600);

const CONFIG_FILE: Setting = Setting {
    name: "config.file",
    kind: Kind::Path,
    default: None,
    value_name: "FILE",
    help: "Configuration file (YAML): every setting by its name, a map per dot; and targets to scrape: global and scrape_configs as Prometheus has them. On SIGHUP it is read again for log.level and scrape_configs.",
};

const UPLINK: &[Setting] = &[
    Setting {
        name: "aggregator",
        kind: Kind::Address,
        default: None,
        value_name: "HOST:PORT",
        help: "The aggregator's --ingest.listen-address, as it is reached from here; its port is 4433 by default. Must be given.",
    },
    Setting {
        name: "token",
        kind: Kind::Secret,
        default: None,
        value_name: "TOKEN",
        help: "Join token, for the first start only; better given by its environment variable or --token-file.",
    },
    Setting {
        name: "token-file",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "File that holds the join token; read only when the agent has no identity, or one of another authority.",
    },
    Setting {
        name: "transport",
        kind: Kind::Choice(&["auto", "quic", "tcp"]),
        default: Some("auto"),
        value_name: "TRANSPORT",
        help: "What to connect over: auto tries QUIC (UDP), falls back to TLS over TCP, and returns to QUIC by itself.",
    },
    Setting {
        name: "agent.id",
        kind: Kind::Text,
        default: None,
        value_name: "NAME",
        help: "The agent's id: the node's name, and the label instance. The host name when not given, and then kept.",
    },
    Setting {
        name: "spool.path",
        kind: Kind::Path,
        default: Some("promontory-spool"),
        value_name: "DIR",
        help: "Folder of the spool, with the identity beside it; made when it does not exist, used by one process at a time.",
    },
    Setting {
        name: "spool.max-bytes",
        kind: Kind::Size(MIB, TIB),
        default: Some("512MiB"),
        value_name: "SIZE",
        help: "The most that the spool may take, and never more than 10% of its volume; when full, the oldest goes and is counted.",
    },
];

const LEDGER: Setting = Setting {
    name: "collector.ledger",
    kind: Kind::Integer(1, 16_384),
    default: None,
    value_name: "N",
    help: "Collect N series, every --interval, whose values are derived from the agent's id, epoch and row, to prove that nothing is lost on the way; none when not given.",
};

const WEB: &[Setting] = &[
    Setting {
        name: "web.listen-address",
        kind: Kind::Address,
        default: Some("127.0.0.1:9100"),
        value_name: "HOST:PORT",
        help: "Where /metrics and the push API are served; port 0 takes a free one.",
    },
    Setting {
        name: "web.config.file",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "TLS, basic authentication and headers, in exporter-toolkit's format.",
    },
];

const PUSH: &[Setting] = &[
    Setting {
        name: "push.socket",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "Unix socket for pushes, open to every process that reaches it; what comes over it has the labels namespace, pod and container of its sender, by the kernel's word.",
    },
    Setting {
        name: "push.ttl",
        kind: Kind::Duration(Duration::from_secs(1), YEAR),
        default: None,
        value_name: "DURATION",
        help: "A group ends when nothing was pushed to it for so long, unless the push says otherwise by ?ttl= or the header Push-TTL; until it is deleted when not given.",
    },
    Setting {
        name: "push.max-groups",
        kind: Kind::Integer(1, 60_000),
        default: Some("10000"),
        value_name: "N",
        help: "The most groups; pushes that would make another are answered with 507.",
    },
    Setting {
        name: "push.max-bytes",
        kind: Kind::Size(MIB, GIB),
        default: Some("64MiB"),
        value_name: "SIZE",
        help: "About the most memory that groups take; pushes that would need more are answered with 507.",
    },
    Setting {
        name: "push.max-body-size",
        kind: Kind::Size(64 << 10, 64 * MIB),
        default: Some("4MiB"),
        value_name: "SIZE",
        help: "The largest body of a push, before and after it is decompressed; larger ones are answered with 413.",
    },
    Setting {
        name: "push.disable-consistency-check",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Let groups give a metric different types, and answer pushes with 202.",
    },
    Setting {
        name: "push.enable-utf8-names",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Take any UTF-8 text as the name of a metric or label; in paths, U__ begins an escaped one.",
    },
    Setting {
        name: "persistence.file",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "Keep pushed groups in this file over restarts: a push that was answered survives the death of the process.",
    },
    Setting {
        name: "persistence.interval",
        kind: Kind::Duration(Duration::from_millis(10), Duration::from_secs(300)),
        default: Some("1s"),
        value_name: "DURATION",
        help: "How long a push may wait until it survives a power cut as well; never more than 1s.",
    },
    Setting {
        name: "web.enable-admin-api",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Let PUT /push/api/v1/admin/wipe delete all pushed groups.",
    },
    Setting {
        name: "web.enable-lifecycle",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Let PUT /push/-/quit stop the agent.",
    },
];

/// Returns the whole command line.
pub fn program() -> Program {
    Program {
        name: "promontory-agent",
        about: "Collects a node's metrics and brings them to the aggregator, losing none.",
        examples: "# Join with a token, and run\npromontory-agent run --aggregator monitoring:4433 --token-file token --spool.path /var/lib/promontory-agent\n# See what would be collected here\npromontory-agent collect",
        commands: vec![
            run(),
            collect(),
            completion_command("# In ~/.bashrc\nsource <(promontory-agent completion bash)"),
            man_command("# Read it\npromontory-agent man run | man -l -"),
        ],
        ..Program::default()
    }
}

fn run() -> Program {
    const OFTEN: &[Setting] = &[INTERVAL, LEDGER];
    Program {
        name: RUN,
        about: "Runs the agent. Exit codes: 0 after SIGTERM or SIGINT, 2 for wrong settings, 3 when it cannot join or its identity is unusable, 1 for anything else.",
        examples: "# The first start; later ones need no token\npromontory-agent run --aggregator monitoring:4433 --token-file token --spool.path /var/lib/promontory-agent\n# In a container, with the node's folders mounted below /host\npromontory-agent run --aggregator monitoring:4433 --path.procfs /host/proc --path.sysfs /host/sys --path.rootfs /host/root",
        settings: vec![
            &[CONFIG_FILE],
            UPLINK,
            OFTEN,
            PATHS,
            COLLECTORS,
            COLLECTOR_OPTIONS,
            CONTAINERS,
            PUSH,
            WEB,
            LOG,
        ],
        ..Program::default()
    }
}

fn collect() -> Program {
    Program {
        name: COLLECT,
        about: "Prints one text exposition of everything this agent would collect of the node. Exit codes: 0, 2 for wrong settings, 1 for anything else.",
        examples: "# This machine\npromontory-agent collect\n# The models of its CPUs\npromontory-agent collect --collector.cpu.info",
        settings: vec![
            &[CONFIG_FILE],
            PATHS,
            COLLECTORS,
            COLLECTOR_OPTIONS,
            CONTAINERS,
            LOG,
        ],
        ..Program::default()
    }
}
