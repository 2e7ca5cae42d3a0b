//! Pairing codes, and what is said to those who get one.

use aws_lc_rs::{constant_time, rand};

/// How long a code can be approved.
pub const PAIRING_MS: u64 = 60 * 60 * 1000;
/// Strangers of one channel entry who may wait for approval at the same time.
pub const MAX_PENDING: usize = 3;
/// What a stranger is told once the operator has approved the code.
pub const APPROVED: &str = "You can write now.";
/// What a peer is told, once, who writes faster than allowed.
pub const TOO_FAST: &str = "That was a lot at once. Please wait a minute and send your last message again.";

/// Without those that look alike: no 0 and O, no 1 and I.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const N_LETTERS: usize = 8;

/// What a stranger shows the operator: 40 random bits as 8 letters and digits.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingCode(String);

impl PairingCode {
    /// A new one. `None`: the system gives no random numbers.
    #[must_use]
    pub fn random() -> Option<Self> {
        let mut bytes = [0_u8; N_LETTERS];
        rand::fill(&mut bytes).ok()?;
        let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().map(char::from);
        bytes.iter().map(letter).collect::<Option<String>>().map(Self)
    }

    /// What somebody typed; the case does not count. `None`: no code looks like this.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_uppercase();
        (text.len() == N_LETTERS && text.bytes().all(|byte| LETTERS.contains(&byte))).then_some(Self(text))
    }

    /// Compares in constant time: how long it takes tells nothing about the code.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), code.as_bytes()).is_ok()
    }

    /// As people see it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the stranger is told.
    #[must_use]
    pub fn line(&self) -> String {
        format!("I don't know you yet. Please give this code to whoever runs me, within an hour: {}", self.0)
    }
}

/// Whoever sees a code could ask to be let in with it.
impl std::fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PairingCode")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_eight_letters_that_do_not_look_alike() {
        for _ in 0..200 {
            let code = PairingCode::random().unwrap();
            assert_eq!(code.as_str().len(), 8);
            assert!(!code.as_str().contains(['0', 'O', '1', 'I']), "{}", code.as_str());
            assert_eq!(PairingCode::parse(code.as_str()), Some(code));
        }
    }

    #[test]
    fn a_code_may_be_typed_in_small_letters() {
        let check = |text, expected: Option<&str>| {
            assert_eq!(PairingCode::parse(text).as_ref().map(PairingCode::as_str), expected, "{text:?}");
        };
        check("abcd2345", Some("ABCD2345"));
        check(" ABCD2345\n", Some("ABCD2345"));
        check("ABCD234", None);
        check("ABCD23456", None);
        check("ABCD234O", None);
        check("ABCD-345", None);
        check("äääääääé", None);
    }

    #[test]
    fn only_the_same_code_is_equal() {
        let code = PairingCode::parse("ABCD2345").unwrap();
        assert!(code.is("ABCD2345"));
        for other in ["ABCD2346", "ABCD234", "", "abcd2345"] {
            assert!(!code.is(other), "{other}");
        }
    }
}
