//! The command line of `promontory`: commands, settings, examples. Help, completion, man pages, environment and configuration keys
//! all come from here.

mod cluster;

use std::time::Duration;

use config::{Argument, Kind, LOG, Program, Setting, completion_command, man_command};

use cluster::{CLUSTER, PEER};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Where the HTTP API listens by default.
pub(crate) const WEB_ADDRESS: &str = "127.0.0.1:9090";
/// Where agents connect by default.
pub(crate) const INGEST_ADDRESS: &str = "127.0.0.1:4433";

const CONFIG_FILE: Setting = Setting {
    name: "config.file",
    kind: Kind::Path,
    default: None,
    value_name: "FILE",
    help: "Configuration file (YAML): every setting by its name, a map per dot; and `global` and `rule_files` as Prometheus has them. Read again on SIGHUP and POST /-/reload.",
};

const STORAGE_PATH: Setting = Setting {
    name: "storage.path",
    kind: Kind::Path,
    default: Some("promontory-data"),
    value_name: "DIR",
    help: "Data folder; made when it does not exist, used by one process at a time.",
};

const RETENTION_TIME: Setting = Setting {
    name: "storage.retention.time",
    kind: Kind::Duration(
        Duration::from_secs(3_600),
        Duration::from_secs(100 * 365 * 86_400),
    ),
    default: Some("15d"),
    value_name: "DURATION",
    help: "How long samples are kept, by their timestamps, counted from the newest ones on disk while the clock is ahead of them; older ones are refused.",
};

const SHARDS: Setting = Setting {
    name: "storage.shards",
    kind: Kind::Integer(1, 256),
    default: None,
    value_name: "N",
    help: "Storage threads of a new data folder, fixed from then on; one per core when not given.",
};

/// Top-level sections of the configuration file that are not settings.
pub(crate) const SECTIONS: &[&str] = &[
    crate::retention_classes::SECTION,
    crate::rule_config::GLOBAL,
    crate::rule_config::RULE_FILES,
    notifier::SECTION,
];

const STORAGE: &[Setting] = &[
    STORAGE_PATH,
    RETENTION_TIME,
    Setting {
        name: "storage.retention.5m",
        kind: Kind::Duration(
            Duration::from_secs(86_400),
            Duration::from_secs(100 * 365 * 86_400),
        ),
        default: None,
        value_name: "DURATION",
        help: "How long summaries of 5 minutes are kept, which answer for samples that are gone; none are made when not given. Worth its space from some ten times the retention of samples.",
    },
    Setting {
        name: "storage.retention.1h",
        kind: Kind::Duration(
            Duration::from_secs(86_400),
            Duration::from_secs(100 * 365 * 86_400),
        ),
        default: None,
        value_name: "DURATION",
        help: "How long summaries of an hour are kept, as those of 5 minutes; none are made when not given.",
    },
    Setting {
        name: "storage.retention.size",
        kind: Kind::Size(64 * MIB, 1_000_000 * GIB),
        default: None,
        value_name: "SIZE",
        help: "Bytes that partitions and log may take before the oldest partitions go; no limit when not given. Leave room for what a merge writes beside its inputs: a day's partitions.",
    },
    SHARDS,
    Setting {
        name: "storage.log.durability",
        kind: Kind::Choice(&["synced", "written"]),
        default: Some("synced"),
        value_name: "WHEN",
        help: "When a batch is acknowledged: synced to the disk, so that no power cut loses it, or written to the operating system, so that the death of the process does not.",
    },
    Setting {
        name: "storage.head.max-bytes",
        kind: Kind::Size(64 * MIB, 1024 * GIB),
        default: Some("1GiB"),
        value_name: "SIZE",
        help: "Memory for samples that are not in partitions yet; at half of it shards seal early, at it new series are refused.",
    },
    Setting {
        name: "storage.memory.limit",
        kind: Kind::Size(64 * MIB, 1024 * 1024 * GIB),
        default: None,
        value_name: "SIZE",
        help: "Memory of the whole process; from 3/4 of it heads are sealed early, from 9/10 new series are refused, known ones flow on. When not given: 9/10 of the container's limit, else 3/4 of the machine.",
    },
];

const LIMITS: &[Setting] = &[
    Setting {
        name: "limits.series-per-agent",
        kind: Kind::Integer(1, 1_000_000_000),
        default: Some("50000"),
        value_name: "N",
        help: "Active series of one agent; new series beyond it are refused singly, known ones flow on. Not for remote write, nor for results of rules.",
    },
    Setting {
        name: "limits.series-by-remote-write",
        kind: Kind::Integer(1, 1_000_000_000),
        default: None,
        value_name: "N",
        help: "Active series that come by remote write, all senders together; 4194304 are remembered at most, which is the bound when none is given.",
    },
    Setting {
        name: "limits.series-per-metric",
        kind: Kind::Integer(1, 1_000_000_000),
        default: None,
        value_name: "N",
        help: "Active series of one metric name over all agents and remote write; no limit when not given.",
    },
    Setting {
        name: "limits.series-per-tenant",
        kind: Kind::Integer(1, 1_000_000_000),
        default: None,
        value_name: "N",
        help: "Active series of one tenant; no limit when not given.",
    },
    Setting {
        name: "limits.new-series-per-minute",
        kind: Kind::Integer(1, 1_000_000_000),
        default: None,
        value_name: "N",
        help: "New series of one agent in a minute; no limit when not given. Not for remote write, whose senders are not told apart, nor for results of rules.",
    },
];

const QUERY: &[Setting] = &[
    Setting {
        name: "query.timeout",
        kind: Kind::Duration(Duration::from_millis(1), Duration::from_secs(86_400)),
        default: Some("2m"),
        value_name: "DURATION",
        help: "How long a query may take.",
    },
    Setting {
        name: "query.max-samples",
        kind: Kind::Integer(1, 1_000_000_000_000),
        default: Some("50000000"),
        value_name: "N",
        help: "Samples that one query may read.",
    },
    Setting {
        name: "query.helper-threads",
        kind: Kind::Integer(0, 1_024),
        default: None,
        value_name: "N",
        help: "Threads that queries over many series may have beside their own, all queries together; without it, one less than there are processors.",
    },
    Setting {
        name: "query.max-memory",
        kind: Kind::Size(MIB, 1024 * GIB),
        default: Some("256MiB"),
        value_name: "SIZE",
        help: "Memory that one query may use.",
    },
    Setting {
        name: "query.max-memory-total",
        kind: Kind::Size(MIB, 1024 * GIB),
        default: None,
        value_name: "SIZE",
        help: "Memory that all queries together may use, answers that clients have not taken yet included. When not given: a quarter of the process's memory (--storage.memory.limit).",
    },
    Setting {
        name: "query.max-concurrency",
        kind: Kind::Integer(1, 1_000),
        default: Some("20"),
        value_name: "N",
        help: "Queries evaluated at once; more wait.",
    },
    Setting {
        name: "query.lookback-delta",
        kind: Kind::Duration(Duration::from_millis(1), Duration::from_secs(86_400)),
        default: Some("5m"),
        value_name: "DURATION",
        help: "How long a sample stands for its series.",
    },
    Setting {
        name: "query.log-slower-than",
        kind: Kind::Duration(Duration::ZERO, Duration::from_secs(86_400)),
        default: Some("10s"),
        value_name: "DURATION",
        help: "Queries that take this long or longer, waiting included, are logged with what they asked and cost; 0 logs none.",
    },
];

const RULES: &[Setting] = &[
    Setting {
        name: "rules.alert.resend-delay",
        kind: Kind::Duration(Duration::from_secs(1), Duration::from_secs(86_400)),
        default: Some("1m"),
        value_name: "DURATION",
        help: "How long to wait before an alert that fires is told of again.",
    },
    Setting {
        name: "rules.late.max-age",
        kind: Kind::Duration(Duration::ZERO, Duration::from_secs(31 * 86_400)),
        default: Some("24h"),
        value_name: "DURATION",
        help: "How far back rules are evaluated again, and their results corrected, when an agent that could not be reached brings its rows late; 0: never.",
    },
    Setting {
        name: "rules.max-concurrent-evals",
        kind: Kind::Integer(1, 1_000),
        default: Some("4"),
        value_name: "N",
        help: "Rules of a group that are evaluated at once where none reads what another writes.",
    },
];

const BUILT_IN_RULES: Setting = Setting {
    name: "rules.built-in",
    kind: Kind::Switch,
    default: Some("false"),
    value_name: "",
    help: "Evaluate the rules that come with the program, too (deploy/rules/promontory.yml): nodes, containers, silent agents, the aggregator itself. With up, those that can be true on this machine.",
};

const BUILT_IN_RULES_OF_UP: Setting = Setting {
    default: Some("true"),
    ..BUILT_IN_RULES
};

const ALERTMANAGER: &[Setting] = &[
    Setting {
        name: "alertmanager.config-file",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "Alertmanager's configuration file: who is told of which alerts. Read again on SIGHUP and POST /-/reload; when it is wrong, the old one stays. When not given, nobody is told.",
    },
    Setting {
        name: "alertmanager.max-alerts",
        kind: Kind::Integer(1, 10_000_000),
        default: Some("200000"),
        value_name: "N",
        help: "Alerts kept at once; more are refused.",
    },
    Setting {
        name: "alertmanager.alerts-per-name",
        kind: Kind::Integer(0, 10_000_000),
        default: Some("0"),
        value_name: "N",
        help: "Alerts of one alertname kept at once; more are refused. 0: as many as of all.",
    },
    Setting {
        name: "alertmanager.max-silences",
        kind: Kind::Integer(1, 1_000_000),
        default: Some("10000"),
        value_name: "N",
        help: "Silences at once, ended ones that are still remembered included.",
    },
    Setting {
        name: "alertmanager.retention",
        kind: Kind::Duration(Duration::from_secs(3600), YEAR),
        default: Some("5d"),
        value_name: "DURATION",
        help: "How long ended silences, and what was told of groups that are gone, are remembered.",
    },
    Setting {
        name: "alertmanager.allow-link-local",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Let notifications go to link-local addresses and metadata services of clouds, too.",
    },
    Setting {
        name: "alertmanager.notification-queue-capacity",
        kind: Kind::Integer(1, 1_000_000),
        default: Some("10000"),
        value_name: "N",
        help: "Alerts that may wait for each Alertmanager of the section alerting; then the oldest is dropped.",
    },
    Setting {
        name: "alertmanager.notification-batch-size",
        kind: Kind::Integer(1, 100_000),
        default: Some("256"),
        value_name: "N",
        help: "Alerts that are posted together to an Alertmanager of the section alerting.",
    },
    Setting {
        name: "alertmanager.drain-notification-queue-on-shutdown",
        kind: Kind::Switch,
        default: Some("true"),
        value_name: "",
        help: "Post the alerts that wait for Alertmanagers of the section alerting before the end.",
    },
];

const WEB: &[Setting] = &[
    Setting {
        name: "web.listen-address",
        kind: Kind::Address,
        default: Some(WEB_ADDRESS),
        value_name: "HOST:PORT",
        help: "Where the HTTP API listens; port 0 takes a free one.",
    },
    Setting {
        name: "web.external-url",
        kind: Kind::Text,
        default: None,
        value_name: "URL",
        help: "Under which people reach the HTTP API: links in alerts begin with it. When not given: http:// and the address that it listens on.",
    },
    Setting {
        name: "web.config.file",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "TLS, basic authentication and headers, in exporter-toolkit's format.",
    },
    Setting {
        name: "web.max-connections",
        kind: Kind::Integer(1, 100_000),
        default: Some("512"),
        value_name: "N",
        help: "HTTP connections at once; more wait.",
    },
    Setting {
        name: "web.disable-remote-write-receiver",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Refuse POST /api/v1/write.",
    },
    Setting {
        name: "web.enable-lifecycle",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Allow POST /-/reload over HTTP; SIGHUP always works.",
    },
    Setting {
        name: "web.enable-admin-api",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Allow POST /api/v1/admin/tsdb/...: deleting series, cleaning up after it, snapshots, each a whole data folder to start an aggregator on, keys included.",
    },
];

const INGEST: &[Setting] = &[
    Setting {
        name: "ingest.listen-address",
        kind: Kind::Address,
        default: Some(INGEST_ADDRESS),
        value_name: "HOST:PORT",
        help: "Where agents connect, by QUIC (UDP) and by TLS over TCP on the same port.",
    },
    Setting {
        name: "ingest.max-agents",
        kind: Kind::Integer(1, 1_000_000),
        default: Some("10000"),
        value_name: "N",
        help: "Agents connected at once.",
    },
    Setting {
        name: "ingest.window",
        kind: Kind::Integer(1, 1_024),
        default: Some("32"),
        value_name: "BATCHES",
        help: "Batches that one agent may have on their way, unacknowledged.",
    },
];

/// How the tools reach a running aggregator.
const SERVER_URL: Setting = Setting {
    name: "url",
    kind: Kind::Text,
    default: Some("http://127.0.0.1:9090"),
    value_name: "URL",
    help: "The aggregator's HTTP address.",
};

const HTTP_USER: Setting = Setting {
    name: "http.user",
    kind: Kind::Text,
    default: None,
    value_name: "USER",
    help: "User for basic authentication.",
};

const HTTP_PASSWORD: Setting = Setting {
    name: "http.password",
    kind: Kind::Secret,
    default: None,
    value_name: "PASSWORD",
    help: "Password for basic authentication; better given by its environment variable.",
};

const TIMEOUT: Setting = Setting {
    name: "timeout",
    kind: Kind::Duration(Duration::from_millis(1), Duration::from_secs(86_400)),
    default: Some("2m"),
    value_name: "DURATION",
    help: "How long to wait for the answer.",
};

const SERVER: &[Setting] = &[SERVER_URL, HTTP_USER, HTTP_PASSWORD, TIMEOUT];

const BACKTEST_SERVER: &[Setting] = &[
    Setting {
        default: None,
        help: "The HTTP address of an aggregator that runs: its history is replayed, and no data folder is looked at. What --chunk reads at once has to fit into what a query there may take (--query.max-samples, --query.max-memory).",
        ..SERVER_URL
    },
    HTTP_USER,
    HTTP_PASSWORD,
    TIMEOUT,
];

const QUERY_COMMAND: &[Setting] = &[
    Setting {
        name: "time",
        kind: Kind::Text,
        default: None,
        value_name: "TIME",
        help: "Instant to evaluate at: seconds since 1970, or RFC 3339; now when not given. With --range it is the end, in seconds.",
    },
    Setting {
        name: "range",
        kind: Kind::Duration(Duration::from_millis(1), YEAR),
        default: None,
        value_name: "DURATION",
        help: "Evaluate over this long, ending at --time.",
    },
    Setting {
        name: "step",
        kind: Kind::Duration(Duration::from_millis(1), YEAR),
        default: Some("15s"),
        value_name: "DURATION",
        help: "Distance between two instants of a --range.",
    },
    Setting {
        name: "explain",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Show, instead of the result, what each part of the expression came to and cost: series, values, samples read, time, memory. What is below a part counts with it.",
    },
    OUTPUT_WITH_CSV,
];

const OUTPUT_WITH_CSV: Setting = Setting {
    name: "output",
    kind: Kind::Choice(&["table", "json", "csv"]),
    default: Some("table"),
    value_name: "FORMAT",
    help: "table for people; json and csv for machines.",
};

const OUTPUT: &[Setting] = &[Setting {
    kind: Kind::Choice(&["table", "json"]),
    ..OUTPUT_WITH_CSV
}];

const TOKEN_TERMS: &[Setting] = &[
    Setting {
        name: "cluster",
        kind: Kind::Text,
        default: None,
        value_name: "NAME",
        help: "The label `cluster` of all series of the agents that join with it.",
    },
    Setting {
        name: "tenant",
        kind: Kind::Text,
        default: None,
        value_name: "NAME",
        help: "The label `tenant` of all series of the agents that join with it.",
    },
    Setting {
        name: "expires",
        kind: Kind::Duration(Duration::from_secs(1), YEAR),
        default: Some("1h"),
        value_name: "DURATION",
        help: "How long agents may join with it.",
    },
    Setting {
        name: "uses",
        kind: Kind::Integer(1, 1_000_000),
        default: None,
        value_name: "N",
        help: "How many agents may join with it; any number when not given.",
    },
];

/// Settings that a change of the configuration file reaches without a restart.
pub(crate) const RELOADABLE: &[&str] = &["log.level", "alertmanager.config-file"];

/// Returns the whole command line.
pub(crate) fn program() -> Program {
    Program {
        name: "promontory",
        about: "Monitoring in one program: collects, stores, answers PromQL.",
        examples: "# See this machine's metrics at http://127.0.0.1:9090 in three seconds\npromontory up\n# Run the service\npromontory aggregator --storage.path /var/lib/promontory",
        commands: vec![
            up(),
            aggregator(),
            query(),
            token(),
            agents(),
            tsdb(),
            promqltest(),
            check(),
            test(),
            backtest(),
            alerts(),
            completion_command("# In ~/.bashrc\nsource <(promontory completion bash)"),
            man_command("# Read it\npromontory man up | man -l -"),
        ],
        ..Program::default()
    }
}

fn up() -> Program {
    Program {
        name: "up",
        about: "Runs aggregator and agent in one process on loopback: this machine's metrics in three seconds.",
        examples: "# Everything with defaults; Ctrl-C stops it, and the next start shows the old data\npromontory up\n# Another folder, another port\npromontory up --storage.path /tmp/p --web.listen-address 127.0.0.1:9191",
        settings: vec![
            &[CONFIG_FILE],
            STORAGE,
            &[agent::INTERVAL],
            agent::PATHS,
            agent::COLLECTORS,
            agent::COLLECTOR_OPTIONS,
            agent::CONTAINERS,
            WEB,
            INGEST,
            QUERY,
            RULES,
            &[BUILT_IN_RULES_OF_UP],
            ALERTMANAGER,
            CLUSTER,
            LIMITS,
            LOG,
        ],
        ..Program::default()
    }
}

fn aggregator() -> Program {
    Program {
        name: "aggregator",
        about: "Runs the service that agents send to.",
        examples: "# Listen on all addresses, with TLS and passwords for HTTP\npromontory aggregator --storage.path /var/lib/promontory --web.listen-address :9090 --ingest.listen-address :4433 --web.config.file web.yml\n# A pair for alerting: the first listens, the second joins it with the token\npromontory aggregator --storage.path /var/lib/promontory --cluster.listen-address :9094\npromontory token create --peer --storage.path /var/lib/promontory\npromontory aggregator --storage.path /var/lib/promontory --cluster.peer first.example:9094 --cluster.token-file token",
        settings: vec![
            &[CONFIG_FILE],
            STORAGE,
            WEB,
            INGEST,
            QUERY,
            RULES,
            &[BUILT_IN_RULES],
            ALERTMANAGER,
            CLUSTER,
            LIMITS,
            LOG,
        ],
        ..Program::default()
    }
}

fn query() -> Program {
    Program {
        name: "query",
        about: "Evaluates a PromQL expression.",
        examples: "# CPU use by mode, now\npromontory query 'sum by (mode) (rate(node_cpu_seconds_total[1m]))'\n# The last five minutes as CSV\npromontory query --range 5m --step 15s --output csv node_load1\n# What makes a query slow\npromontory query --explain --range 1h 'sum by (mode) (rate(node_cpu_seconds_total[1m]))'",
        settings: vec![QUERY_COMMAND, SERVER],
        arguments: &[Argument {
            name: "EXPRESSION",
            help: "The expression",
            optional: false,
            repeated: false,
        }],
        ..Program::default()
    }
}

fn token() -> Program {
    let command = |name, about, examples, settings, arguments| Program {
        name,
        about,
        examples,
        settings,
        arguments,
        commands: Vec::new(),
    };
    const ID: &[Argument] = &[Argument {
        name: "ID",
        help: "The token's id",
        optional: false,
        repeated: false,
    }];
    Program {
        name: "token",
        about: "Makes, lists and revokes the tokens that agents join with, over a socket in the data folder.",
        commands: vec![
            command(
                "create",
                "Makes a join token; it is shown once.",
                "# One token for the agents of a cluster, good for an hour\npromontory token create --cluster prod\n# The token by which another aggregator becomes this one's pair for alerting\npromontory token create --peer",
                vec![&[STORAGE_PATH, PEER], TOKEN_TERMS, OUTPUT],
                &[],
            ),
            command(
                "list",
                "Lists join tokens, without their secrets.",
                "",
                vec![&[STORAGE_PATH, PEER], OUTPUT],
                &[],
            ),
            command(
                "revoke",
                "Makes a join token useless; agents that have joined stay.",
                "",
                vec![&[STORAGE_PATH, PEER]],
                ID,
            ),
        ],
        ..Program::default()
    }
}

const APPLY: Setting = Setting {
    name: "apply",
    kind: Kind::Switch,
    default: Some("false"),
    value_name: "",
    help: "Do it; without this, nothing is changed.",
};

const DUMP: &[Setting] = &[
    Setting {
        name: "match",
        kind: Kind::Text,
        default: None,
        value_name: "SELECTOR",
        help: "Series to dump, such as up{job=\"a\"}; all when not given.",
    },
    Setting {
        name: "start",
        kind: Kind::Text,
        default: None,
        value_name: "TIME",
        help: "First time: seconds since 1970, or RFC 3339.",
    },
    Setting {
        name: "end",
        kind: Kind::Text,
        default: None,
        value_name: "TIME",
        help: "Last time: seconds since 1970, or RFC 3339.",
    },
];

fn tsdb() -> Program {
    const DIR: &[Argument] = &[Argument {
        name: "DIR",
        help: "The data folder (--storage.path); no process may be using it",
        optional: false,
        repeated: false,
    }];
    let command = |name, about, examples, settings| Program {
        name,
        about,
        examples,
        settings,
        arguments: DIR,
        commands: Vec::new(),
    };
    Program {
        name: "tsdb",
        about: "Looks at a data folder that no process uses: checks, lists, dumps, repairs; imports blocks of Prometheus.",
        commands: vec![
            command(
                "check",
                "Reads every file, verifies every checksum and decodes every page; fails when anything is damaged.",
                "# Before and after moving a data folder\npromontory tsdb check /var/lib/promontory",
                vec![OUTPUT],
            ),
            command(
                "list",
                "Lists the partitions: span, samples, series, bytes.",
                "",
                vec![OUTPUT],
            ),
            command(
                "dump",
                "Writes samples as text, one a line: labels, value, milliseconds since 1970; by partition, then those in the log.",
                "# One job of one day\npromontory tsdb dump --match '{job=\"a\"}' --start 2026-08-01T00:00:00Z --end 2026-08-02T00:00:00Z /var/lib/promontory",
                vec![DUMP],
            ),
            command(
                "repair",
                "Says what can be kept of damaged files, and with --apply does it: writes readable parts anew, makes a lost catalogue anew, sets damaged files aside; removes nothing. Fails when there is something to do and --apply is not given.",
                "# Look first, then do it\npromontory tsdb repair /var/lib/promontory\npromontory tsdb repair --apply /var/lib/promontory",
                vec![&[APPLY], OUTPUT],
            ),
            Program {
                name: "import",
                about: "Imports blocks of Prometheus into a data folder that no aggregator uses, sample by sample as they are.",
                examples: "# All blocks of a Prometheus, once it is stopped\npromontory tsdb import /var/lib/prometheus --storage.path /var/lib/promontory\n# Of one that runs, its newest samples too: start it with --web.enable-admin-api, and import what this makes\ncurl -XPOST http://localhost:9090/api/v1/admin/tsdb/snapshot",
                settings: vec![&[STORAGE_PATH, RETENTION_TIME, SHARDS], IMPORT, OUTPUT],
                arguments: &[Argument {
                    name: "DIR",
                    help: "A block, or a folder with blocks",
                    optional: false,
                    repeated: false,
                }],
                ..Program::default()
            },
        ],
        ..Program::default()
    }
}

const IMPORT: &[Setting] = &[
    Setting {
        name: "aggregator.config-file",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "The aggregator's configuration file: data folder, shards and retention are as it says, unless given here, and so are retention classes.",
    },
    Setting {
        name: "again",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Import blocks that were imported before, too: after a repair, or for classes that are kept longer now. Samples that are the same count once.",
    },
];

fn promqltest() -> Program {
    Program {
        name: "promqltest",
        about: "Runs PromQL test scripts, in the language of Prometheus' own: load, eval, what is expected. Fails when a statement does.",
        examples: "# All scripts of a folder\npromontory promqltest tests/promql\n# One script, for machines\npromontory promqltest -o json aggregators.test",
        settings: vec![OUTPUT],
        arguments: &[Argument {
            name: "FILE",
            help: "A script, or a folder: every file in it that ends in .test, at any depth",
            optional: false,
            repeated: true,
        }],
        ..Program::default()
    }
}

const IGNORE_UNKNOWN_FIELDS: Setting = Setting {
    name: "ignore-unknown-fields",
    kind: Kind::Switch,
    default: Some("false"),
    value_name: "",
    help: "Take rule files with fields that nobody knows.",
};

/// promtool's scripts name features; in PromQL all of them are on.
const ENABLE_FEATURE: Setting = Setting {
    name: "enable-feature",
    kind: Kind::Texts,
    default: None,
    value_name: "NAMES",
    help: "Taken as promtool takes it, and not needed: what it turns on in expressions is on.",
};

const CHECK_RULES: &[Setting] = &[
    Setting {
        name: "lint",
        kind: Kind::Text,
        default: Some("duplicate-rules"),
        value_name: "CHECKS",
        help: "What else to look for, with commas: all, duplicate-rules, none.",
    },
    Setting {
        name: "lint-fatal",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "End with code 3 when --lint finds something.",
    },
    IGNORE_UNKNOWN_FIELDS,
    ENABLE_FEATURE,
];

fn check() -> Program {
    const TREE: Setting = Setting {
        name: "tree",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Show the routes on the way, too.",
    };
    const VERIFY: Setting = Setting {
        name: "verify.receivers",
        kind: Kind::Text,
        default: None,
        value_name: "NAMES",
        help: "Receivers that the alert is to go to, with commas; others fail.",
    };
    Program {
        name: "check",
        about: "Checks files for mistakes.",
        commands: vec![
            Program {
                name: "rules",
                about: "Checks rule files: fields, expressions, templates. Ends with 1 when one is bad.",
                examples: "# All rules of a folder\npromontory check rules rules/*.yml\n# In a pipe\npromontory check rules < rules.yml",
                settings: vec![CHECK_RULES],
                arguments: &[Argument {
                    name: "FILE",
                    help: "A rule file; standard input when there is none",
                    optional: true,
                    repeated: true,
                }],
                ..Program::default()
            },
            Program {
                name: "alertmanager-config",
                about: "Checks Alertmanager's configuration files, as amtool check-config does.",
                examples: "promontory check alertmanager-config alertmanager.yml",
                arguments: &[Argument {
                    name: "FILE",
                    help: "A configuration file",
                    optional: false,
                    repeated: true,
                }],
                ..Program::default()
            },
            Program {
                name: "routes",
                about: "Shows the routes of Alertmanager's configuration file, or who is told of an alert with these labels.",
                examples: "# All routes\npromontory check routes alertmanager.yml\n# Who is told of this one\npromontory check routes alertmanager.yml team=db severity=page",
                settings: vec![&[TREE, VERIFY]],
                arguments: &[
                    Argument {
                        name: "FILE",
                        help: "The configuration file",
                        optional: false,
                        repeated: false,
                    },
                    Argument {
                        name: "LABEL",
                        help: "Labels of an alert: name=value",
                        optional: true,
                        repeated: true,
                    },
                ],
                ..Program::default()
            },
        ],
        ..Program::default()
    }
}

const PREVIEW: &[Setting] = &[
    Setting {
        name: "receiver",
        kind: Kind::Text,
        default: Some("default"),
        value_name: "NAME",
        help: "The receiver whose messages are shown.",
    },
    Setting {
        name: "config",
        kind: Kind::Path,
        default: Some("alertmanager.yml"),
        value_name: "FILE",
        help: "Alertmanager's configuration file.",
    },
    Setting {
        name: "alert",
        kind: Kind::Text,
        default: None,
        value_name: "ALERT",
        help: "The alert: labels (a=b,c=d), or JSON with labels and annotations; an example when not given.",
    },
    Setting {
        name: "resolved",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Show what is sent once the alert is resolved.",
    },
    Setting {
        name: "send",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Send it, too.",
    },
    Setting {
        name: "web.external-url",
        kind: Kind::Text,
        default: Some("http://localhost:9090"),
        value_name: "URL",
        help: "The URL under which people reach us; links in messages begin with it.",
    },
];

fn alerts() -> Program {
    const SPAN: &[Setting] = &[
        Setting {
            name: "start",
            kind: Kind::Text,
            default: None,
            value_name: "TIME",
            help: "First time: seconds since 1970, or RFC 3339.",
        },
        Setting {
            name: "end",
            kind: Kind::Text,
            default: None,
            value_name: "TIME",
            help: "Last time: seconds since 1970, or RFC 3339.",
        },
    ];
    Program {
        name: "alerts",
        about: "Looks into alerts and their notifications.",
        commands: vec![
            Program {
                name: "explain",
                about: "Says what happened to alerts: when they fired, what kept them quiet, who was told, what came back.",
                examples: "# Why did this page\npromontory alerts explain alertname=DiskFull instance=db-1\n# What happened in an hour\npromontory alerts explain --start 2026-08-01T00:00:00Z --end 2026-08-01T01:00:00Z alertname=DiskFull",
                settings: vec![SPAN, OUTPUT, SERVER],
                arguments: &[Argument {
                    name: "MATCHER",
                    help: "What the labels of the alerts satisfy: name=value, or any matcher",
                    optional: true,
                    repeated: true,
                }],
                ..Program::default()
            },
            Program {
                name: "preview",
                about: "Shows what a receiver would be sent, secrets hidden; nothing leaves unless --send is given.",
                examples: "# The example alert, as the receiver ops would be told\npromontory alerts preview --receiver ops --config alertmanager.yml\n# An alert of one's own, sent\npromontory alerts preview --receiver ops --alert alertname=Test,severity=page --send",
                settings: vec![PREVIEW, OUTPUT],
                ..Program::default()
            },
        ],
        ..Program::default()
    }
}

const TEST_RULES: &[Setting] = &[
    Setting {
        name: "run",
        kind: Kind::Texts,
        default: None,
        value_name: "REGEX",
        help: "Run only tests whose name this is found in; several times for several.",
    },
    Setting {
        name: "diff",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Show alerts that differ line by line.",
    },
    Setting {
        name: "debug",
        kind: Kind::Switch,
        default: Some("false"),
        value_name: "",
        help: "Say what runs, and show all samples at the end of each test.",
    },
    Setting {
        name: "junit",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "Write results as JUnit XML to this file, too.",
    },
    IGNORE_UNKNOWN_FIELDS,
    ENABLE_FEATURE,
];

fn test() -> Program {
    Program {
        name: "test",
        about: "Runs tests of configurations.",
        commands: vec![Program {
            name: "rules",
            about: "Runs unit tests of rules, in promtool's format. Ends with 1 when one fails.",
            examples: "# All tests of a file\npromontory test rules tests.yml\n# Some of them, for a build server\npromontory test rules --run disk --junit report.xml tests.yml",
            settings: vec![TEST_RULES],
            arguments: &[Argument {
                name: "FILE",
                help: "A file of unit tests",
                optional: false,
                repeated: true,
            }],
            ..Program::default()
        }],
        ..Program::default()
    }
}

const BACKTEST: &[Setting] = &[
    Setting {
        name: "rules",
        kind: Kind::Texts,
        default: None,
        value_name: "FILES",
        help: "A rule file, or a pattern for some; several times for several. Groups are due at the times that the path and their names give: the paths of the running configuration give the times of the running rules.",
    },
    Setting {
        name: "diff",
        kind: Kind::Texts,
        default: None,
        value_name: "FILES",
        help: "Rule files of another set: say what they would have told instead. Ends with 1 when anything differs, as diff does.",
    },
    Setting {
        name: "alertmanager-config",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "Alertmanager's configuration file; all goes to one receiver when not given.",
    },
    Setting {
        name: "silences",
        kind: Kind::Path,
        default: None,
        value_name: "FILE",
        help: "Silences of the time, as GET /api/v2/silences and amtool silence query --expired -o json give them; those of the aggregator at --url when not given.",
    },
    Setting {
        name: "since",
        kind: Kind::Duration(Duration::from_secs(1), YEAR),
        default: Some("7d"),
        value_name: "DURATION",
        help: "How long before --until to begin.",
    },
    Setting {
        name: "until",
        kind: Kind::Text,
        default: None,
        value_name: "TIME",
        help: "The end: seconds since 1970, or RFC 3339; now when not given.",
    },
    Setting {
        name: "warm-up",
        kind: Kind::Duration(Duration::ZERO, YEAR),
        default: None,
        value_name: "DURATION",
        help: "For so long before it rules are evaluated already, so that what fires then is not new; as long as the longest alert is pending and fires on, and ten minutes, when not given.",
    },
    Setting {
        name: "evaluation-interval",
        kind: Kind::Duration(Duration::from_secs(1), YEAR),
        default: Some("1m"),
        value_name: "DURATION",
        help: "The interval of groups that have none of their own.",
    },
    Setting {
        name: "rule-query-offset",
        kind: Kind::Duration(Duration::ZERO, YEAR),
        default: Some("0s"),
        value_name: "DURATION",
        help: "The query offset of groups that have none of their own.",
    },
    Setting {
        name: "external-label",
        kind: Kind::Texts,
        default: None,
        value_name: "NAME=VALUE",
        help: "A label that all alerts get; several times for several.",
    },
    Setting {
        name: "chunk",
        kind: Kind::Duration(Duration::from_secs(60), YEAR),
        default: Some("1h"),
        value_name: "DURATION",
        help: "So much of history is read at once: longer is faster, and takes more memory.",
    },
    Setting {
        name: "max-samples",
        kind: Kind::Integer(1_000, 10_000_000_000),
        default: Some("20000000"),
        value_name: "N",
        help: "Samples held at once; each takes 24 bytes and, while a chunk is read, up to twice that.",
    },
];

fn backtest() -> Program {
    Program {
        name: "backtest",
        about: "Says who would have been told what and when: replays the history in a data folder that no process uses, or of an aggregator that runs (--url), through rules, grouping, inhibition, silences and routing. Nothing is sent, and nothing is written. Ends with 0 when it is done, with 2 when it cannot be.",
        examples: "# What a new rule file would have meant in the last week\npromontory backtest --rules new.yml --alertmanager-config alertmanager.yml --storage.path /var/lib/promontory\n# What changes when it takes the place of the old one\npromontory backtest --rules new.yml --diff old.yml --storage.path /var/lib/promontory\n# The same from the history of an aggregator that runs\npromontory backtest --rules new.yml --diff old.yml --url http://monitor.example:9090",
        settings: vec![BACKTEST, &[STORAGE_PATH], BACKTEST_SERVER, OUTPUT],
        ..Program::default()
    }
}

fn agents() -> Program {
    Program {
        name: "agents",
        about: "Lists the agents: who is connected, how, how late, how full their spools are.",
        examples: "# As a table\npromontory agents",
        settings: vec![OUTPUT, SERVER],
        ..Program::default()
    }
}
