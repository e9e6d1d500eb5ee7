//! A second name for a file, or where that cannot be, a copy.

use std::io;
use std::path::Path;

use crate::{FileSystem, Open};

const PIECE_BYTES: usize = 256 * 1024;

/// Makes `to` stand for the bytes of `from`, which nobody changes any more: by a link, or where the volume has none or `to` is on another,
/// by a synced copy. Durable after [`FileSystem::sync_folder`] of the folder of `to`. What a failed copy left is removed.
pub fn link_or_copy(files: &dyn FileSystem, from: &Path, to: &Path) -> io::Result<()> {
    match files.link(from, to) {
        Err(error) if links_cannot_be(error.kind()) => {}
        other => return other,
    }
    let copied = copy(files, from, to);
    if let Err(error) = &copied
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        // The first error tells more than one of cleaning up.
        files.remove(to).unwrap_or_default();
    }
    copied
}

fn links_cannot_be(kind: io::ErrorKind) -> bool {
    // "Not permitted" is what volumes without links say.
    matches!(
        kind,
        io::ErrorKind::CrossesDevices
            | io::ErrorKind::Unsupported
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TooManyLinks
    )
}

fn copy(files: &dyn FileSystem, from: &Path, to: &Path) -> io::Result<()> {
    let source = files.open(from, Open::read())?;
    let target = files.open(to, Open::create_new())?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    loop {
        let read = source.read_at(at, &mut piece)?;
        if read == 0 {
            break;
        }
        target.write_at(at, &piece[..read])?;
        at += read as u64;
    }
    target.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Disk, Fault, Operation, Simulated};

    fn fill(files: &dyn FileSystem, path: &Path) {
        let file = files.open(path, Open::create_new()).unwrap();
        file.write_at(0, &[7; 300_000]).unwrap();
        file.sync_data().unwrap();
    }

    #[test]
    fn a_link_takes_no_space_and_outlives_the_first_name() {
        let disk = Simulated::new();
        disk.create_folders(Path::new("a/b")).unwrap();
        let (from, to) = (Path::new("one"), Path::new("a/b/two"));
        fill(&disk, from);
        let used = disk.used_bytes();
        link_or_copy(&disk, from, to).unwrap();
        assert_eq!(disk.used_bytes(), used);
        let again = link_or_copy(&disk, from, to).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        disk.sync_folder(Path::new("a/b")).unwrap();
        disk.sync_folder(Path::new("")).unwrap();
        disk.remove(from).unwrap();
        disk.sync_folder(Path::new("")).unwrap();
        disk.crash(3);
        assert_eq!(disk.contents(to).unwrap(), [7; 300_000]);
        assert_eq!(disk.used_bytes(), used);
        disk.remove(to).unwrap();
        assert_eq!(disk.used_bytes(), 0);
    }

    #[test]
    fn where_links_cannot_be_a_copy_is_made() {
        let disk = Simulated::new();
        let (from, to) = (Path::new("one"), Path::new("two"));
        fill(&disk, from);
        let used = disk.used_bytes();
        let elsewhere = Fault::Error(io::ErrorKind::CrossesDevices);
        disk.fail(Operation::Link, 0..2, elsewhere);
        disk.set_capacity(Some(used + 8_192));
        let full = link_or_copy(&disk, from, to).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(!disk.exists(to).unwrap(), "nothing is left of it");
        disk.set_capacity(None);
        link_or_copy(&disk, from, to).unwrap();
        assert_eq!(disk.contents(to).unwrap(), [7; 300_000]);
        assert_eq!(disk.used_bytes(), used * 2);
    }

    #[test]
    fn the_machine_links_and_renames_folders() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        Disk.create_folders(&at("new/within")).unwrap();
        fill(&Disk, &at("one"));
        link_or_copy(&Disk, &at("one"), &at("new/within/two")).unwrap();
        Disk.rename_folder(&at("new"), &at("done")).unwrap();
        assert_eq!(std::fs::read(at("done/within/two")).unwrap(), [7; 300_000]);
        Disk.create_folders(&at("new")).unwrap();
        let taken = Disk.rename_folder(&at("new"), &at("done")).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn the_twin_renames_folders_with_all_in_them() {
        let disk = Simulated::new();
        disk.create_folders(Path::new("a/new/within")).unwrap();
        fill(&disk, Path::new("a/new/within/file"));
        disk.sync_folder(Path::new("a/new/within")).unwrap();
        disk.rename_folder(Path::new("a/new"), Path::new("a/done"))
            .unwrap();
        disk.crash(1);
        let moved = Path::new("a/done/within/file");
        assert_eq!(disk.contents(moved).unwrap().len(), 300_000);
        assert!(!disk.exists(Path::new("a/new")).unwrap());
        disk.create_folders(Path::new("a/new")).unwrap();
        let taken = disk.rename_folder(Path::new("a/new"), Path::new("a/done"));
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
