//! Machines on a bad day.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::bench::{Bench, UID, container, runtime_id};

const ERRORS: &str = "promontory_container_file_errors_total";
const REFUSED: &str = "promontory_container_groups_refused_total";
const CPU: &str = "container_cpu_usage_seconds_total";
const MEMORY: &str = "container_memory_rss";

fn write(bench: &Bench, path: &str) {
    for (file, text) in [
        ("cgroup.events", "populated 1\n"),
        ("cpu.stat", "usage_usec 1000000\n"),
        ("memory.stat", "anon 1\n"),
    ] {
        bench.put(&format!("{path}/{file}"), text);
    }
}

#[test]
fn what_cannot_be_parsed_or_read_costs_its_own_group() {
    let mut bench = Bench::v2();
    for number in 1..=3 {
        write(&bench, &container(number));
        bench.name(&runtime_id(number), &format!("c{number}"));
    }
    bench.put(&format!("{}/cpu.stat", container(1)), "\u{0}\u{1}\u{2}");
    fs::write(
        bench.cgroup(&container(2)).join("memory.stat"),
        [0xff; 5_000],
    )
    .unwrap();
    // A folder in place of a file.
    let odd = bench.cgroup(&container(3)).join("io.stat");
    fs::create_dir(odd).unwrap();
    let shown = bench.collect(true);
    let of = |family: &str| -> Vec<String> {
        let all = shown.by_container(family).into_iter();
        all.map(|(name, _)| name).collect()
    };
    assert_eq!(of(CPU), ["c2", "c3"]);
    assert_eq!(of(MEMORY), ["c1", "c3"]);
    // Files that are read often are read twice: as the group is found, and for the collection.
    assert_eq!(bench.own(ERRORS), 6.0);
}

#[test]
fn what_is_not_permitted_costs_its_own_group() {
    let mut bench = Bench::v2();
    write(&bench, &container(1));
    write(&bench, "system.slice/closed.service");
    write(&bench, "system.slice/open.service");
    bench.name(&runtime_id(1), "c1");
    let closed = bench.cgroup("system.slice/closed.service");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let shown = bench.collect(true);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(shown.by_container(CPU).len(), 1);
    assert!(shown.shown.contains_key("/system.slice/open.service"));
}

#[test]
fn groups_that_vanish_between_two_collections_are_forgotten() {
    let mut bench = Bench::v2();
    for number in 1..=50 {
        write(&bench, &container(number));
        bench.name(&runtime_id(number), &format!("c{number}"));
    }
    assert_eq!(bench.collect(true).by_container(CPU).len(), 50);
    fs::remove_dir_all(bench.cgroup("kubepods")).unwrap();
    // The first collection finds them gone, the second ends what was shown.
    let (first, second) = (bench.collect(true), bench.collect(true));
    assert_eq!(second.by_container(CPU).len(), 0);
    // Fifty containers, their pod and two groups around it.
    assert_eq!(first.ended.len() + second.ended.len(), 53);
    assert_eq!(bench.collect(true).ended.len(), 0);
}

#[test]
fn ten_thousand_containers_are_too_many_and_do_no_harm() {
    let mut bench = Bench::new(&[("cgroup.controllers", "cpu\n")], |config| {
        config.groups_max = 4_000;
        config.descriptors_max = 100;
    });
    let pod = bench.cgroup(&format!("kubepods/burstable/pod{UID}"));
    fs::create_dir_all(&pod).unwrap();
    for number in 0..10_000 {
        let folder = pod.join(runtime_id(number));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("cpu.stat"), "usage_usec 1000000\n").unwrap();
        bench.name(&runtime_id(number), &format!("c{number}"));
    }
    let shown = bench.collect(false);
    // The pod is one of the 4,000, and its containers have no files that say whether something runs.
    assert_eq!(shown.by_container(CPU).len(), 3_999);
    assert_eq!(bench.own(REFUSED), 6_001.0);
}

#[test]
fn a_tree_of_a_hundred_thousand_groups_is_bounded() {
    let mut bench = Bench::v2();
    // A container's own business is not even looked at.
    write(&bench, &container(1));
    bench.name(&runtime_id(1), "c1");
    let inner = bench.cgroup(&container(1));
    for number in 0..2_000 {
        fs::create_dir(inner.join(format!("inner-{number}"))).unwrap();
    }
    let wide = bench.cgroup("wide.slice");
    fs::create_dir(&wide).unwrap();
    for number in 0..5_000 {
        fs::create_dir(wide.join(format!("{number}.slice"))).unwrap();
    }
    let mut deep = bench.cgroup("deep.slice");
    for _ in 0..100 {
        deep = deep.join("d");
    }
    fs::create_dir_all(&deep).unwrap();
    let shown = bench.collect(true);
    assert_eq!(shown.by_container(CPU).len(), 1);
    assert!(shown.shown.len() <= 1_003, "{}", shown.shown.len());
    assert!(bench.own(REFUSED) > 4_000.0);
}

#[test]
#[ignore = "makes a hundred thousand folders"]
fn a_tree_of_a_hundred_thousand_groups_is_walked_in_bounded_time() {
    let mut bench = Bench::v2();
    let wide = bench.cgroup("wide.slice");
    for number in 0..100_000 {
        let folder = wide.join(format!("{}.slice/{number}.service", number % 100));
        fs::create_dir_all(folder).unwrap();
    }
    let shown = bench.collect(true);
    assert!(shown.shown.len() <= 1_000, "{}", shown.shown.len());
}
