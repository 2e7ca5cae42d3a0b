//! `MAJOR.MINOR.PATCH`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version: three numbers with points between them, as in file names and metadata. They are ordered by the numbers, as
/// systemd-boot orders names that have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// From its numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// That of this program.
    #[must_use]
    pub fn of_program() -> Self {
        // A test says that it is one. Read when it is asked for: tests make another version of the same program.
        std::hint::black_box(env!("CARGO_PKG_VERSION")).parse().unwrap_or(Self::new(0, 0, 0))
    }
}

impl FromStr for Version {
    type Err = String;

    /// Exactly one way to write each: no sign, no zero in front, nothing behind.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |piece: Option<&str>| {
            let piece = piece.filter(|piece| *piece == "0" || !piece.starts_with(['0', '+']))?;
            piece.parse::<u32>().ok()
        };
        let mut pieces = text.split('.');
        let numbers = (number(pieces.next()), number(pieces.next()), number(pieces.next()), pieces.next());
        match numbers {
            (Some(major), Some(minor), Some(patch), None) => Ok(Self { major, minor, patch }),
            _ => Err(format!("{text:?} is no version; they look like 1.2.3")),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_program_has_a_version() {
        assert_eq!(Version::of_program().to_string(), env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", "1", "1.2", "1.2.3.4", "1.2.3-rc1", "01.2.3", "+1.2.3", "1..3", " 1.2.3", "1.2.4294967296"] {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn versions_read_as_they_print_and_are_ordered_by_number(a: (u32, u32, u32), b: (u32, u32, u32)) {
            let (first, second) = (Version::new(a.0, a.1, a.2), Version::new(b.0, b.1, b.2));
            prop_assert_eq!(first.to_string().parse(), Ok(first));
            prop_assert_eq!(first.cmp(&second), a.cmp(&b));
        }

        #[test]
        fn nothing_else_reads_as_a_version(text in "[0-9.+-]{0,12}") {
            if let Ok(version) = text.parse::<Version>() {
                prop_assert_eq!(version.to_string(), text);
            }
        }
    }
}
