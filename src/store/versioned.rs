//! How values are kept readable over the years.
//!
//! A stored value is one byte, the version of its shape, and the shape in postcard. A shape that was
//! ever released stays in `disk` as it was; the next one names it as [`Versioned::Previous`] and says
//! how to make itself from it. Reading walks back to the version it finds and migrates forward;
//! writing always writes the newest.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Error;

/// A shape that values have or had on the disk.
pub(super) trait Versioned: Sized + Serialize + DeserializeOwned {
    /// What it is, for [`Error::Value`].
    const WHAT: &'static str;
    /// The first byte of the value. One more than [`Self::Previous`] has.
    const VERSION: u8;
    /// The shape before this one; [`Unborn`] for the first.
    type Previous: Versioned;

    /// The same value in this shape.
    fn migrate(previous: Self::Previous) -> Self;

    /// As it is stored.
    fn encode(&self) -> Result<Vec<u8>, Error> {
        postcard::to_extend(self, vec![Self::VERSION]).or(Err(Error::Value { what: Self::WHAT }))
    }

    /// From what was stored, by this program or an earlier one.
    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(bytes).ok_or(Error::Value { what: Self::WHAT })
    }

    /// Like [`Self::decode`], without a name for what is wrong.
    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? {
            version if *version == Self::VERSION => Self::borrow(bytes),
            _ => Self::Previous::read(bytes).map(Self::migrate),
        }
    }

    /// A value of the newest version as another type with the same fields, which may borrow from the bytes. `None` for one
    /// of an earlier version.
    fn borrow<'b, B: Deserialize<'b>>(bytes: &'b [u8]) -> Option<B> {
        let (version, body) = bytes.split_first()?;
        let (value, rest) = postcard::take_from_bytes(body).ok()?;
        (*version == Self::VERSION && rest.is_empty()).then_some(value)
    }
}

/// What was before the first version: nothing can be read as it.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) enum Unborn {}

impl Versioned for Unborn {
    const WHAT: &'static str = "value";
    const VERSION: u8 = 0;
    type Previous = Self;

    fn migrate(previous: Self) -> Self {
        previous
    }

    fn read(_bytes: &[u8]) -> Option<Self> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct First(u32);

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Second(String);

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Third {
        text: String,
        is_old: bool,
    }

    impl Versioned for First {
        const WHAT: &'static str = "thing";
        const VERSION: u8 = 1;
        type Previous = Unborn;

        fn migrate(previous: Unborn) -> Self {
            match previous {}
        }
    }

    impl Versioned for Second {
        const WHAT: &'static str = "thing";
        const VERSION: u8 = 2;
        type Previous = First;

        fn migrate(previous: First) -> Self {
            Self(previous.0.to_string())
        }
    }

    impl Versioned for Third {
        const WHAT: &'static str = "thing";
        const VERSION: u8 = 3;
        type Previous = Second;

        fn migrate(previous: Second) -> Self {
            Self { text: previous.0, is_old: true }
        }
    }

    fn check(bytes: &[u8], expected: Option<(&str, bool)>) {
        let expected = expected.map(|(text, is_old)| Third { text: text.to_owned(), is_old });
        assert_eq!(Third::decode(bytes).ok(), expected, "{bytes:?}");
    }

    #[test]
    fn every_version_reads_as_the_newest() {
        check(&First(300).encode().unwrap(), Some(("300", true)));
        check(&Second("300".to_owned()).encode().unwrap(), Some(("300", true)));
        check(&Third { text: "300".to_owned(), is_old: false }.encode().unwrap(), Some(("300", false)));
    }

    #[test]
    fn what_nobody_wrote_is_refused() {
        check(&[], None);
        check(&[0], None);
        check(&[1], None);
        check(&[4, 1], None);
        check(&[1, 5, 0], None);
        check(&[3, 1, b'x', 2], None);
    }
}
