//! Names of deliveries: 48 bits of milliseconds since 1970, then 80 random bits, so they sort by time.
//!
//! Printed as `dlv_` and 26 characters of Crockford's base 32, most significant first, which sort as the
//! numbers do (as a ULID does, <https://github.com/ulid/spec>).

use crate::clock::Timestamp;

use super::Error;

const PREFIX: &str = "dlv_";
const N_DIGITS: usize = 26;
const DIGITS: [char; 32] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'M', 'N', 'P',
    'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Y', 'Z',
];

/// The next id made at `at` in a conversation whose newest waiting delivery is `newest`. It sorts after
/// that one even when the clock was set back: the order in which replies were committed is kept.
pub(super) fn next(at: Timestamp, newest: Option<u128>) -> Result<u128, Error> {
    let fresh = u128::from(at.0) << 80 | random::<10>()?;
    match newest {
        // A random step, not one: an id must not come again after the ids above it have left the outbox.
        Some(newest) if newest >= fresh => Ok(newest.saturating_add(1 + random::<8>()?)),
        _ => Ok(fresh),
    }
}

/// As channels and people see it.
pub(super) fn print(id: u128) -> String {
    let mut digits = ['0'; N_DIGITS];
    let mut rest = id;
    for digit in digits.iter_mut().rev() {
        *digit = usize::try_from(rest % 32).ok().and_then(|value| DIGITS.get(value)).copied().unwrap_or_default();
        rest /= 32;
    }
    PREFIX.chars().chain(digits).collect()
}

/// The id that prints like this, if there is one.
pub(super) fn parse(text: &str) -> Option<u128> {
    let digits = text.strip_prefix(PREFIX)?;
    if digits.len() != N_DIGITS {
        return None;
    }
    digits.chars().try_fold(0_u128, |id, digit| {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        id.checked_mul(32)?.checked_add(u128::try_from(value).ok()?)
    })
}

/// `N` random bytes as a number.
fn random<const N: usize>() -> Result<u128, Error> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).or(Err(Error::Storage("there are no random numbers".into())))?;
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_crockford_base_32() {
        for (id, expected) in [
            (0, "dlv_00000000000000000000000000"),
            (33, "dlv_00000000000000000000000011"),
            (u128::MAX, "dlv_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
        ] {
            assert_eq!(print(id), expected);
            assert_eq!(parse(expected), Some(id));
        }
    }

    #[test]
    fn what_was_never_printed_does_not_parse() {
        for text in [
            "",
            "dlv_",
            "dlv_0",
            "00000000000000000000000000",
            "dlv_0000000000000000000000000u",
            "dlv_0000000000000000000000000I",
            "dlv_80000000000000000000000000",
            "dlv_000000000000000000000000000",
            "dlv_0000000000000000000000000é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn ids_sort_by_time() {
        let earlier = next(Timestamp(1_700_000_000_000), None).unwrap();
        let later = next(Timestamp(1_700_000_000_001), Some(earlier)).unwrap();
        assert_eq!(later >> 80, 1_700_000_000_001);
        assert!(print(earlier) < print(later));
    }

    #[test]
    fn ids_of_one_instant_and_of_a_clock_that_was_set_back_sort_by_commit() {
        let mut newest = next(Timestamp(9), None).unwrap();
        for at in [9, 9, 9, 3, 0, 8] {
            let id = next(Timestamp(at), Some(newest)).unwrap();
            assert!(id > newest && print(id) > print(newest));
            newest = id;
        }
    }
}
