//! Logging in, and what lasts until somebody logs out.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::constant_time;

use super::accounts::Accounts;
use super::ceremony::{KnewPassword, Purpose};
use super::code::{Digest, csrf, session_token};
use super::name::Name;
use super::network::network;
use super::password::Fit;
use super::state::{Held, SESSION_MS, State, User, is_worth_noting};
use super::{Error, Who};
use crate::clock::Timestamp;
use crate::document::Secret;
use crate::id;

/// Why somebody is not logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Which of the two is not told.
    #[error("the name or the password is wrong")]
    Wrong,
    /// Wrong passwords were tried.
    #[error("too many wrong passwords; try again in {} seconds", .retry_after.as_secs().max(1))]
    TooMany {
        /// When the next one may be tried.
        retry_after: Duration,
    },
    /// The password is right, and not enough: a passkey is asked for.
    #[error("the password is right; a passkey is asked for as well, which the log-in page does")]
    PasskeyWanted {
        /// What the browser shows with it, for its cookie.
        attempt: Secret,
    },
    /// Something else.
    #[error(transparent)]
    Account(#[from] Error),
}

/// A session that has just begun.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// What the browser shows from now on, for its cookie. It is told this once.
    pub token: Secret,
    /// The session.
    pub session: Session,
}

/// A session of somebody.
#[derive(Debug, Clone)]
pub struct Session {
    /// Which one it is; opens nothing.
    pub id: String,
    /// Whose, as the account is now.
    pub who: Who,
    /// What forms carry: only pages of this session have it.
    pub csrf: Secret,
    /// When it ends, also if it is used.
    pub expires_at: Timestamp,
}

impl Session {
    /// Does a form carry the token of this session? Compared in constant time.
    #[must_use]
    pub fn is_csrf(&self, given: &str) -> bool {
        constant_time::verify_slices_are_equal(self.csrf.expose().as_bytes(), given.as_bytes()).is_ok()
    }
}

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Which one it is; opens nothing.
    pub id: String,
    /// Whose.
    pub user: String,
    /// From where somebody logged in.
    pub from: IpAddr,
    /// When.
    pub created_at: Timestamp,
    /// When it was last used, to the hour.
    pub used_at: Timestamp,
    /// When it ends, also if it is used.
    pub expires_at: Timestamp,
}

/// A session that is not filed yet.
#[derive(Clone)]
pub(super) struct Begun {
    pub(super) token: Secret,
    id: String,
    from: IpAddr,
    passkey: Option<String>,
}

impl Begun {
    pub(super) fn new(from: IpAddr) -> Result<Self, Error> {
        Ok(Self { token: session_token()?, id: id::random().ok_or(Error::Random)?, from, passkey: None })
    }

    /// With a passkey, which its id names.
    pub(super) fn by_passkey(from: IpAddr, passkey: &str) -> Result<Self, Error> {
        Ok(Self { passkey: Some(passkey.to_owned()), ..Self::new(from)? })
    }

    pub(super) fn file(&self, state: &mut State, user: &str, now: Timestamp) {
        let held = Held {
            id: self.id.clone(),
            user: user.to_owned(),
            from: self.from.to_canonical(),
            created_at: now,
            used_at: now,
            passkey: self.passkey.clone(),
        };
        state.begin_session(Digest::of(self.token.expose()), held);
    }
}

/// Somebody who knows the password of an account.
pub(super) struct Proven {
    pub(super) name: Name,
    /// The hash that it was compared with.
    pub(super) hash: Secret,
    /// A better one.
    pub(super) renewed: Option<Secret>,
}

impl Accounts {
    /// Logs somebody in, with a new token each time. How long it takes and what it answers does not tell whether there is
    /// such an account.
    ///
    /// # Errors
    /// [`LoginError`]; [`LoginError::PasskeyWanted`] when the account asks for a passkey as well: nobody is logged in yet.
    pub async fn log_in(&self, name: &str, password: &Secret, from: IpAddr) -> Result<NewSession, LoginError> {
        let Proven { name, hash, renewed } = self.prove(name, password, from).await?;
        if self.state().users.get(&name.folded).is_some_and(User::asks_for_passkey) {
            let (attempt, knew) = (session_token()?, KnewPassword { user: name.folded, hash, renewed });
            let (holder, now_ms) = (Digest::of(attempt.expose()), self.elapsed_ms());
            self.0.ceremonies.open(holder, Purpose::Second(knew), network(from), now_ms);
            return Err(LoginError::PasskeyWanted { attempt });
        }
        let begun = Begun::new(from)?;
        let token = begun.token.clone();
        let filing = self.change(move |state, now| {
            // The password may have been changed, or the account removed, while this one was compared.
            let is_same = |user: &&mut User| user.password == hash && !user.asks_for_passkey();
            let Some(user) = state.users.get_mut(&name.folded).filter(is_same) else {
                return Ok(false);
            };
            if let Some(renewed) = renewed {
                user.password = renewed;
            }
            begun.file(state, &name.folded, now);
            Ok(true)
        });
        if !filing.await? {
            return Err(LoginError::Wrong);
        }
        let session = self.session(token.expose()).await.ok_or(Error::Interrupted)?;
        tracing::info!(user.name = session.who.name, "somebody logged in");
        Ok(NewSession { token, session })
    }

    /// Is this the password of an account? For what must not happen because somebody left a browser open. Counts as an attempt.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn confirm(&self, name: &str, password: &Secret, from: IpAddr) -> Result<(), LoginError> {
        self.prove(name, password, from).await.map(drop)
    }

    /// Gives whoever has this session another password, if they know the one they have. Their other sessions end.
    ///
    /// # Errors
    /// [`LoginError`]; [`LoginError::Wrong`] also when the session ended, or the password was changed, meanwhile.
    pub async fn change_password(
        &self,
        session: &Session,
        current: &Secret,
        new: &Secret,
        from: IpAddr,
    ) -> Result<(), LoginError> {
        let Proven { name, hash, .. } = self.prove(&session.who.name, current, from).await?;
        let new = self.0.hashing.hash(new, self.words(&name)).await?;
        let id = session.id.clone();
        let changing = self.change(move |state, _now| {
            // Whoever reset the password, or ended the session, while this was looked at, did it to keep somebody out.
            let is_in = state.sessions.values().any(|held| held.id == id && held.user == name.folded);
            let user = state.users.get_mut(&name.folded).filter(|user| is_in && user.password == hash);
            let Some(user) = user else { return Ok(false) };
            user.set_password(new);
            state.end_sessions_of(&name.folded, Some(&id));
            Ok(true)
        });
        if changing.await? { Ok(()) } else { Err(LoginError::Wrong) }
    }

    /// Whose this token of a session is; `None`: nobody's, or not any more.
    pub async fn session(&self, token: &str) -> Option<Session> {
        let (state, now, digest) = (self.state(), self.now(), Digest::of(token));
        let held = state.sessions.get(&digest).filter(|held| !held.is_over(now))?;
        let user = state.users.get(&held.user)?;
        if is_worth_noting(held.used_at, now) {
            self.note(move |state, now| {
                let held = state.sessions.get_mut(&digest).filter(|held| is_worth_noting(held.used_at, now));
                held.map(|held| held.used_at = now).is_some()
            })
            .await;
        }
        let expires_at = held.created_at.plus_ms(SESSION_MS);
        Some(Session { id: held.id.clone(), who: user.who(), csrf: csrf(token), expires_at })
    }

    /// Ends the session of this token, if there is one.
    ///
    /// # Errors
    /// When the disk does not take it; then it has not ended.
    pub async fn log_out(&self, token: &str) -> Result<(), Error> {
        let digest = Digest::of(token);
        if !self.state().sessions.contains_key(&digest) {
            return Ok(());
        }
        self.change(move |state, _now| {
            state.sessions.remove(&digest);
            Ok(())
        })
        .await
    }

    /// The sessions that there are, by account, and the ones that were used last first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionRow> {
        let (state, now) = (self.state(), self.now());
        let mut rows: Vec<SessionRow> = state
            .sessions
            .values()
            .filter(|held| !held.is_over(now))
            .filter_map(|held| {
                let user = state.users.get(&held.user)?;
                Some(SessionRow {
                    id: held.id.clone(),
                    user: user.name.clone(),
                    from: held.from,
                    created_at: held.created_at,
                    used_at: held.used_at,
                    expires_at: held.created_at.plus_ms(SESSION_MS),
                })
            })
            .collect();
        rows.sort_by(|one, other| (&one.user, other.used_at, &one.id).cmp(&(&other.user, one.used_at, &other.id)));
        rows
    }

    /// Ends one session.
    ///
    /// # Errors
    /// [`Error::Unknown`]; when the disk does not take it.
    pub async fn revoke_session(&self, id: &str) -> Result<(), Error> {
        let id = id.to_owned();
        self.change(move |state, _now| {
            let n = state.sessions.len();
            state.sessions.retain(|_, held| held.id != id);
            let is_gone = state.sessions.len() < n;
            is_gone.then_some(()).ok_or(Error::Unknown { what: "session", list: "frontdesk users sessions" })
        })
        .await
    }

    /// Ends all sessions of an account; says how many there were.
    ///
    /// # Errors
    /// [`Error::Unknown`]; when the disk does not take it.
    pub async fn revoke_sessions_of(&self, name: &str) -> Result<usize, Error> {
        let name = Name::parse(name)?;
        self.change(move |state, _now| {
            state.user(&name)?;
            let n = state.sessions.len();
            state.end_sessions_of(&name.folded, None);
            Ok(n - state.sessions.len())
        })
        .await
    }

    pub(super) async fn prove(&self, name: &str, password: &Secret, from: IpAddr) -> Result<Proven, LoginError> {
        self.check_not_shut()?;
        let state = self.state();
        let parsed = Name::parse(name).ok();
        let user = parsed.as_ref().and_then(|name| state.users.get(&name.folded));
        let network = network(from);
        let is_known = user.is_some_and(|user| user.known.contains(&network));
        let account = parsed.as_ref().map_or(name, |name| &name.folded);
        let account = (!is_known).then(|| Digest::of(account));
        let attempt = self.0.logins.begin(network, account, self.elapsed_ms());
        let attempt = attempt.map_err(|retry_after| LoginError::TooMany { retry_after })?;
        let hash = user.map(|user| user.password.clone());
        let renewed = match self.0.hashing.fit(password, hash.clone()).await {
            Err(error) => {
                attempt.take_back();
                return Err(error.into());
            }
            Ok(Fit::Wrong) => {
                if self.0.logins.is_to_be_said(network, self.elapsed_ms()) {
                    // What is no account's name may be a password in the wrong field.
                    let name = user.map(|user| user.name.as_str());
                    tracing::warn!(user.name = name, address = %from.to_canonical(), "a name or a password was wrong");
                }
                return Err(LoginError::Wrong);
            }
            Ok(Fit::Right) => None,
            Ok(Fit::Renewed(renewed)) => Some(renewed),
        };
        let (Some(name), Some(hash)) = (parsed, hash) else { return Err(LoginError::Wrong) };
        attempt.succeeded();
        Ok(Proven { name, hash, renewed })
    }
}
