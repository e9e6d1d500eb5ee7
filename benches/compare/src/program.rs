//! The command line.

use config::{Kind, Program, Setting};

const RUN: &[Setting] = &[
    Setting {
        name: "only",
        kind: Kind::Text,
        default: None,
        value_name: "ROWS",
        help: "Run these rows only, named as --list shows them, with commas between.",
    },
    Setting {
        name: "list",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "List the rows, and how each is measured.",
    },
    Setting {
        name: "quick",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "A fifth of the hosts and a quarter of the rows: minutes instead of an hour. Figures per series come out higher.",
    },
    Setting {
        name: "ours",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Leave the peers out.",
    },
    Setting {
        name: "check",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Exit with 1 when a must is missed or not measured.",
    },
    Setting {
        name: "json",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "Write all figures there, too.",
    },
    Setting {
        name: "recording",
        kind: Kind::Path,
        default: Some("../shared/bench-data"),
        value_name: "DIR",
        help: "Where node-scrapes.tar.zst lies.",
    },
    Setting {
        name: "work",
        kind: Kind::Path,
        default: Some("target"),
        value_name: "DIR",
        help: "Where data folders are made, a few GiB; each is removed when its server has ended.",
    },
    Setting {
        name: "bin.dir",
        kind: Kind::Path,
        default: None,
        value_name: "DIR",
        help: "Where our programs are; built, in the profile of this program, when not given.",
    },
];

/// Returns the whole command line.
pub(crate) fn program() -> Program {
    Program {
        name: "compare",
        about: "Measures Promontory beside other engines on the same data, in one run.",
        commands: vec![
            Program {
                name: "storage",
                about: "Ingest, disk, memory, restart and churn, beside Debian's prometheus and victoria-metrics where they are installed (benches/compare/install-peers.sh).",
                examples: "# The whole table; takes long\ncargo run --release -p compare -- storage --json table.json\n# What a change of the ingest path did\ncargo run --release -p compare -- storage --only ingest,many-agents --quick",
                settings: vec![RUN],
                ..Program::default()
            },
            Program {
                name: "agent",
                about: "What an agent takes of its node, beside Debian's prometheus-node-exporter and prometheus-pushgateway where they are installed (benches/compare/install-peers.sh).",
                examples: "# The whole table, a quarter of an hour\ncargo run --release -p compare -- agent --json agent.json\n# Ours alone, one row\ncargo run --release -p compare -- agent --ours --only wire",
                settings: vec![RUN],
                ..Program::default()
            },
            Program {
                name: "promql",
                about: "Queries, beside Debian's prometheus and victoria-metrics where they are installed (benches/compare/install-peers.sh).",
                examples: "# The whole table\ncargo run --release -p compare -- promql --json queries.json\n# Ours alone, a minute\ncargo run --release -p compare -- promql --ours",
                settings: vec![RUN],
                ..Program::default()
            },
            Program {
                name: "rules",
                about: "Rules and alerts, beside Debian's prometheus and prometheus-alertmanager where they are installed (benches/compare/install-peers.sh).",
                examples: "# The whole table\ncargo run --release -p compare -- rules --json rules.json\n# Ours alone\ncargo run --release -p compare -- rules --ours",
                settings: vec![RUN],
                ..Program::default()
            },
        ],
        ..Program::default()
    }
}
