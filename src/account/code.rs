//! What is random: the claim code, tokens, and their hashes.

use aws_lc_rs::{constant_time, digest, hmac, rand};

use super::Error;
use crate::document::Secret;

/// Crockford's: no I, L, O and U.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CODE_LETTERS: usize = 10;
const TOKEN_LETTERS: usize = 32;
/// What a token begins with, so that scanners for secrets know it.
const TOKEN_PREFIX: &str = "fd_";
/// What the token of a form is made for.
const CSRF_LABEL: &[u8] = b"frontdesk csrf 1";

/// SHA-256 of something that nobody can guess.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Digest(pub(super) [u8; 32]);

impl Digest {
    pub(super) fn of(text: &str) -> Self {
        let mut bytes = [0; 32];
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    pub(super) fn is(self, other: Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    pub(super) fn to_hex(self) -> String {
        hex(&self.0)
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let digit = |c: char| c.to_digit(16).filter(|_| !c.is_ascii_uppercase()).and_then(|n| u8::try_from(n).ok());
        let digits = text.chars().map(digit).collect::<Option<Vec<u8>>>()?;
        let bytes = digits.chunks(2).map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        });
        bytes.collect::<Option<Vec<u8>>>()?.try_into().ok().map(Self)
    }
}

/// With what an unclaimed box is claimed: 50 random bits, `K7QD-9M2X-4T`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ClaimCode(String);

impl ClaimCode {
    pub(super) fn random() -> Result<Self, Error> {
        letters(CODE_LETTERS).map(Self)
    }

    /// What somebody typed. Case, dashes and spaces do not count, and letters that look like digits are those.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let letter = |c: char| match c.to_ascii_uppercase() {
            'O' => Some('0'),
            'I' | 'L' => Some('1'),
            c => u8::try_from(c).is_ok_and(|byte| LETTERS.contains(&byte)).then_some(c),
        };
        let typed = text.chars().filter(|c| !matches!(c, '-' | ' ' | '\n' | '\r' | '\t')).take(CODE_LETTERS + 1);
        let code = typed.map(letter).collect::<Option<String>>()?;
        (code.len() == CODE_LETTERS).then_some(Self(code))
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// As people see it: in groups of four.
    pub(super) fn shown(&self) -> Secret {
        let mut shown = String::new();
        for (n, letter) in self.0.chars().enumerate() {
            if n > 0 && n % 4 == 0 {
                shown.push('-');
            }
            shown.push(letter);
        }
        Secret::new(shown)
    }
}

/// A claim code for a box that is yet to be set up, and its SHA-256 in hex, which the box is told.
///
/// # Errors
/// When the system gives no random numbers.
pub fn new_claim_code() -> Result<(Secret, String), Error> {
    let code = ClaimCode::random()?;
    Ok((code.shown(), code.digest().to_hex()))
}

/// A token of a program: 160 random bits.
pub(super) fn api_token() -> Result<Secret, Error> {
    Ok(Secret::new(format!("{TOKEN_PREFIX}{}", letters(TOKEN_LETTERS)?.to_ascii_lowercase())))
}

/// A token of a browser: 256 random bits.
pub(super) fn session_token() -> Result<Secret, Error> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_unspecified| Error::Random)?;
    Ok(Secret::new(hex(&bytes)))
}

/// What the forms of a session carry. Who does not have the session's token cannot make it, and it does not tell it.
pub(super) fn csrf(session_token: &str) -> Secret {
    let key = hmac::Key::new(hmac::HMAC_SHA256, session_token.as_bytes());
    Secret::new(hex(hmac::sign(&key, CSRF_LABEL).as_ref()))
}

fn letters(n: usize) -> Result<String, Error> {
    let mut bytes = vec![0; n];
    rand::fill(&mut bytes).map_err(|_unspecified| Error::Random)?;
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().map(char::from);
    bytes.iter().map(letter).collect::<Option<String>>().ok_or(Error::Random)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        for _ in 0..100 {
            let code = ClaimCode::random().unwrap();
            let shown = code.shown().expose().to_owned();
            assert_eq!(shown.split('-').map(str::len).collect::<Vec<_>>(), [4, 4, 2], "{shown}");
            let typed =
                [shown.to_lowercase(), shown.replace('-', ""), format!(" {} \n", shown.replace('-', " ")), shown];
            for typed in typed {
                assert!(ClaimCode::parse(&typed).unwrap() == code, "{typed}");
            }
        }
        let read = |text: &str| ClaimCode::parse(text).map(|code| code.shown().expose().to_owned());
        assert_eq!(read("oIl0-abcd-ef").as_deref(), Some("0110-ABCD-EF"));
        for wrong in ["", "0110-ABCD-E", "0110-ABCD-EFG", "U110-ABCD-EF", "ä110-ABCD-EF", "0110_ABCD_EF"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, other) = (api_token().unwrap(), api_token().unwrap());
        assert_ne!(one, other);
        let body = one.expose().strip_prefix("fd_").unwrap();
        assert!(body.len() == 32 && body.bytes().all(|b| LETTERS.contains(&b.to_ascii_uppercase())), "{body}");
        assert_ne!(session_token().unwrap(), session_token().unwrap());
        assert_ne!(csrf("one"), csrf("two"));
        assert_eq!(csrf("one"), csrf("one"));
    }

    proptest! {
        #[test]
        fn a_digest_is_read_as_it_was_written(bytes: [u8; 32]) {
            let text = Digest(bytes).to_hex();
            prop_assert!(Digest::from_hex(&text) == Some(Digest(bytes)));
            let longer = format!("{text}00");
            prop_assert!(Digest::from_hex(&longer).is_none());
            prop_assert!(Digest::from_hex(text.trim_end_matches(|_| true)).is_none());
        }
    }
}
