//! Where the hierarchies of cgroups are mounted.

use std::path::{Path, PathBuf};

/// The controllers whose files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Shares, quotas, throttling.
    Cpu,
    /// Time used; on v2 part of `cpu`.
    CpuAccounting,
    /// Memory.
    Memory,
    /// Block devices: `io` on v2, `blkio` on v1.
    Io,
    /// Numbers of tasks.
    Pids,
    /// None: what every cgroup has.
    Core,
}

impl Controller {
    /// Those with a hierarchy of their own on v1, and the names that its folder may have.
    const V1: [(Self, &'static [&'static str]); 5] = [
        (Self::Memory, &["memory"]),
        (Self::CpuAccounting, &["cpuacct", "cpu,cpuacct"]),
        (Self::Cpu, &["cpu", "cpu,cpuacct"]),
        (Self::Io, &["blkio"]),
        (Self::Pids, &["pids"]),
    ];
}

/// The version of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy per controller.
    V1,
    /// One hierarchy.
    V2,
}

/// The hierarchies below one folder.
///
/// In a hybrid layout (controllers on v1, and an empty v2 hierarchy beside them in `unified`) values are read on v1, and
/// `cgroup.events` on v2 where a group is there too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    version: Version,
    /// On v2 one, the root.
    hierarchies: Vec<(Controller, PathBuf)>,
    /// The v2 hierarchy, where there is one.
    unified: Option<PathBuf>,
}

impl Layout {
    /// Looks at what is mounted; `None` when there are no cgroups.
    pub(crate) fn find(cgroupfs: &Path) -> Option<Self> {
        let is_v2 = |folder: &Path| folder.join("cgroup.controllers").exists();
        if is_v2(cgroupfs) {
            return Some(Self {
                version: Version::V2,
                hierarchies: vec![(Controller::Core, cgroupfs.to_owned())],
                unified: Some(cgroupfs.to_owned()),
            });
        }
        let hierarchies: Vec<_> = Controller::V1
            .into_iter()
            .filter_map(|(controller, names)| {
                let mut folders = names.iter().map(|name| cgroupfs.join(name));
                Some((controller, folders.find(|folder| folder.is_dir())?))
            })
            .collect();
        let unified = Some(cgroupfs.join("unified")).filter(|folder| is_v2(folder));
        (!hierarchies.is_empty()).then_some(Self {
            version: Version::V1,
            hierarchies,
            unified,
        })
    }

    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// The folder of the hierarchy whose tree is followed: on v1 the one of memory, else the first there is.
    pub(crate) fn tree(&self) -> &Path {
        self.hierarchies
            .first()
            .map_or_else(|| Path::new(""), |(_, folder)| folder)
    }

    /// The folder of the group `id` (`/` is the root's) in the hierarchy of a controller; `None` when that is not mounted.
    pub(crate) fn folder(&self, controller: Controller, id: &str) -> Option<PathBuf> {
        let is_it = |mounted: &Controller| match self.version {
            Version::V2 => true,
            Version::V1 => *mounted == controller,
        };
        if controller == Controller::Core && self.version == Version::V1 {
            return Some(below(self.tree(), id));
        }
        let mut mounted = self.hierarchies.iter();
        let (_, root) = mounted.find(|(mounted, _)| is_it(mounted))?;
        Some(below(root, id))
    }

    /// The file that says whether a group has processes; on v1 only where there is a v2 hierarchy with the same group.
    pub(crate) fn events_file(&self, id: &str) -> Option<PathBuf> {
        let folder = below(self.unified.as_ref()?, id);
        Some(folder.join("cgroup.events"))
    }
}

/// Returns the folder of the group `id` in a hierarchy.
pub(crate) fn below(root: &Path, id: &str) -> PathBuf {
    match id.trim_start_matches('/') {
        "" => root.to_owned(),
        path => root.join(path),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(folders: &[&str], files: &[&str], version: Option<Version>) -> Option<Layout> {
        let root = tempfile::tempdir().unwrap();
        for folder in folders {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for file in files {
            fs::write(root.path().join(file), "").unwrap();
        }
        let layout = Layout::find(root.path());
        assert_eq!(layout.as_ref().map(Layout::version), version, "{folders:?}");
        layout
    }

    #[test]
    fn layouts_are_told_apart() {
        check(&[], &["cgroup.controllers"], Some(Version::V2));
        check(&["freezer", "devices"], &[], None);
        check(&[], &[], None);
        let pure = check(&["cpu,cpuacct", "memory"], &[], Some(Version::V1)).unwrap();
        assert_eq!(pure.events_file("/a"), None);
        assert!(pure.tree().ends_with("memory"));
        for controller in [Controller::Cpu, Controller::CpuAccounting] {
            let folder = pure.folder(controller, "/a/b").unwrap();
            assert!(folder.ends_with("cpu,cpuacct/a/b"));
        }
        assert_eq!(pure.folder(Controller::Io, "/a"), None);
        let hybrid = check(
            &["cpuacct", "unified"],
            &["unified/cgroup.controllers"],
            Some(Version::V1),
        );
        let events = hybrid.unwrap().events_file("/a").unwrap();
        assert!(events.ends_with("unified/a/cgroup.events"));
    }
}
