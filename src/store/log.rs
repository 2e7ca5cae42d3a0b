//! What a batch of operations changes, row by row, as the journal keeps it.
//!
//! A row is the number of its table (one byte), the length of its key, the length of its value plus one, or zero for a
//! row that is removed (four bytes each, little-endian), the key and the value as redb writes them.

/// Rows that were written, in their order.
#[derive(Debug, Default)]
pub(super) struct Log(Vec<u8>);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoggedRow<'l> {
    pub(super) table: u8,
    pub(super) key: &'l [u8],
    /// `None`: it was removed.
    pub(super) value: Option<&'l [u8]>,
}

impl Log {
    pub(super) fn put(&mut self, table: u8, key: &[u8], value: &[u8]) {
        self.row(table, key, Some(value));
    }

    pub(super) fn remove(&mut self, table: u8, key: &[u8]) {
        self.row(table, key, None);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn row(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) {
        self.0.push(table);
        self.0.extend(length(key.len()));
        self.0.extend(value.map_or([0; 4], |value| length(value.len().saturating_add(1))));
        self.0.extend(key);
        self.0.extend(value.unwrap_or_default());
    }
}

/// redb refuses keys and values of 3 GiB and more.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

/// The rows that [`Log::bytes`] holds; ends with `Err` where they are not what [`Log`] writes.
pub(super) fn rows(mut bytes: &[u8]) -> impl Iterator<Item = Result<LoggedRow<'_>, Malformed>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let row = read(bytes);
        bytes = row.map_or(&[], |(_, rest)| rest);
        Some(row.map(|(row, _)| row).ok_or(Malformed))
    })
}

/// Not what [`Log`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

fn read(bytes: &[u8]) -> Option<(LoggedRow<'_>, &[u8])> {
    let (table, rest) = bytes.split_first()?;
    let (key_len, rest) = rest.split_first_chunk()?;
    let (value_len, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*key_len)).ok()?)?;
    let (value, rest) = match usize::try_from(u32::from_le_bytes(*value_len)).ok()?.checked_sub(1) {
        Some(len) => rest.split_at_checked(len).map(|(value, rest)| (Some(value), rest))?,
        None => (None, rest),
    };
    Some((LoggedRow { table: *table, key, value }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_read_as_they_were_written(
            written in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40),
                prop::option::of(prop::collection::vec(any::<u8>(), 0..40))), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut log = Log::default();
            for (table, key, value) in &written {
                match value {
                    Some(value) => log.put(*table, key, value),
                    None => log.remove(*table, key),
                }
            }
            let read: Vec<_> = rows(log.bytes()).map(Result::unwrap).collect();
            let expected: Vec<_> = written
                .iter()
                .map(|(table, key, value)| LoggedRow { table: *table, key, value: value.as_deref() })
                .collect();
            prop_assert_eq!(&read, &expected);

            let cut = cut.index(log.bytes().len() + 1);
            let whole: Vec<_> = rows(&log.bytes()[..cut]).collect();
            let n_whole = whole.iter().take_while(|row| row.is_ok()).count();
            prop_assert!(whole.iter().take(n_whole).zip(&expected).all(|(row, expected)| row.as_ref() == Ok(expected)));
            prop_assert!(whole.len() <= n_whole + 1);
        }
    }
}
