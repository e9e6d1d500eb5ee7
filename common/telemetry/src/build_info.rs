//! Which build is running.

use crate::Registry;

/// Registers `promontory_build_info`: always 1, with the build in its labels.
pub fn register_build_info(registry: &Registry, version: &str, revision: &str) {
    let labels = ["version", "revision", "os", "arch"];
    let info = registry.gauge_family(
        "promontory_build_info",
        "Always 1; the labels say which build this is.",
        labels,
        1,
    );
    let platform = (std::env::consts::OS, std::env::consts::ARCH);
    info.with([version, revision, platform.0, platform.1])
        .set(1.0);
}

#[cfg(test)]
mod tests {
    use exposition::Format;

    use super::*;

    #[test]
    fn the_build_is_in_the_labels() {
        let registry = Registry::new();
        register_build_info(&registry, "1.2.3", "abc");
        let text = registry.expose(Format::Text);
        assert!(text.contains("promontory_build_info{version=\"1.2.3\",revision=\"abc\",os=\""));
    }
}
