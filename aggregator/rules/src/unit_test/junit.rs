//! Results as XML that test runners read: JUnit's form.

use std::fmt;

use super::Tested;

/// Results of files of tests, to be written as XML.
#[derive(Debug, Default)]
pub struct Junit<'a> {
    suites: Vec<(&'a str, &'a Tested)>,
}

impl<'a> Junit<'a> {
    /// Adds what a file came to.
    pub fn add(&mut self, file: &'a str, tested: &'a Tested) {
        self.suites.push((file, tested));
    }
}

impl fmt::Display for Junit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<testsuites>")?;
        for (file, tested) in &self.suites {
            suite(f, file, tested)?;
        }
        f.write_str("</testsuites>")
    }
}

fn suite(f: &mut fmt::Formatter<'_>, file: &str, tested: &Tested) -> fmt::Result {
    let failures: usize = tested.cases.iter().map(|case| case.failures.len()).sum();
    write!(
        f,
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"{}\" skipped=\"0\" timestamp=\"\">",
        escaped(file),
        tested.cases.len(),
        tested.refused.len()
    )?;
    for error in &tested.refused {
        let error = escaped(error);
        write!(
            f,
            "<testcase name=\"(prior to any test)\"><error>{error}</error></testcase>"
        )?;
    }
    for case in &tested.cases {
        write!(f, "<testcase name=\"{}\">", escaped(&case.name))?;
        for failure in &case.failures {
            write!(f, "<failure>{}</failure>", escaped(failure))?;
        }
        f.write_str("</testcase>")?;
    }
    f.write_str("</testsuite>")
}

/// Returns `text` as it may stand in XML; what no XML may hold is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&#34;"),
            '\n' => out.push_str("&#xA;"),
            '\t' => out.push_str("&#x9;"),
            '\r' => out.push_str("&#xD;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit_test::Case;

    #[test]
    fn results_are_written_as_xml() {
        let tested = Tested {
            cases: vec![
                Case {
                    name: "a<b".to_owned(),
                    failures: Vec::new(),
                },
                Case {
                    name: "c".to_owned(),
                    failures: vec!["x\ny".to_owned()],
                },
            ],
            ..Tested::default()
        };
        let mut junit = Junit::default();
        junit.add("f.yml", &tested);
        assert_eq!(
            junit.to_string(),
            "<testsuites><testsuite name=\"f.yml\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\" timestamp=\"\"><testcase name=\"a&lt;b\"></testcase><testcase name=\"c\"><failure>x&#xA;y</failure></testcase></testsuite></testsuites>"
        );
    }
}
