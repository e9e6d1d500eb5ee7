//! Our own test scripts: `tests/scripts/*.test`, in the language of `promql::testscript`.

use std::path::Path;

use promql::testscript::{run, settings};

#[test]
fn our_own_scripts_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let (mut passed, mut failed) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let report = run(&std::fs::read_to_string(&path).unwrap(), &settings());
        for failure in &report.failures {
            println!("{}:{} {}", path.display(), failure.line, failure.what);
        }
        passed += report.passed;
        failed += report.failures.len();
    }
    assert_eq!(failed, 0, "failures");
    assert!(passed > 150, "{passed} statements");
}
