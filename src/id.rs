//! Validated identifiers.
//!
//! Ids that a vendor chose ([`OpaqueId`]) are bytes to us: never folded, trimmed or "cleaned".
//! Names that the operator chose ([`AgentId`], [`EntryId`], [`ChannelType`]) are parsed once, when the configuration is read. Nothing here knows a channel, a session or the store.

mod file_name;

pub use file_name::{FileName, FileNameError, MAX_FILE_NAME_BYTES};

use std::fmt;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An empty id would file a message under a shared key.
    #[error("{what} is empty")]
    Empty {
        /// Which id.
        what: &'static str,
    },
    /// Longer than any real id; refused before it costs memory.
    #[error("{what} is {len_bytes} bytes long; at most {max_bytes} are allowed")]
    TooLong {
        /// Which id.
        what: &'static str,
        /// Its length.
        len_bytes: usize,
        /// What is allowed.
        max_bytes: usize,
    },
    /// A name that the operator chose contains a character that names may not have.
    #[error("{what} {value:?} contains {found:?}; letters, digits, `-`, `_` and `.` are allowed")]
    Character {
        /// Which name.
        what: &'static str,
        /// The text.
        value: String,
        /// The character.
        found: char,
    },
}

/// The entry id under which messages of the HTTP API are filed. No channel may have it.
pub const API_ENTRY: &str = "api";

/// 128 random bits as 32 hex digits: an id that nobody can guess. `None`: the system gives no random numbers.
#[must_use]
pub fn random() -> Option<String> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Longest id a vendor may send us, in bytes.
pub const MAX_OPAQUE_ID_BYTES: usize = 16 * 1024;
/// Longest name the operator may choose, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks the text and keeps it byte for byte.
            ///
            /// # Errors
            /// When the text is empty, too long or, for names, has a character that names may not have.
            pub fn new(text: impl Into<Box<str>>) -> Result<Self, Error> {
                let text = text.into();
                $check($what, &text)?;
                Ok(Self(text))
            }

            /// The text as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

string_id!(
    /// An id that a vendor chose: server, room, thread, user, message, account, workspace.
    OpaqueId, "the id", check_opaque
);
string_id!(
    /// A client business. Any text: agencies number, name or look up their clients as they like.
    TenantId, "the tenant id", check_opaque
);
string_id!(
    /// An agent, as named in the configuration.
    AgentId, "the agent name", check_name
);
string_id!(
    /// One `[[channels]]` entry: its `id`, or its type, numbered when it repeats.
    EntryId, "the channel id", check_name
);
string_id!(
    /// The kind of a channel: `slack`, `webchat`, `webhook`.
    ChannelType, "the channel type", check_name
);

/// The name of a conversation. Put together by `session::Resolver`, which documents what its segments mean.
///
/// ```text
/// key       = 1*( safe / escape / ":" / "=" )
/// safe      = ALPHA / DIGIT / "-" / "_" / "." / "~" / "+" / "!" / "@"
/// escape    = "%" 2HEXUPPER
/// ```
///
/// `:` separates segments and `=` follows the name of a named one (`thread=…`); inside an id both are
/// escaped. So a key is plain ASCII without spaces, quotes, slashes or control characters: it
/// survives log lines, URLs and quoted shell words.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(Box<str>);

/// Why a text is not a session key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a session key: {reason} at byte {at}")]
pub struct SessionKeyError {
    reason: &'static str,
    at: usize,
}

impl SessionKey {
    /// Is this byte written as it is?
    #[must_use]
    pub const fn is_safe(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'+' | b'!' | b'@')
    }

    /// Checks the characters and escapes of a key that somebody typed.
    ///
    /// # Errors
    /// When a key could not have been printed like this.
    pub fn parse(text: &str) -> Result<Self, SessionKeyError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    fn check(text: &str) -> Result<(), SessionKeyError> {
        if text.is_empty() {
            return Err(SessionKeyError { reason: "it is empty", at: 0 });
        }
        let mut bytes = text.bytes().enumerate();
        while let Some((at, byte)) = bytes.next() {
            if byte == b'%' {
                let digits = [bytes.next(), bytes.next()];
                let is_hex = |d: &Option<(usize, u8)>| d.is_some_and(|(_, b)| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
                if !digits.iter().all(is_hex) {
                    return Err(SessionKeyError { reason: "`%` without two upper-case hex digits", at });
                }
            } else if !(Self::is_safe(byte) || byte == b':' || byte == b'=') {
                return Err(SessionKeyError { reason: "a character that keys escape", at });
            }
        }
        Ok(())
    }

    /// A key that the resolver has just put together, so its characters need no second look.
    pub(crate) fn from_resolver(text: String) -> Self {
        debug_assert!(Self::check(&text).is_ok(), "the resolver made {text:?}");
        Self(text.into())
    }

    /// Where lines wait that an entry says outside of every conversation. It begins with `=`, as no key of a
    /// conversation does.
    #[must_use]
    pub fn of_notices(entry: &EntryId) -> Self {
        Self(format!("={entry}").into())
    }

    /// Is it no conversation, but one of [`Self::of_notices`]?
    #[must_use]
    pub fn is_of_notices(&self) -> bool {
        self.0.starts_with('=')
    }

    /// The key as printed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

fn check_opaque(what: &'static str, text: &str) -> Result<(), Error> {
    check_length(what, text, MAX_OPAQUE_ID_BYTES)
}

fn check_name(what: &'static str, text: &str) -> Result<(), Error> {
    check_length(what, text, MAX_NAME_BYTES)?;
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        Some(found) => Err(Error::Character { what, value: text.to_owned(), found }),
        None => Ok(()),
    }
}

fn check_length(what: &'static str, text: &str, max_bytes: usize) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Empty { what });
    }
    if text.len() > max_bytes {
        return Err(Error::TooLong { what, len_bytes: text.len(), max_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opaque_ids_are_kept_byte_for_byte() {
        for text in [" U1 ", "AbC+/x==", "\0", "😀", "a:b%3A"] {
            assert_eq!(OpaqueId::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn an_empty_id_is_an_error() {
        assert_eq!(OpaqueId::new("").unwrap_err(), Error::Empty { what: "the id" });
        assert_eq!(TenantId::new("").unwrap_err(), Error::Empty { what: "the tenant id" });
    }

    #[test]
    fn names_refuse_what_would_need_escaping() {
        assert!(AgentId::new("acme-dental_2.0").is_ok());
        for text in ["a:b", "a/b", "a b", "ä", "a%"] {
            assert!(matches!(AgentId::new(text), Err(Error::Character { .. })), "{text}");
        }
    }

    #[test]
    fn a_key_that_could_not_have_been_printed_is_refused() {
        for text in ["wa:+15551234567", "matrix:!room_abc:server:@user:server", "tenant-42-main", "x:a%20b:thread=1.2"]
        {
            assert_eq!(SessionKey::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "a b", "a%", "a%2", "a%2f", "a/b", "ä", "a\n", "a'b", "a%zz"] {
            assert!(SessionKey::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_endless_id_is_refused() {
        assert!(OpaqueId::new("x".repeat(MAX_OPAQUE_ID_BYTES)).is_ok());
        assert!(matches!(OpaqueId::new("x".repeat(MAX_OPAQUE_ID_BYTES + 1)), Err(Error::TooLong { .. })));
    }
}
