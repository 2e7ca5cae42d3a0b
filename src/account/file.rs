//! `accounts.json`: one object, replaced whole.
//!
//! A member that is missing, unknown or not what it should be makes the file damaged: what is guessed about rights is
//! guessed wrong some day.

use std::fs::{self, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::code::Digest;
use super::name::Name;
use super::password::is_hash;
use super::state::{Held, Passkey, Passkeys, State, Token, User};
use super::webauthn::{PublicKey, from_text, to_text};
use super::{Error, Reach, Role};
use crate::clock::Timestamp;
use crate::document::{Secret, read_at_most, write_whole};
use crate::id::TenantId;

pub(super) const FILE: &str = "accounts.json";
/// With passkeys in it. Without any it is the version before, which earlier releases read: an update that is taken back
/// locks nobody out who has not used what it brought.
const VERSION: u64 = 2;
const WITHOUT_PASSKEYS: u64 = 1;
/// No file of ours comes near.
const MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
struct Head {
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    version: u64,
    claim: Option<Hex>,
    users: Vec<UserLine>,
    sessions: Vec<SessionLine>,
    tokens: Vec<TokenLine>,
}

/// SHA-256 in hex.
type Hex = String;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserLine {
    name: String,
    role: String,
    reach: ReachWord,
    password: String,
    created_ms: u64,
    known: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passkeys: Option<PasskeysLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PasskeysLine {
    handle: Base64,
    asked_for: bool,
    all: Vec<PasskeyLine>,
}

/// Base64url without padding.
type Base64 = String;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PasskeyLine {
    id: String,
    credential: Base64,
    name: String,
    site: String,
    /// `COSE_Key`.
    key: Base64,
    count: u32,
    can_be_copied: bool,
    is_copied: bool,
    created_ms: u64,
    used_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionLine {
    id: String,
    token: Hex,
    user: String,
    from: IpAddr,
    created_ms: u64,
    used_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    passkey: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenLine {
    name: String,
    token: Hex,
    role: String,
    reach: ReachWord,
    created_ms: u64,
    used_ms: Option<u64>,
    expires_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReachWord {
    All,
    Tenant(String),
}

/// What the file says; `None`: there is none.
pub(super) fn read(path: &Path) -> Result<Option<State>, Error> {
    let file = |source| Error::File { path: path.display().to_string(), source };
    let damaged = |what: &str| Error::Damaged { path: path.display().to_string(), what: what.to_owned() };
    let bytes = match read_at_most(path, MAX_BYTES + 1) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(file)?,
    };
    if bytes.len() > MAX_BYTES {
        return Err(damaged("it is far too long"));
    }
    // A copy may have left it so.
    let mode = fs::metadata(path).map_err(file)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let is_closed = fs::set_permissions(path, Permissions::from_mode(0o600)).is_ok();
        tracing::warn!(is_closed, "others than the owner could read {} (mode {mode:o})", path.display());
    }
    // The parser's own words may repeat what stands there.
    let Head { version } = serde_json::from_slice(&bytes).map_err(|_words| damaged("it is not JSON with a version"))?;
    if version > VERSION {
        return Err(Error::TooNew { path: path.display().to_string(), version });
    }
    let whole: Whole =
        serde_json::from_slice(&bytes).map_err(|_words| damaged("it has not the members that it should"))?;
    whole.state().map(Some).map_err(damaged)
}

/// Replaces it.
pub(super) fn write(path: &Path, state: &State) -> Result<(), Error> {
    write_whole(path, &bytes(state), 0o600).map_err(|source| Error::File { path: path.display().to_string(), source })
}

pub(super) fn bytes(state: &State) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(&Whole::of(state)).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

impl Whole {
    fn of(state: &State) -> Self {
        let reach = |reach: &Reach| match reach {
            Reach::All => ReachWord::All,
            Reach::Tenant(tenant) => ReachWord::Tenant(tenant.as_str().to_owned()),
        };
        let user = |user: &User| UserLine {
            name: user.name.clone(),
            role: user.role.as_str().to_owned(),
            reach: reach(&user.reach),
            password: user.password.expose().to_owned(),
            created_ms: user.created_at.0,
            known: user.known.clone(),
            passkeys: user.passkeys.as_ref().map(PasskeysLine::of),
        };
        let session = |(token, held): (&Digest, &Held)| SessionLine {
            id: held.id.clone(),
            token: token.to_hex(),
            user: held.user.clone(),
            from: held.from,
            created_ms: held.created_at.0,
            used_ms: held.used_at.0,
            passkey: held.passkey.clone(),
        };
        let token = |(digest, token): (&Digest, &Token)| TokenLine {
            name: token.name.clone(),
            token: digest.to_hex(),
            role: token.role.as_str().to_owned(),
            reach: reach(&token.reach),
            created_ms: token.created_at.0,
            used_ms: token.used_at.map(|at| at.0),
            expires_ms: token.expires_at.map(|at| at.0),
        };
        let has_passkeys = state.users.values().any(|user| user.passkeys.is_some())
            || state.sessions.values().any(|held| held.passkey.is_some());
        Self {
            version: if has_passkeys { VERSION } else { WITHOUT_PASSKEYS },
            claim: state.claim.map(Digest::to_hex),
            users: state.users.values().map(user).collect(),
            sessions: state.sessions.iter().map(session).collect(),
            tokens: state.tokens.iter().map(token).collect(),
        }
    }

    fn state(self) -> Result<State, &'static str> {
        let claim = self.claim.map(|text| Digest::from_hex(&text).ok_or("the claim is no digest")).transpose()?;
        let mut state = State { claim, ..State::default() };
        let has_passkeys = self.users.iter().any(|line| line.passkeys.is_some())
            || self.sessions.iter().any(|line| line.passkey.is_some());
        if has_passkeys != (self.version == VERSION) {
            return Err("it has passkeys, or lacks them, where its version says something else");
        }
        for line in self.users {
            let name = named(&line.name)?;
            if !is_hash(&line.password) {
                return Err("a password is not hashed as it should be");
            }
            let user = User {
                role: role(&line.role)?,
                reach: reach(line.reach)?,
                name: name.shown,
                password: Secret::new(line.password),
                created_at: Timestamp(line.created_ms),
                known: line.known,
                passkeys: line.passkeys.map(PasskeysLine::passkeys).transpose()?,
            };
            if state.users.insert(name.folded, user).is_some() {
                return Err("two accounts have one name");
            }
        }
        for line in self.sessions {
            let digest = Digest::from_hex(&line.token).ok_or("a session has no digest")?;
            let held = Held {
                id: line.id,
                user: line.user,
                from: line.from,
                created_at: Timestamp(line.created_ms),
                used_at: Timestamp(line.used_ms),
                passkey: line.passkey,
            };
            state.sessions.insert(digest, held);
        }
        for line in self.tokens {
            let digest = Digest::from_hex(&line.token).ok_or("a token has no digest")?;
            let name = named(&line.name)?;
            if state.is_taken(&name) {
                return Err("two accounts or tokens have one name");
            }
            let token = Token {
                role: role(&line.role)?,
                reach: reach(line.reach)?,
                name: name.shown,
                folded: name.folded,
                created_at: Timestamp(line.created_ms),
                used_at: line.used_ms.map(Timestamp),
                expires_at: line.expires_ms.map(Timestamp),
            };
            state.tokens.insert(digest, token);
        }
        if state.claim.is_none() && !state.is_owned() {
            return Err("nobody in it may do everything");
        }
        Ok(state)
    }
}

impl PasskeysLine {
    fn of(passkeys: &Passkeys) -> Self {
        let line = |passkey: &Passkey| PasskeyLine {
            id: passkey.id.clone(),
            credential: to_text(&passkey.credential),
            name: passkey.name.clone(),
            site: passkey.site.clone(),
            key: to_text(&passkey.key.to_bytes()),
            count: passkey.count,
            can_be_copied: passkey.can_be_copied,
            is_copied: passkey.is_copied,
            created_ms: passkey.created_at.0,
            used_ms: passkey.used_at.map(|at| at.0),
        };
        Self {
            handle: to_text(&passkeys.handle),
            asked_for: passkeys.is_asked_for,
            all: passkeys.all.iter().map(line).collect(),
        }
    }

    fn passkeys(self) -> Result<Passkeys, &'static str> {
        let handle = from_text(&self.handle).filter(|handle| !handle.is_empty()).ok_or("an account has no handle")?;
        let passkey = |line: PasskeyLine| {
            let key = from_text(&line.key).ok_or("a key is none")?;
            let key = PublicKey::parse(&key).and_then(|(key, rest)| rest.is_empty().then_some(key));
            Ok(Passkey {
                id: line.id,
                credential: from_text(&line.credential).ok_or("a passkey has no credential")?,
                name: named(&line.name)?.shown,
                site: line.site,
                key: key.ok_or("a key is none")?,
                count: line.count,
                can_be_copied: line.can_be_copied,
                is_copied: line.is_copied,
                created_at: Timestamp(line.created_ms),
                used_at: line.used_ms.map(Timestamp),
            })
        };
        let all = self.all.into_iter().map(passkey).collect::<Result<Vec<_>, &'static str>>()?;
        match all.is_empty() {
            true => Err("an account has a handle and no passkey"),
            false => Ok(Passkeys { handle, is_asked_for: self.asked_for, all }),
        }
    }
}

fn named(text: &str) -> Result<Name, &'static str> {
    Name::parse(text).ok().filter(|name| name.shown == text).ok_or("a name is none")
}

fn role(word: &str) -> Result<Role, &'static str> {
    Role::parse(word).ok_or("a role is unknown")
}

fn reach(word: ReachWord) -> Result<Reach, &'static str> {
    match word {
        ReachWord::All => Ok(Reach::All),
        ReachWord::Tenant(tenant) => TenantId::new(tenant).map(Reach::Tenant).map_err(|_error| "a tenant is none"),
    }
}
