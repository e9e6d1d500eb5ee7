use files::Simulated;
use model::{MatchOp, Matcher, TimeRange, TimestampMs};
use rows::BatchNumber;

use super::*;

fn entry(shard: u16) -> PartitionEntry {
    PartitionEntry {
        shard,
        times: TimeRange::new(TimestampMs(-5), TimestampMs(70)),
        bytes: 4_096,
        samples: 12,
        until: 33,
        level: Level::Sealed,
        tier: Tier::Raw,
        class: String::new(),
        deleted: 0,
    }
}

fn contents() -> Contents {
    let mut numbers = rows::NumberSet::default();
    numbers.insert(BatchNumber(3));
    let used = TimestampMs(9);
    let mut contents = Contents::empty(StoreId(7), 2);
    contents.sealed = vec![33, 44];
    contents.partitions = BTreeMap::from([("a".to_owned(), entry(0))]);
    let key = ("node-1".parse().unwrap(), rows::Epoch(5));
    contents.numbers = BTreeMap::from([(key, KnownNumbers { used, numbers })]);
    contents
}

/// Makes a catalogue with the bytes that the program wrote before version 2.
fn write_version_1(files: &SharedFileSystem, folder: &Path, contents: &Contents) {
    let path = Catalogue::path(folder);
    let database = open_database(files, &path, Open::create_new()).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut sum = crc32c::crc32c(&contents.store_id.0.to_le_bytes());
    {
        let mut shards = transaction.open_table(SHARDS).unwrap();
        for (shard, position) in (0u16..).zip(&contents.sealed) {
            shards.insert(shard, *position).unwrap();
            sum = crc32c::crc32c_append(sum, &position.to_le_bytes());
        }
        let mut partitions = transaction.open_table(PARTITIONS).unwrap();
        for (name, entry) in &contents.partitions {
            let mut value = entry.shard.to_le_bytes().to_vec();
            value.extend_from_slice(&entry.times.start.0.to_le_bytes());
            value.extend_from_slice(&entry.times.end.0.to_le_bytes());
            value.extend_from_slice(&entry.bytes.to_le_bytes());
            value.extend_from_slice(&entry.samples.to_le_bytes());
            partitions.insert(name.as_str(), value.as_slice()).unwrap();
            sum = crc32c::crc32c_append(sum, name.as_bytes());
            sum = crc32c::crc32c_append(sum, &value);
        }
        let mut numbers = transaction.open_table(NUMBERS).unwrap();
        for (key, known) in &contents.numbers {
            let (key, value) = (encode_epoch(key), encode_known(known));
            numbers.insert(key.as_slice(), value.as_slice()).unwrap();
            sum = crc32c::crc32c_append(sum, &key);
            sum = crc32c::crc32c_append(sum, &value);
        }
        let mut store = transaction.open_table(STORE).unwrap();
        let fields: [(&str, &[u8]); 4] = [
            ("version", &1u32.to_le_bytes()),
            ("store_id", &contents.store_id.0.to_le_bytes()),
            ("shards", &(contents.sealed.len() as u64).to_le_bytes()),
            ("checksum", &sum.to_le_bytes()),
        ];
        for (name, value) in fields {
            store.insert(name, value).unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn world() -> (SharedFileSystem, PathBuf) {
    let files: SharedFileSystem = Arc::new(Simulated::new());
    let folder = PathBuf::from("/data");
    files.create_folders(&folder).unwrap();
    (files, folder)
}

fn open(files: &SharedFileSystem, folder: &Path) -> Catalogue {
    let files = SharedFileSystem::clone(files);
    Catalogue::open(files, folder.to_owned()).unwrap().unwrap()
}

#[test]
fn a_catalogue_of_version_1_is_read_and_becomes_one_of_today() {
    let (files, folder) = world();
    write_version_1(&files, &folder, &contents());
    for _ in 0..2 {
        let mut catalogue = open(&files, &folder);
        assert_eq!(catalogue.contents(), &contents());
        catalogue.commit(contents()).unwrap();
    }
    let database = open_database(&files, &Catalogue::path(&folder), Open::write()).unwrap();
    assert_eq!(read_all(&database).unwrap(), (2, contents()));
}

#[test]
fn what_is_committed_is_read_back() {
    let (files, folder) = world();
    let mut all = contents();
    Catalogue::create(SharedFileSystem::clone(&files), folder.clone(), all.clone()).unwrap();
    let matcher = |op, value: &str| Matcher::new("job", op, value).unwrap();
    let delete = Delete {
        range: TimeRange::new(TimestampMs(1), TimestampMs(2)),
        matcher_sets: vec![
            vec![
                matcher(MatchOp::Equal, "a"),
                matcher(MatchOp::NotEqual, "b"),
            ],
            vec![
                matcher(MatchOp::Regex, "c.*"),
                matcher(MatchOp::NotRegex, "d"),
            ],
        ],
    };
    all.deletes = BTreeMap::from([(50, Arc::new(delete))]);
    let import = ImportEntry {
        from: TimestampMs::MIN,
        newest: TimestampMs(7),
        samples: 9,
    };
    all.imports = BTreeMap::from([("01HF".to_owned(), import)]);
    all.split_by = Some(77);
    let merged = PartitionEntry {
        level: Level::Day,
        tier: Tier::Hour,
        class: "long".to_owned(),
        deleted: 50,
        ..entry(1)
    };
    all.partitions = BTreeMap::from([("b".to_owned(), merged)]);
    let mut catalogue = open(&files, &folder);
    catalogue.commit(all.clone()).unwrap();
    drop(catalogue);
    let mut catalogue = open(&files, &folder);
    assert_eq!(catalogue.contents(), &all);
    all.deletes.clear();
    all.imports.clear();
    catalogue.commit(all.clone()).unwrap();
    drop(catalogue);
    assert_eq!(open(&files, &folder).contents(), &all);
}

#[test]
fn names_tell_of_tiers_however_often_they_are_repaired() {
    for (end, tier) in [
        ("", Tier::Raw),
        ("-5", Tier::Raw),
        ("-5-repaired", Tier::Raw),
        ("-5-5m", Tier::Minutes5),
        ("-5-5m-repaired-repaired", Tier::Minutes5),
        ("-5-1h-repaired", Tier::Hour),
    ] {
        let name = format!("00000-1700000000000-0000000000000033{end}.redb");
        assert_eq!(Tier::of_name(&name), tier, "{name}");
    }
}

/// One of each kind of entry, as [`super::decode_any`] takes it, for fuzzing.
pub(crate) fn examples() -> Vec<(&'static str, Vec<u8>)> {
    let contents = contents();
    let with = |which: u8, bytes: Vec<u8>| [vec![which], bytes].concat();
    let partition = contents.partitions.values().next().unwrap();
    let (key, known) = contents.numbers.iter().next().unwrap();
    let delete = Delete {
        range: TimeRange::new(TimestampMs(-5), TimestampMs(70)),
        matcher_sets: vec![vec![Matcher::new("a", MatchOp::Regex, "b.*").unwrap()]],
    };
    vec![
        ("partition", with(0, partition.encode())),
        ("epoch", with(2, encode_epoch(key))),
        ("known", with(3, encode_known(known))),
        ("delete", with(4, delete.encode())),
    ]
}
