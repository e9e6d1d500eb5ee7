//! Debian's amtool renders the golden set as we do: the same engines in another release, by somebody else's hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use template::Mode;

use crate::cases::Case;
use crate::data::{Data, shared};

const AMTOOL: &str = "/usr/bin/amtool";
/// Between texts that are rendered at once: starting a process for each takes long.
const BETWEEN: &str = "\n=====\n";

#[test]
fn amtool_renders_the_golden_set_alike() {
    let Some(folder) = shared("alertmanager-testdata") else {
        return;
    };
    if !Path::new(AMTOOL).exists() {
        println!("skipped: there is no amtool; Debian's package prometheus-alertmanager has it");
        return;
    }
    let amtool = Amtool {
        templates: folder.join("template/*.tmpl"),
        data: Data::read(),
    };
    let cases = Case::read("defaults.jsonl");
    let (good, failing): (Vec<&Case>, Vec<&Case>) =
        cases.iter().partition(|case| case.want.is_ok());
    let mut together = BTreeMap::<_, Vec<&Case>>::new();
    for case in good {
        let place = (case.data.as_str(), case.mode == Mode::Html);
        together.entry(place).or_default().push(case);
    }
    let mut wrong = Vec::new();
    for cases in together.values() {
        for (case, got) in cases.iter().zip(amtool.render(cases)) {
            if !case.is_met_by(&got) {
                wrong.push(format!("{case:?}\n  got {got:?}"));
            }
        }
    }
    for case in failing {
        let got = amtool.render(&[case]);
        if !case.is_met_by(&got[0]) {
            wrong.push(format!("{case:?}\n  got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("amtool: {} cases", cases.len());
}

struct Amtool {
    /// A pattern of Alertmanager's own templates.
    templates: PathBuf,
    data: Data,
}

impl Amtool {
    /// Renders cases of the same data and mode: the output of each, or why all fail.
    fn render(&self, cases: &[&Case]) -> Vec<Result<String, String>> {
        let first = cases[0];
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.json", first.data));
        std::fs::write(&data, self.data.written(&first.data)).unwrap();
        let texts: Vec<&str> = cases.iter().map(|case| case.text.as_str()).collect();
        let kind = match first.mode {
            Mode::Text => "text",
            Mode::Html => "html",
        };
        let output = Command::new(AMTOOL)
            .args(["template", "render", "--template.glob"])
            .arg(&self.templates)
            .args(["--template.type", kind, "--template.text"])
            .arg(texts.join(BETWEEN))
            .arg("--template.data")
            .arg(&data)
            .output()
            .unwrap();
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return vec![Err(why); cases.len()];
        }
        let rendered = String::from_utf8(output.stdout).unwrap();
        let rendered: Vec<_> = rendered
            .split(BETWEEN)
            .map(|one| Ok(one.to_owned()))
            .collect();
        assert_eq!(rendered.len(), cases.len(), "{rendered:?}");
        rendered
    }
}
