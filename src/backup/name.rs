//! What backups are called, and which of them are not needed any more.
//!
//! `frontdesk-<box>-<time>-<id>.age`, an incremental one `frontdesk-<box>-<time>-<id>-on-<id of the full one>.age`. The box
//! is eight digits that its key gives, so that several may share a place and none removes what another made.

use std::fmt;

use super::Id;
use crate::clock::Timestamp;

/// The name of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Which box made it: eight hexadecimal digits.
    pub device: String,
    /// When: `20261122T161200Z`, so that names sort by time.
    pub time: String,
    /// The beginning of its id.
    pub id: String,
    /// The same of the full one that it completes.
    pub base: Option<String>,
}

impl Name {
    /// Of a backup that is to be made.
    #[must_use]
    pub fn new(device: &str, at: Timestamp, id: &Id, base: Option<&Id>) -> Self {
        let at = jiff::Timestamp::from_millisecond(i64::try_from(at.0).unwrap_or(i64::MAX)).unwrap_or_default();
        Self {
            device: device.to_owned(),
            time: at.strftime("%Y%m%dT%H%M%SZ").to_string(),
            id: id.short().to_owned(),
            base: base.map(|base| base.short().to_owned()),
        }
    }

    /// Reads what [`fmt::Display`] writes, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("frontdesk-")?.strip_suffix(".age")?;
        let pieces: Vec<&str> = rest.split('-').collect();
        let (device, time, id, base) = match *pieces.as_slice() {
            [device, time, id] => (device, time, id, None),
            [device, time, id, "on", base] => (device, time, id, Some(base)),
            _ => return None,
        };
        let is_short = |id: &str| id.len() == 8 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_time = time.len() == 16
            && time.bytes().enumerate().all(|(place, byte)| match place {
                8 => byte == b'T',
                15 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            });
        let is_name = is_time && [device, id].into_iter().chain(base).all(is_short);
        is_name.then(|| Self {
            device: device.to_owned(),
            time: time.to_owned(),
            id: id.to_owned(),
            base: base.map(str::to_owned),
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, time, id, base } = self;
        match base {
            None => write!(f, "frontdesk-{device}-{time}-{id}.age"),
            Some(base) => write!(f, "frontdesk-{device}-{time}-{id}-on-{base}.age"),
        }
    }
}

/// Which of `there` may go when the newest `keep` of this box are to stay, and `made`, which is certainly complete, whatever
/// the clock said. A full one stays as long as one that stays needs it.
#[must_use]
pub fn prune(there: &[Name], made: &Name, keep: usize) -> Vec<Name> {
    let mut own: Vec<&Name> = there.iter().filter(|name| name.device == made.device && *name != made).collect();
    own.sort_by(|one, other| (&other.time, &other.id).cmp(&(&one.time, &one.id)));
    let mut kept: Vec<&Name> = vec![made];
    kept.extend(own.iter().take(keep.saturating_sub(1)));
    let stays = |name: &&&Name| kept.contains(*name) || kept.iter().any(|kept| kept.base.as_ref() == Some(&name.id));
    own.iter().filter(|name| !stays(name)).map(|name| (*name).clone()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(day: u8, id: u8, base: Option<u8>) -> Name {
        let short = |id: u8| format!("{id:08x}");
        Name {
            device: "0badcafe".to_owned(),
            time: format!("202611{day:02}T030000Z"),
            id: short(id),
            base: base.map(short),
        }
    }

    #[test]
    fn a_name_reads_back_and_nothing_else_is_one() {
        let at = Timestamp(1_795_363_920_000);
        let (id, base) = (Id::random().unwrap(), Id::random().unwrap());
        for base in [None, Some(&base)] {
            let name = Name::new("0badcafe", at, &id, base);
            assert_eq!(Name::parse(&name.to_string()), Some(name));
        }
        let full = name(1, 1, None).to_string();
        for text in [
            &format!("{full}.partial"),
            &format!("../{full}"),
            &full.replace("T03", "t03"),
            &full.replace("0badcafe", "0BADCAFE"),
            "frontdesk-.age",
            "notes.age",
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_newest_stay_and_the_full_ones_that_they_need() {
        let week = [name(1, 1, None), name(2, 2, Some(1)), name(3, 3, Some(1)), name(4, 4, None), name(5, 5, Some(4))];
        let check = |made: &Name, keep: usize, expected: &[&Name]| {
            let found = prune(&week, made, keep);
            assert!(found.len() == expected.len() && expected.iter().all(|name| found.contains(name)), "{found:?}");
        };
        check(&week[4], 5, &[]);
        check(&week[4], 2, &[&week[0], &week[1], &week[2]]);
        check(&week[4], 3, &[&week[1]]);
        check(&week[4], 1, &[&week[0], &week[1], &week[2]]);
        // A clock that was wrong does not make the newest one the oldest.
        check(&week[0], 1, &[&week[1], &week[2], &week[3], &week[4]]);
    }

    proptest! {
        #[test]
        fn nobody_elses_and_nothing_that_is_needed_goes(
            days in prop::collection::vec((1..28u8, prop::option::of(0..12u8), any::<bool>()), 1..12),
            keep in 1..6usize,
        ) {
            let there: Vec<Name> = days.iter().enumerate().map(|(id, (day, base, is_other))| {
                // What an incremental one completes is a full one.
                let base = base.filter(|base| days.get(usize::from(*base)).is_some_and(|(_, base, _)| base.is_none()));
                let mut name = name(*day, u8::try_from(id).unwrap(), base);
                if *is_other && id > 0 {
                    name.device = "00000000".to_owned();
                }
                name
            }).collect();
            let made = &there[0];
            let gone = prune(&there, made, keep);
            let left: Vec<&Name> = there.iter().filter(|name| !gone.contains(name)).collect();
            prop_assert!(left.contains(&made) && gone.iter().all(|name| name.device == made.device));
            prop_assert!(gone.is_empty() || left.iter().filter(|name| name.device == made.device).count() >= keep);
            for kept in left.iter().filter(|name| name.device == made.device) {
                let needs = kept.base.as_ref();
                prop_assert!(!gone.iter().any(|name| Some(&name.id) == needs), "{kept} needs what goes");
            }
        }
    }
}
