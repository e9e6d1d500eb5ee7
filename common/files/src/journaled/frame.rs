//! The body of a frame, as FORMAT.md draws it: the changes of one write.

const VERSION: u8 = 1;
const REMOVED: u32 = u32::MAX;

/// Returns a body without changes.
pub(super) fn begin() -> Vec<u8> {
    vec![VERSION]
}

pub(super) fn is_empty(body: &[u8]) -> bool {
    body.len() == 1
}

/// Adds a change. Parts of 4 GiB do not fit into a journal anyway.
pub(super) fn put(body: &mut Vec<u8>, table: &str, key: &[u8], value: Option<&[u8]>) {
    for part in [Some(table.as_bytes()), Some(key), value] {
        let length = part.map_or(REMOVED, |part| u32::try_from(part.len()).unwrap_or(REMOVED));
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(part.unwrap_or_default());
    }
}

/// Hands over the changes of a body; `None` when it is of another version.
pub(super) fn read(
    body: &[u8],
    mut take: impl FnMut(&str, Vec<u8>, Option<Vec<u8>>),
) -> Option<()> {
    let (version, mut rest) = body.split_first()?;
    if *version != VERSION {
        return None;
    }
    while !rest.is_empty() {
        let table = std::str::from_utf8(part(&mut rest)??).ok()?;
        let key = part(&mut rest)??;
        let value = part(&mut rest)?;
        take(table, key.to_vec(), value.map(<[u8]>::to_vec));
    }
    Some(())
}

/// Takes a part off the front; the inner `None` is one that is removed.
fn part<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, behind) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length);
    let length_bytes = if length == REMOVED {
        0
    } else {
        length as usize
    };
    let (part, behind) = behind.split_at_checked(length_bytes)?;
    *rest = behind;
    Some((length != REMOVED).then_some(part))
}
