//! Debian's amtool, unmodified: what it prints of us is what it prints of Debian's own Alertmanager, asked the same in the same order.
//! And Debian's Alertmanager is told of what our rules find.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clock::{Clock as _, SystemClock};
use model::TimestampMs;
use serde_json::Value;
use tempfile::TempDir;
use tests::processes::{
    Aggregator, PATIENCE, Process, free_port, get, tool, wait_until, write_series,
};

const AMTOOL: &str = "/usr/bin/amtool";
const PEER: &str = "/usr/bin/prometheus-alertmanager";

const CONFIG: &str = "\
route:
  receiver: ops
  group_by: [alertname]
  routes:
  - matchers: ['team=\"db\"']
    receiver: db
    continue: true
  - matchers: ['severity=~\"page|wake\"']
    receiver: pager
  - match_re: {service: web.*|front}
    match: {tier: a}
    receiver: pager
inhibit_rules:
- source_matchers: [severity=\"page\"]
  target_matchers: [severity=\"info\"]
  equal: [team]
receivers:
- name: ops
- name: db
- name: pager
";

/// Debian's Alertmanager, without a cluster.
struct Peer {
    // First, so that it ends before its folder goes.
    _process: Process,
    _folder: TempDir,
    web: String,
    url: String,
}

impl Peer {
    fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let config = folder.path().join("alertmanager.yml");
        fs::write(&config, CONFIG).expect("a file");
        let web = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(PEER);
        command.arg("--config.file").arg(&config);
        command.arg("--storage.path").arg(folder.path());
        command.args(["--web.listen-address", &web, "--cluster.listen-address="]);
        let process = Process::start(&mut command, folder.path(), "alertmanager");
        wait_until(PATIENCE, "alertmanager", || {
            get(&web, "/-/ready").filter(|answer| answer.status == 200)
        });
        Self {
            _process: process,
            _folder: folder,
            url: format!("http://{web}"),
            web,
        }
    }
}

const SKIPPED: &str =
    "skipped: there is no amtool; Debian's package prometheus-alertmanager has it";

fn is_installed() -> bool {
    Path::new(AMTOOL).exists() && Path::new(PEER).exists()
}

fn amtool(url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(AMTOOL);
    command.arg("--alertmanager.url").arg(url).args(arguments);
    command.output().expect("amtool runs")
}

/// What a script has printed, with names and times that no two runs share taken out.
fn played(url: &str, folder: &Path) -> Vec<String> {
    let mut said = Vec::new();
    let mut run = |arguments: &[&str]| -> String {
        let output = amtool(url, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push(format!("{arguments:?} {:?}\n{text}", output.status.code()));
        text
    };
    run(&["alert", "query"]);
    run(&[
        "alert",
        "add",
        "DiskFull",
        "team=db",
        "severity=page",
        "--annotation=summary=full",
    ]);
    run(&["alert", "add", "DiskSlow", "team=db", "severity=info"]);
    run(&[
        "alert",
        "add",
        "Deploy",
        "team=web",
        "severity=info",
        "--end=2020-01-01T00:00:00Z",
    ]);
    run(&["alert", "add", "alertname=Odd", "path=/a b/\"c\""]);
    for filter in [
        &[][..],
        &["DiskFull"],
        &["team=~d.*"],
        &["--inhibited"],
        &["--receiver=pager"],
    ] {
        let query = ["alert", "query"].iter().chain(filter).copied();
        run(&query.collect::<Vec<_>>());
    }
    run(&["-o", "json", "alert", "query", "team=db"]);
    let add = |matcher: &'static str| {
        [
            "silence",
            "add",
            "--author=me",
            "--comment=why",
            "--duration=2h",
            matcher,
        ]
    };
    let first = run(&add("alertname=DiskFull")).trim().to_owned();
    run(&add("team!=db"));
    run(&["silence", "add", "--author=me", "--comment=why", "a=~.*"]);
    run(&["silence", "add", "a=b"]);
    run(&["silence", "query", "alertname=DiskFull"]);
    run(&["alert", "query", "--silenced"]);
    run(&["-o", "extended", "alert", "query", "--silenced"]);
    let longer = run(&[
        "silence",
        "update",
        "--comment=longer",
        "--duration=5h",
        &first,
    ]);
    run(&["silence", "query", "alertname=DiskFull"]);
    assert!(longer.contains("longer"), "{longer}");
    run(&["silence", "expire", &first]);
    run(&["silence", "query", "alertname=DiskFull"]);
    run(&["silence", "query", "--expired", "alertname=DiskFull"]);
    let silences = folder.join("silences.json");
    let list = r#"[{"matchers":[{"name":"x","value":"y","isRegex":false,"isEqual":true}],"startsAt":"2020-01-01T00:00:00.000Z","endsAt":"2090-01-01T00:00:00.000Z","createdBy":"import","comment":"many"}]"#;
    fs::write(&silences, list).expect("a file");
    run(&["silence", "import", &silences.display().to_string()]);
    run(&["silence", "query", "x=y"]);
    run(&["config", "routes", "test", "team=db", "severity=wake"]);
    said.iter().map(|text| without_names(text)).collect()
}

/// Takes out what differs from run to run: names of silences, times, tabs that follow from their widths, the annotations of silences
/// that 0.25 does not know.
fn without_names(text: &str) -> String {
    let is_name = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        bare.len() == 36 && bare.matches('-').count() == 4
    };
    let is_time = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        bare.starts_with("20") && bare.len() >= 8 && bare.contains(['-', ':', 'T'])
            || bare.len() == 8 && bare.matches(':').count() == 2
    };
    let words = text.split_whitespace().map(|word| {
        if is_name(word) {
            "NAME".to_owned()
        } else if is_time(word) {
            "TIME".to_owned()
        } else {
            json_without_names(word)
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The same within a line of JSON, whose words are not apart.
fn json_without_names(word: &str) -> String {
    if !word.starts_with("[{") {
        return word.to_owned();
    }
    let Ok(Value::Array(mut items)) = serde_json::from_str(word) else {
        return word.to_owned();
    };
    for item in &mut items {
        for name in ["startsAt", "endsAt", "updatedAt"] {
            item[name] = "TIME".into();
        }
        // Younger than 0.25, and so are the receiver's labels.
        if let Some(status) = item["status"].as_object_mut() {
            status.remove("mutedBy");
        }
    }
    Value::Array(items).to_string()
}

#[test]
fn amtool_says_of_us_what_it_says_of_alertmanager() {
    if !is_installed() {
        println!("{SKIPPED}");
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let config = folder.path().join("alertmanager.yml");
    fs::write(&config, CONFIG).expect("a file");
    let aggregator =
        Aggregator::new(&["--alertmanager.config-file", &config.display().to_string()]);
    let peer = Peer::start();
    let (ours, theirs) = (
        played(&aggregator.url(), folder.path()),
        played(&peer.url, folder.path()),
    );
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    println!("{} commands", ours.len());
}

/// Fields of ours are none of amtool's business, and what they mean is shown in its words.
#[test]
fn amtool_works_with_what_is_ours() {
    if !is_installed() {
        println!("{SKIPPED}");
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let config = folder.path().join("alertmanager.yml");
    let text = "
route:
  receiver: ops
  repeat_interval_max: 1d
  send_resolved_suppressed: false
  routes: [{matchers: [team=db], receiver: db}]
receivers:
- {name: ops}
- {name: db, slack_configs: [{api_url: 'http://127.0.0.1:1/', channel: c, style: rich}]}
time_intervals: [{name: always, time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]}]
recurring_silences: [{name: quiet, matchers: [severity=info], time_intervals: [always], comment: never at night}]
";
    fs::write(&config, text).expect("a file");
    let aggregator =
        Aggregator::new(&["--alertmanager.config-file", &config.display().to_string()]);
    let url = aggregator.url();
    let run = |arguments: &[&str]| {
        let output = amtool(&url, arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout);
        if output.status.success() {
            Ok(said)
        } else {
            Err(format!("{said}{}", text(&output.stderr)))
        }
    };
    let good =
        |arguments: &[&str]| run(arguments).unwrap_or_else(|why| panic!("{arguments:?} {why}"));
    assert!(good(&["config", "show"]).contains("recurring_silences"));
    assert!(good(&["config", "routes", "show"]).contains("receiver: db"));
    assert_eq!(good(&["config", "routes", "test", "team=db"]).trim(), "db");
    good(&["alert", "add", "Loud", "severity=page"]);
    good(&["alert", "add", "Quiet", "severity=info"]);
    let silenced = good(&["alert", "query", "--silenced"]);
    assert!(
        silenced.contains("Quiet") && !silenced.contains("Loud"),
        "{silenced}"
    );
    let silences = good(&["-o", "json", "silence", "query"]);
    let silences: Value = serde_json::from_str(&silences).expect("JSON");
    let [silence] = &silences.as_array().expect("a list")[..] else {
        panic!("{silences}")
    };
    assert_eq!(silence["comment"], "never at night");
    assert_eq!(silence["createdBy"], "recurring_silences: quiet");
    let id = silence["id"].as_str().expect("a name");
    for arguments in [
        &["silence", "expire", id][..],
        &["silence", "update", "--duration=1h", id],
    ] {
        let refused = run(arguments).expect_err("it is of the file");
        assert!(refused.contains("recurring_silences"), "{refused}");
    }
    assert!(good(&["alert", "query", "--silenced"]).contains("Quiet"));
}

#[test]
fn files_and_routes_are_judged_as_by_amtool() {
    if !is_installed() {
        println!("{SKIPPED}");
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let good = file("good.yml", CONFIG).display().to_string();
    let bad = file("bad.yml", "route: {receiver: x}\n")
        .display()
        .to_string();
    let theirs = |arguments: &[&str]| {
        let output = Command::new(AMTOOL)
            .args(arguments)
            .output()
            .expect("amtool runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let ours = tool(&["check", "alertmanager-config", &good]).success();
    let (is_good, said) = theirs(&["check-config", &good]);
    assert_eq!((true, ours.trim()), (is_good, said.trim()));
    let refused = tool(&["check", "alertmanager-config", &bad]).failure(1);
    assert!(refused.contains("failed to validate 1 file"), "{refused}");
    assert!(!theirs(&["check-config", &bad]).0);
    let cases: &[&[&str]] = &[
        &["team=db"],
        &["team=db", "severity=page"],
        &["severity=wake"],
        &["other=x"],
        &["service=website", "tier=a"],
        &["team=web,app", "team=db"],
    ];
    for labels in cases {
        for tree in [&[][..], &["--tree"]] {
            let mut arguments = vec!["check", "routes"];
            arguments.extend(tree);
            arguments.push(&good);
            arguments.extend(*labels);
            let ours = tool(&arguments).success();
            let flag = format!("--config.file={good}");
            let mut arguments = vec!["config", "routes", "test", &flag];
            arguments.extend(tree);
            arguments.extend(*labels);
            let words = |text: &str| {
                text.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            let (_, theirs) = theirs(&arguments);
            assert_eq!(words(&ours), words(&theirs), "{labels:?}");
        }
    }
}

/// Writes a sample of the series that a rule looks at.
fn write_load(aggregator: &Aggregator, value: f64) {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let labels = vec![label("__name__", "load"), label("node", "n1")];
    let now = TimestampMs::from(SystemClock::new().wall()).0;
    assert!(write_series(
        aggregator.web(),
        &[(labels, vec![(now, value)])]
    ));
}

#[test]
fn alertmanager_is_sent_what_rules_find_until_it_is_over() {
    if !is_installed() {
        println!("{SKIPPED}");
        return;
    }
    let peer = Peer::start();
    let folder = TempDir::new().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    write(
        "rules.yml",
        "groups: [{name: g, rules: [{alert: Loaded, expr: 'load > 5', labels: {severity: page}, annotations: {summary: 'at {{ $value }}'}}]}]\n",
    );
    write(
        "more.json",
        &format!(r#"[{{"targets": ["{}"]}}]"#, peer.web),
    );
    let config = write(
        "promontory.yml",
        "global: {evaluation_interval: 1s, external_labels: {replica: a, cluster: c}}
rule_files: [rules.yml]
alerting:
  alert_relabel_configs: [{regex: replica, action: labeldrop}]
  alertmanagers:
  - file_sd_configs: [{files: [more.json]}]
  - static_configs: [{targets: ['gone:1']}]
    relabel_configs: [{source_labels: [__address__], regex: 'gone.*', action: drop}]
",
    );
    let mut aggregator = Aggregator::new(&["--config.file", &config]);
    let urls = get(aggregator.web(), "/api/v1/alertmanagers")
        .expect("an answer")
        .json();
    assert_eq!(
        urls["data"],
        serde_json::json!({
            "activeAlertmanagers": [{"url": format!("{}/api/v2/alerts", peer.url)}],
            "droppedAlertmanagers": [{"url": "http://gone:1/api/v2/alerts"}],
        })
    );
    write_load(&aggregator, 7.0);
    let alerts = || {
        let answer = get(&peer.web, "/api/v2/alerts")?.json();
        answer.as_array().cloned()
    };
    let alert: Value = wait_until(PATIENCE, "the alert at Alertmanager", || {
        alerts()?.into_iter().next()
    });
    assert_eq!(
        alert["labels"],
        serde_json::json!({"alertname": "Loaded", "cluster": "c", "node": "n1", "severity": "page"})
    );
    assert_eq!(alert["annotations"]["summary"], "at 7");
    let link = alert["generatorURL"].as_str().expect("a link");
    assert!(
        link.ends_with("/graph?g0.expr=load+%3E+5&g0.tab=1"),
        "{link}"
    );
    write_load(&aggregator, 1.0);
    wait_until(PATIENCE, "the end of the alert", || {
        alerts()?.is_empty().then_some(())
    });
    let sent = format!(
        "promontory_notifications_sent_total{{alertmanager=\"{}/api/v2/alerts\"}}",
        peer.url
    );
    assert!(aggregator.metric(&sent) > 1.5);
    aggregator.stop();
}
