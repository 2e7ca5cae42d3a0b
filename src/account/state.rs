//! Accounts, sessions and tokens as they are in memory, and what follows from the time.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::code::Digest;
use super::name::Name;
use super::webauthn::PublicKey;
use super::{Error, Reach, Role, Who};
use crate::clock::Timestamp;
use crate::document::Secret;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// A session ends after this long, in milliseconds.
pub const SESSION_MS: u64 = 30 * DAY_MS;
/// And when it was not used for this long.
const IDLE_MS: u64 = 7 * DAY_MS;
/// When something was last used is kept to this: the card is written to sparingly.
const COARSE_MS: u64 = 60 * 60 * 1000;
/// Sessions of one account; the one that was used longest ago goes.
const MAX_SESSIONS: usize = 20;
/// Networks of an account that are remembered.
const MAX_KNOWN: usize = 8;

pub(super) const UNKNOWN_USER: Error = Error::Unknown { what: "account", list: "frontdesk users list" };

#[derive(Clone, Default)]
pub(super) struct State {
    /// Of the code with which an administrator can be made, or given a new password.
    pub(super) claim: Option<Digest>,
    /// By folded name.
    pub(super) users: BTreeMap<String, User>,
    /// By the digest of their token.
    pub(super) sessions: BTreeMap<Digest, Held>,
    /// By the digest of their text.
    pub(super) tokens: BTreeMap<Digest, Token>,
}

#[derive(Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) reach: Reach,
    /// Its hash.
    pub(super) password: Secret,
    pub(super) created_at: Timestamp,
    /// Networks from which somebody logged in, the last one behind.
    pub(super) known: Vec<IpAddr>,
    /// `None`: it has none.
    pub(super) passkeys: Option<Passkeys>,
}

/// The passkeys of an account, of which there is one at least.
#[derive(Clone)]
pub(super) struct Passkeys {
    /// What authenticators call the account.
    pub(super) handle: Vec<u8>,
    /// Is the password not enough?
    pub(super) is_asked_for: bool,
    pub(super) all: Vec<Passkey>,
}

#[derive(Clone)]
pub(super) struct Passkey {
    /// Says which one it is, and opens nothing.
    pub(super) id: String,
    /// What its authenticator calls it.
    pub(super) credential: Vec<u8>,
    /// What its owner calls it.
    pub(super) name: String,
    /// The name of the page that it belongs to.
    pub(super) site: String,
    pub(super) key: PublicKey,
    /// How often it has signed; 0: it does not count.
    pub(super) count: u32,
    /// May there be several of it? So it is, or is not, for ever.
    pub(super) can_be_copied: bool,
    /// Are there, as of the last time?
    pub(super) is_copied: bool,
    pub(super) created_at: Timestamp,
    pub(super) used_at: Option<Timestamp>,
}

impl Passkeys {
    pub(super) fn new(handle: Vec<u8>) -> Self {
        Self { handle, is_asked_for: false, all: Vec::new() }
    }
}

impl User {
    pub(super) fn new(name: &Name, role: Role, reach: Reach, password: Secret, created_at: Timestamp) -> Self {
        Self { name: name.shown.clone(), role, reach, password, created_at, known: Vec::new(), passkeys: None }
    }

    /// Whoever came in with the one before is nobody that the account knows.
    pub(super) fn set_password(&mut self, password: Secret) {
        self.password = password;
        self.known.clear();
    }

    pub(super) fn passkeys(&self) -> impl Iterator<Item = &Passkey> {
        self.passkeys.iter().flat_map(|passkeys| &passkeys.all)
    }

    /// Is the password not enough?
    pub(super) fn asks_for_passkey(&self) -> bool {
        self.passkeys.as_ref().is_some_and(|passkeys| passkeys.is_asked_for)
    }

    /// May they do everything?
    pub(super) fn is_owner(&self) -> bool {
        self.role == Role::Admin && self.reach == Reach::All
    }

    pub(super) fn who(&self) -> Who {
        Who { name: self.name.clone(), role: self.role, reach: self.reach.clone(), from: None }
    }
}

/// A session, as it is held here.
#[derive(Clone)]
pub(super) struct Held {
    /// Says which one it is, and opens nothing.
    pub(super) id: String,
    /// Folded name.
    pub(super) user: String,
    pub(super) from: IpAddr,
    pub(super) created_at: Timestamp,
    pub(super) used_at: Timestamp,
    /// The passkey that it began with.
    pub(super) passkey: Option<String>,
}

impl Held {
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        now.since_ms(self.created_at) >= SESSION_MS || now.since_ms(self.used_at) >= IDLE_MS
    }
}

#[derive(Clone)]
pub(super) struct Token {
    pub(super) name: String,
    pub(super) folded: String,
    pub(super) role: Role,
    pub(super) reach: Reach,
    pub(super) created_at: Timestamp,
    pub(super) used_at: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
}

impl Token {
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    pub(super) fn who(&self) -> Who {
        Who { name: self.name.clone(), role: self.role, reach: self.reach.clone(), from: None }
    }
}

/// Is it time to note that something was used?
pub(super) fn is_worth_noting(used_at: Timestamp, now: Timestamp) -> bool {
    now.since_ms(used_at) >= COARSE_MS
}

impl State {
    /// Is there somebody who may do everything?
    pub(super) fn is_owned(&self) -> bool {
        self.users.values().any(User::is_owner)
    }

    pub(super) fn user(&mut self, name: &Name) -> Result<&mut User, Error> {
        self.users.get_mut(&name.folded).ok_or(UNKNOWN_USER)
    }

    pub(super) fn is_taken(&self, name: &Name) -> bool {
        self.users.contains_key(&name.folded) || self.tokens.values().any(|token| token.folded == name.folded)
    }

    pub(super) fn forget_what_is_over(&mut self, now: Timestamp) {
        let users = &self.users;
        self.sessions.retain(|_, held| !held.is_over(now) && users.contains_key(&held.user));
    }

    pub(super) fn end_sessions_of(&mut self, user: &str, except: Option<&str>) {
        self.sessions.retain(|_, held| held.user != user || except == Some(held.id.as_str()));
    }

    /// A session for somebody who has just shown who they are.
    pub(super) fn begin_session(&mut self, token: Digest, held: Held) {
        let (user, network) = (held.user.clone(), super::network::network(held.from));
        let mut theirs: Vec<(Timestamp, Digest)> = self
            .sessions
            .iter()
            .filter(|(_, held)| held.user == user)
            .map(|(key, held)| (held.used_at, *key))
            .collect();
        theirs.sort_unstable();
        let n_over = (theirs.len() + 1).saturating_sub(MAX_SESSIONS);
        for (_, key) in theirs.into_iter().take(n_over) {
            self.sessions.remove(&key);
        }
        self.sessions.insert(token, held);
        if let Some(user) = self.users.get_mut(&user) {
            user.known.retain(|known| *known != network);
            user.known.push(network);
            let n_over = user.known.len().saturating_sub(MAX_KNOWN);
            user.known.drain(..n_over);
        }
    }
}
