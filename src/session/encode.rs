//! How an id is written inside a session key.

use smallvec::SmallVec;

use crate::id::SessionKey;

/// The segment that marks a group; an id that is this word is escaped.
pub(super) const GROUP: &str = "group";

/// Which safe bytes a format uses between its fields, and therefore not inside them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reserved(u128);

impl Reserved {
    /// Reserves an ASCII byte.
    pub(super) fn add(&mut self, byte: u8) {
        self.0 |= 1_u128.checked_shl(u32::from(byte)).unwrap_or(0);
    }

    /// The bytes of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Is this byte reserved?
    pub(super) fn has(self, byte: u8) -> bool {
        self.0.checked_shr(u32::from(byte)).is_some_and(|bits| bits & 1 == 1)
    }

    /// Nothing but `:` is reserved, so that federated ids may show their own.
    pub(super) fn allows_federated(self) -> bool {
        let mut colon = Self::default();
        colon.add(b':');
        self == colon || self == Self::default()
    }
}

/// What a key is written to: a text, or first only its length, so that the text is allocated once and fits.
pub(super) trait Out {
    fn push_str(&mut self, text: &str);

    fn push(&mut self, ascii: u8) {
        self.push_str(char::from(ascii).encode_utf8(&mut [0; 4]));
    }
}

impl Out for String {
    fn push_str(&mut self, text: &str) {
        Self::push_str(self, text);
    }

    fn push(&mut self, ascii: u8) {
        Self::push(self, char::from(ascii));
    }
}

impl Out for SmallVec<[u8; 160]> {
    fn push_str(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }
}

/// How many bytes were written.
#[derive(Debug, Default)]
pub(super) struct Length(pub(super) usize);

impl Out for Length {
    fn push_str(&mut self, text: &str) {
        self.0 += text.len();
    }
}

/// Writes an id so that it holds no byte of `reserved` and no `:`, `=` or `%` of its own.
pub(super) fn push_id(key: &mut impl Out, id: &str, reserved: Reserved) {
    push_escaping_first(key, id, reserved, id == GROUP);
}

/// Writes an id at a place of its own between two `:`.
///
/// A federated id (`@user:server`, `!room:server`) keeps its first `:`, as people know it; the raw `@` or
/// `!` in front tells the parser that two segments are one id. Any other id has those two escaped in front.
pub(super) fn push_segment(key: &mut impl Out, id: &str, reserved: Reserved) {
    let has_sigil = id.starts_with(['@', '!']);
    if !(has_sigil && reserved.allows_federated()) {
        return push_id(key, id, reserved);
    }
    match id.split_once(':') {
        Some((local, server)) if local.len() > 1 && !server.is_empty() => {
            push_escaping_first(key, local, reserved, false);
            key.push(b':');
            push_escaping_first(key, server, reserved, false);
        }
        _ => push_escaping_first(key, id, reserved, true),
    }
}

/// Writes an id where a key begins with it: never as `main`, `peer` or what begins with `tenant-`.
pub(super) fn push_first(key: &mut impl Out, id: &str, reserved: Reserved) {
    match id.starts_with("tenant-") || matches!(id, "main" | "peer") {
        true => push_escaping_first(key, id, reserved, true),
        false => push_segment(key, id, reserved),
    }
}

/// Writes the tag of a channel type: never `main` or `peer`, never with `-`, so that the tenant in front ends before it.
pub(super) fn push_tag(key: &mut impl Out, tag: &str, mut reserved: Reserved) {
    reserved.add(b'-');
    push_escaping_first(key, tag, reserved, matches!(tag, "main" | "peer" | GROUP) || tag.starts_with(['@', '!']));
}

fn push_escaping_first(key: &mut impl Out, id: &str, reserved: Reserved, mut escape_next: bool) {
    let plain = Reserved(SAFE & !reserved.0);
    let mut rest = id;
    while !rest.is_empty() {
        let n_plain = if escape_next { 0 } else { rest.bytes().take_while(|byte| plain.has(*byte)).count() };
        let (shown, hidden) = rest.split_at_checked(n_plain).unwrap_or((rest, ""));
        key.push_str(shown);
        let mut letters = hidden.chars();
        if let Some(letter) = letters.next() {
            push_escaped(key, letter);
        }
        rest = letters.as_str();
        escape_next = false;
    }
}

fn push_escaped(key: &mut impl Out, letter: char) {
    for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
        key.push(b'%');
        for digit in [byte >> 4, byte & 15] {
            key.push(if digit < 10 { b'0' + digit } else { b'A' + (digit - 10) });
        }
    }
}

/// The safe bytes, all of them ASCII, as bits.
const SAFE: u128 = {
    let (mut bits, mut byte) = (0_u128, 0_u8);
    while byte < 128 {
        if SessionKey::is_safe(byte) {
            bits |= 1 << byte;
        }
        byte += 1;
    }
    bits
};

/// Does the id say of itself that it is a user's, as Matrix's `@…`, Slack's `U…` and `W…` and our `user_…` do?
pub(super) fn names_a_user(id: &str) -> bool {
    let is_slack = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    id.starts_with('@') || id.starts_with("user_") || id.strip_prefix(['U', 'W']).is_some_and(is_slack)
}

/// Reads an id back; `None` if the text is not UTF-8 once its escapes are resolved.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16));
            let value = digit()? * 16 + digit()?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, expected: &str) {
        let mut key = String::new();
        push_segment(&mut key, id, Reserved::default());
        assert_eq!(key, expected);
        assert_eq!(decode(&key).as_deref(), Some(id));
    }

    #[test]
    fn ids_people_know_stay_as_they_are() {
        check("T09ABC123", "T09ABC123");
        check("+15551234567", "+15551234567");
        check("@user:server", "@user:server");
        check("!room_abc:server", "!room_abc:server");
        check("anon_9d2f1c", "anon_9d2f1c");
    }

    #[test]
    fn what_could_be_structure_is_escaped() {
        check("a:b", "a%3Ab");
        check("a=b", "a%3Db");
        check("%3A", "%253A");
        check("group", "%67roup");
        check("Group", "Group");
        check("@nobody", "%40nobody");
        check("@:server", "%40%3Aserver");
        check("@user:server:8448", "@user:server%3A8448");
        check("😀\0 /{'\"", "%F0%9F%98%80%00%20%2F%7B%27%22");
    }
}
