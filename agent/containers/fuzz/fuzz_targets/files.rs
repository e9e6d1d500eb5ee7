//! Any bytes in all files of a cgroup, of both versions, once as usual and once as the last time: nothing panics, and what a last
//! reading cannot read stays.

#![no_main]

use std::io;

use containers::{CgroupFile, DeviceNames, Files, Network, Reader, Reading, Version};
use libfuzzer_sys::fuzz_target;

/// Every file holds a piece of the input.
struct Pieces<'a> {
    pieces: Vec<&'a [u8]>,
    is_gone: bool,
}

impl Files for Pieces<'_> {
    fn read<'a>(&mut self, file: &CgroupFile, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        if self.is_gone || self.pieces.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let sum: usize = file.name.bytes().map(usize::from).sum();
        buffer.clear();
        buffer.extend_from_slice(self.pieces[sum % self.pieces.len()]);
        Ok(buffer)
    }
}

fuzz_target!(|input: &[u8]| {
    for version in [Version::V1, Version::V2] {
        let mut files = Pieces {
            pieces: input.split(|byte| *byte == 0).collect(),
            is_gone: false,
        };
        let (mut reading, mut buffer) = (Reading::default(), Vec::new());
        let mut reader = Reader::new(&mut files, &mut buffer);
        reading.take_often(version, &mut reader);
        reading.take_seldom(version, &mut reader);
        files.is_gone = true;
        let before = (reading.cpu, reading.memory_peak, reading.oom_kills);
        let last = Reading::last(version, &mut Reader::new(&mut files, &mut buffer));
        reading.end_with(last);
        reading.take_rest(version, &mut Reader::new(&mut files, &mut buffer));
        assert_eq!(before, (reading.cpu, reading.memory_peak, reading.oom_kills));
    }
    Network::default().take(input);
    drop(DeviceNames::read(input));
});
