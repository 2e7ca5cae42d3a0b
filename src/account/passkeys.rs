//! Passkeys of accounts: adding, using and removing them. What is verified is in `webauthn`.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::{constant_time, rand};

use super::accounts::Accounts;
use super::ceremony::{CEREMONY_MS, KnewPassword, Purpose};
use super::code::{Digest, session_token};
use super::login::{Begun, LoginError, NewSession, Proven, Session};
use super::name::Name;
use super::network::network;
use super::state::{Passkey, Passkeys, State, UNKNOWN_USER};
use super::webauthn::{self, Expected, Made, Presence, PublicKey, Refusal, Said, Site, from_text, to_text};
use super::{Error, Who};
use crate::clock::Timestamp;
use crate::document::Secret;
use crate::id;

/// Of one account.
const MAX_PASSKEYS: usize = 20;
/// Of what authenticators call an account. It says nothing of who that is (§14.6.1).
const HANDLE_BYTES: usize = 32;

const UNKNOWN_PASSKEY: Error = Error::Unknown { what: "passkey", list: "frontdesk users passkeys list" };

/// Why a passkey is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    /// It was asked for too long ago, by another browser, or answered already.
    #[error("this took too long or was answered already; try again")]
    Over,
    /// It does not prove what it should. Why, is in the log.
    #[error("this passkey is not accepted here")]
    Refused {
        /// Why.
        refusal: Refusal,
        /// Whose account it is about, where that is known.
        user: Option<String>,
    },
    /// It counts how often it is used, and has counted back: there are two of it.
    #[error(
        "this passkey has counted back, so somebody may have a copy of it; log in another way, remove it and make a new one"
    )]
    Copied {
        /// Whose it is.
        user: String,
    },
    /// This or another account has it already.
    #[error("this passkey is added already")]
    Known,
    /// Too much was tried.
    #[error("too many attempts; try again in {} seconds", .retry_after.as_secs().max(1))]
    TooMany {
        /// When the next one may be tried.
        retry_after: Duration,
    },
    /// Something else.
    #[error(transparent)]
    Account(#[from] Error),
}

/// A passkey in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeyRow {
    /// Which one it is; opens nothing.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// The name of the page that it opens.
    pub site: String,
    /// Is it kept on several devices, as password managers do?
    pub is_copied: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used.
    pub used_at: Option<Timestamp>,
}

/// What a browser needs to make a passkey. Bytes are in base64url.
#[derive(Debug, Clone)]
pub struct ToMake {
    /// What it answers to, once, within [`CHALLENGE_MS`].
    pub challenge: String,
    /// What authenticators call the account. Says nothing of it.
    pub handle: String,
    /// Credentials that the account has: not one more on the same authenticator.
    pub known: Vec<String>,
}

/// What a browser needs to use a passkey. Bytes are in base64url.
#[derive(Debug, Clone)]
pub struct ToUse {
    /// What the browser shows with its answer, for its cookie; `None`: it has one already.
    pub attempt: Option<Secret>,
    /// What it answers to, once, within [`CHALLENGE_MS`].
    pub challenge: String,
    /// Credentials that are asked for; empty: whichever belongs to the site.
    pub credentials: Vec<String>,
    /// Must the authenticator see who uses it? Not after a password.
    pub is_alone: bool,
}

/// So long a challenge may be answered, in milliseconds.
pub const CHALLENGE_MS: u64 = CEREMONY_MS;

/// What a browser answers with a new passkey. Bytes are in base64url.
#[derive(Debug, Clone)]
pub struct NewPasskey {
    /// `clientDataJSON`.
    pub client_data: String,
    /// `getAuthenticatorData()`.
    pub authenticator_data: String,
}

/// What a browser answers with a passkey. Bytes are in base64url.
#[derive(Debug, Clone)]
pub struct UsedPasskey {
    /// `rawId`.
    pub credential: String,
    /// `userHandle`, where there is one.
    pub handle: Option<String>,
    /// `clientDataJSON`.
    pub client_data: String,
    /// `authenticatorData`.
    pub authenticator_data: String,
    /// `signature`.
    pub signature: String,
}

impl Accounts {
    /// The passkeys of an account, by when they were added.
    ///
    /// # Errors
    /// [`Error::Unknown`]: of a token, too, there are none.
    pub fn passkeys(&self, name: &str) -> Result<Vec<PasskeyRow>, Error> {
        let state = self.state();
        let user = state.users.get(&Name::parse(name)?.folded).ok_or(UNKNOWN_USER)?;
        Ok(user.passkeys().map(Passkey::row).collect())
    }

    /// Has anybody a passkey? Says nothing of who.
    #[must_use]
    pub fn has_passkeys(&self) -> bool {
        self.state().users.values().any(|user| user.passkeys.is_some())
    }

    /// Is the password of this account not enough to log in?
    #[must_use]
    pub fn asks_for_passkey(&self, name: &str) -> bool {
        let state = self.state();
        let user = Name::parse(name).ok().and_then(|name| state.users.get(&name.folded));
        user.is_some_and(|user| user.asks_for_passkey())
    }

    /// Begins to make a passkey, which will be called that, for whoever has this session, if they know their password.
    ///
    /// # Errors
    /// [`LoginError`]; [`Error::Name`], [`Error::TooMany`].
    pub async fn begin_passkey(
        &self,
        session: &Session,
        label: &str,
        password: &Secret,
        from: IpAddr,
    ) -> Result<ToMake, LoginError> {
        let Name { shown: label, .. } = Name::parse(label).map_err(Error::from)?;
        let Proven { name, .. } = self.prove(&session.who.name, password, from).await?;
        let state = self.state();
        let user = state.users.get(&name.folded).ok_or(LoginError::Wrong)?;
        if user.passkeys().count() >= MAX_PASSKEYS {
            return Err(Error::TooMany(MAX_PASSKEYS).into());
        }
        let handle = match &user.passkeys {
            Some(passkeys) => passkeys.handle.clone(),
            None => random_handle()?,
        };
        let (holder, now_ms) = (of_session(&session.id), self.elapsed_ms());
        let purpose = Purpose::Add { user: name.folded, label, handle: handle.clone() };
        self.0.ceremonies.open(holder, purpose, network(from), now_ms);
        let (challenge, _) = self.0.ceremonies.challenge(holder, now_ms)?.ok_or(Error::Interrupted)?;
        Ok(ToMake {
            challenge: to_text(&challenge),
            handle: to_text(&handle),
            known: user.passkeys().map(|passkey| to_text(&passkey.credential)).collect(),
        })
    }

    /// Adds the passkey that a browser made for this session.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub async fn add_passkey(
        &self,
        session: &Session,
        site: &Site,
        new: &NewPasskey,
        from: IpAddr,
    ) -> Result<(), PasskeyError> {
        self.check_not_shut()?;
        let taken = self.0.ceremonies.take(of_session(&session.id), self.elapsed_ms());
        let Some((challenge, Purpose::Add { user, label, handle })) = taken else { return Err(PasskeyError::Over) };
        let expected = Expected { challenge: &challenge, site, presence: Presence::Present };
        let made = from_text(&new.client_data).zip(from_text(&new.authenticator_data)).ok_or(Refusal::Form);
        let made = made.and_then(|(client, data)| webauthn::made(expected, &client, &data));
        let Made { credential, key, said } = made.map_err(|refusal| self.refused(Some(&user), refusal, from))?;
        let (id, site, session) = (id::random().ok_or(Error::Random)?, site.name().to_owned(), session.id.clone());
        let adding = self.change(move |state, now| {
            // Whoever ended the session meanwhile did it to keep somebody out.
            let is_in = state.sessions.values().any(|held| held.id == session && held.user == user);
            if state.passkey_of(&credential).is_some() {
                return Ok(Err(PasskeyError::Known));
            }
            let Some(user) = state.users.get_mut(&user).filter(|_| is_in) else { return Ok(Err(PasskeyError::Over)) };
            let passkeys = user.passkeys.get_or_insert_with(|| Passkeys::new(handle.clone()));
            if passkeys.handle != handle {
                return Ok(Err(PasskeyError::Over));
            }
            if passkeys.all.len() >= MAX_PASSKEYS {
                return Err(Error::TooMany(MAX_PASSKEYS));
            }
            let Said { count, can_be_copied, is_copied } = said;
            passkeys.all.push(Passkey {
                id,
                credential,
                name: label,
                site,
                key,
                count,
                can_be_copied,
                is_copied,
                created_at: now,
                used_at: None,
            });
            Ok(Ok(()))
        });
        adding.await?
    }

    /// Begins to use a passkey: after the password, if `attempt` is of somebody who knew one, and instead of it otherwise.
    ///
    /// # Errors
    /// [`Error::Random`], [`Error::Shut`].
    pub fn ask_for_passkey(&self, attempt: Option<&str>, site: &Site, from: IpAddr) -> Result<ToUse, Error> {
        self.check_not_shut()?;
        let now_ms = self.elapsed_ms();
        let held = attempt.map(Digest::of).map(|holder| self.0.ceremonies.challenge(holder, now_ms)).transpose()?;
        if let Some((challenge, Purpose::Second(knew))) = held.flatten() {
            let state = self.state();
            let theirs = state.users.get(&knew.user).into_iter().flat_map(|user| user.passkeys());
            let theirs = theirs.filter(|passkey| passkey.site == site.name());
            let credentials = theirs.map(|passkey| to_text(&passkey.credential)).collect();
            return Ok(ToUse { attempt: None, challenge: to_text(&challenge), credentials, is_alone: false });
        }
        let attempt = session_token()?;
        let holder = Digest::of(attempt.expose());
        self.0.ceremonies.open(holder, Purpose::LogIn, network(from), now_ms);
        let (challenge, _) = self.0.ceremonies.challenge(holder, now_ms)?.ok_or(Error::Interrupted)?;
        let challenge = to_text(&challenge);
        Ok(ToUse { attempt: Some(attempt), challenge, credentials: Vec::new(), is_alone: true })
    }

    /// Where the passkeys of whoever knew the password in this attempt work: names of the page. `None`: nobody did.
    #[must_use]
    pub fn sites_of_attempt(&self, attempt: &str) -> Option<Vec<String>> {
        let purpose = self.0.ceremonies.purpose(Digest::of(attempt), self.elapsed_ms());
        let Some(Purpose::Second(knew)) = purpose else { return None };
        let state = self.state();
        let passkeys = state.users.get(&knew.user).into_iter().flat_map(|user| user.passkeys());
        let mut sites: Vec<String> = passkeys.map(|passkey| passkey.site.clone()).collect();
        sites.sort_unstable();
        sites.dedup();
        Some(sites)
    }

    /// Logs in whoever answers with a passkey. What is tried counts as passwords do.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub async fn log_in_with_passkey(
        &self,
        attempt: &str,
        site: &Site,
        used: &UsedPasskey,
        from: IpAddr,
    ) -> Result<NewSession, PasskeyError> {
        self.check_not_shut()?;
        let (holder, state, network) = (Digest::of(attempt), self.state(), network(from));
        let knew = match self.0.ceremonies.purpose(holder, self.elapsed_ms()) {
            Some(Purpose::Second(knew)) => Some(knew.user),
            _ => None,
        };
        let is_new_here = |user: &String| state.users.get(user).is_none_or(|user| !user.known.contains(&network));
        let account = knew.as_ref().filter(|user| is_new_here(user)).map(|user| Digest::of(user));
        let trying = self.0.logins.begin(network, account, self.elapsed_ms());
        let trying = trying.map_err(|retry_after| PasskeyError::TooMany { retry_after })?;
        let Some((challenge, purpose)) = self.0.ceremonies.take(holder, self.elapsed_ms()) else {
            trying.take_back();
            return Err(PasskeyError::Over);
        };
        let knew = match purpose {
            Purpose::LogIn => None,
            Purpose::Second(knew) => Some(knew),
            Purpose::Add { .. } => return Err(PasskeyError::Over),
        };
        let presence = if knew.is_some() { Presence::Present } else { Presence::Verified };
        let expected = Expected { challenge: &challenge, site, presence };
        let (user, id, said) = proven(&state, expected, knew.as_ref(), used).map_err(|refusal| {
            let owner = || from_text(&used.credential).and_then(|credential| state.passkey_of(&credential));
            let user = knew.as_ref().map(|knew| &knew.user).or_else(|| owner().map(|(user, ..)| user));
            self.refused(user, refusal, from)
        })?;
        let begun = Begun::by_passkey(from, &id)?;
        let token = begun.token.clone();
        let filing = self.change(move |state, now| {
            // The passkey may have been removed, or the password changed, while this was looked at.
            let Some(known) = state.users.get_mut(&user) else { return Ok(Err(PasskeyError::Over)) };
            if knew.as_ref().is_some_and(|knew| known.password != knew.hash) {
                return Ok(Err(PasskeyError::Over));
            }
            let known_name = known.name.clone();
            let passkeys = known.passkeys.iter_mut().flat_map(|passkeys| &mut passkeys.all);
            let Some(passkey) = passkeys.into_iter().find(|passkey| passkey.id == id) else {
                return Ok(Err(PasskeyError::Over));
            };
            // §6.1.1, looked at here so that of two answers with one count one gets in.
            if (said.count, passkey.count) != (0, 0) && said.count <= passkey.count {
                return Ok(Err(PasskeyError::Copied { user: known_name }));
            }
            (passkey.count, passkey.is_copied, passkey.used_at) = (said.count, said.is_copied, Some(now));
            if let Some(renewed) = knew.and_then(|knew| knew.renewed) {
                known.password = renewed;
            }
            begun.file(state, &user, now);
            Ok(Ok(()))
        });
        let filed = filing.await?;
        if let Err(PasskeyError::Copied { user }) = &filed {
            tracing::warn!(
                user.name = user,
                "a passkey has counted back, so there may be two of it; nobody was let in"
            );
        }
        filed?;
        trying.succeeded();
        let session = self.session(token.expose()).await.ok_or(Error::Interrupted)?;
        tracing::info!(user.name = session.who.name, "somebody logged in with a passkey");
        Ok(NewSession { token, session })
    }

    /// Removes a passkey of whoever this is, if they know their password. Sessions that began with it end, but for the one
    /// named by its id. Without any left, the password is enough again. Says what it was called.
    ///
    /// # Errors
    /// [`LoginError`]; [`Error::Unknown`].
    pub async fn remove_own_passkey(
        &self,
        who: &Who,
        password: &Secret,
        id: &str,
        keep: Option<&str>,
        from: IpAddr,
    ) -> Result<String, LoginError> {
        let Proven { name, hash, .. } = self.prove(&who.name, password, from).await?;
        let (id, keep) = (id.to_owned(), keep.map(str::to_owned));
        let removing = self.change(move |state, _now| match state.user(&name)?.password == hash {
            true => state.remove_passkey(&name, &id, keep.as_deref()).map(Some),
            false => Ok(None),
        });
        removing.await?.ok_or(LoginError::Wrong)
    }

    /// Removes a passkey of an account and ends the sessions that began with it. Says what it was called.
    ///
    /// # Errors
    /// [`Error::Unknown`]; when the disk does not take it.
    pub async fn remove_passkey(&self, name: &str, id: &str) -> Result<String, Error> {
        let (name, id) = (Name::parse(name)?, id.to_owned());
        self.change(move |state, _now| state.remove_passkey(&name, &id, None)).await
    }

    /// Makes the password of whoever this is not enough, or enough again, if they know it. When it is not enough any more,
    /// their sessions other than `keep` end, if that is said.
    ///
    /// # Errors
    /// [`LoginError`]; [`Error::NoPasskey`].
    pub async fn set_asks_for_passkey(
        &self,
        who: &Who,
        password: &Secret,
        asks: bool,
        keep: Option<&str>,
        from: IpAddr,
    ) -> Result<(), LoginError> {
        let Proven { name, hash, .. } = self.prove(&who.name, password, from).await?;
        let keep = keep.map(str::to_owned);
        let setting = self.change(move |state, _now| {
            let user = state.user(&name)?;
            if user.password != hash {
                return Ok(false);
            }
            match &mut user.passkeys {
                Some(passkeys) => passkeys.is_asked_for = asks,
                None if asks => return Err(Error::NoPasskey),
                None => {}
            }
            if let Some(keep) = keep.as_deref().filter(|_| asks) {
                // Whoever is in with the password alone may be the reason.
                state.end_sessions_of(&name.folded, Some(keep));
            }
            Ok(true)
        });
        if setting.await? { Ok(()) } else { Err(LoginError::Wrong) }
    }

    /// What was wrong with an answer is in the log, without what was in it.
    fn refused(&self, user: Option<&String>, refusal: Refusal, from: IpAddr) -> PasskeyError {
        let user = user.and_then(|user| self.state().users.get(user).map(|user| user.name.clone()));
        if self.0.logins.is_to_be_said(network(from), self.elapsed_ms()) {
            let address = from.to_canonical();
            tracing::warn!(user.name = user, %address, reason = %refusal, "a passkey was not accepted");
        }
        PasskeyError::Refused { refusal, user }
    }
}

/// Whose passkey was used, which, and what it said. As much is done for a passkey that nobody has.
fn proven(
    state: &State,
    expected: Expected<'_>,
    knew: Option<&KnewPassword>,
    used: &UsedPasskey,
) -> Result<(String, String, Said), Refusal> {
    let bytes = |text: &String| from_text(text).ok_or(Refusal::Form);
    let (credential, handle) = (bytes(&used.credential)?, used.handle.as_ref().map(bytes).transpose()?);
    let (client_data, authenticator_data) = (bytes(&used.client_data)?, bytes(&used.authenticator_data)?);
    let found = state.passkey_of(&credential);
    let key = found.as_ref().map_or(&PublicKey::NOBODYS, |(_, _, passkey)| &passkey.key);
    let said = webauthn::used(expected, key, &client_data, &authenticator_data, &bytes(&used.signature)?);
    let (folded, passkeys, passkey) = found.ok_or(Refusal::Unknown)?;
    let said = said?;
    if knew.is_some_and(|knew| knew.user != *folded) {
        return Err(Refusal::Unknown);
    }
    let is_theirs = |handle: &[u8]| constant_time::verify_slices_are_equal(handle, &passkeys.handle).is_ok();
    // Whoever did not say who they are says it with the handle (§7.2, step 6).
    if !handle.as_deref().map_or(knew.is_some(), is_theirs) {
        return Err(Refusal::Unknown);
    }
    if passkey.site != expected.site.name() {
        return Err(Refusal::Site);
    }
    if passkey.can_be_copied != said.can_be_copied {
        return Err(Refusal::Backup);
    }
    Ok((folded.clone(), passkey.id.clone(), said))
}

fn random_handle() -> Result<Vec<u8>, Error> {
    let mut handle = vec![0; HANDLE_BYTES];
    rand::fill(&mut handle).map_err(|_unspecified| Error::Random)?;
    Ok(handle)
}

/// What is open for a session is found by its id, which no token is like.
fn of_session(id: &str) -> Digest {
    Digest::of(&format!("session {id}"))
}

impl Passkey {
    fn row(&self) -> PasskeyRow {
        PasskeyRow {
            id: self.id.clone(),
            name: self.name.clone(),
            site: self.site.clone(),
            is_copied: self.is_copied,
            created_at: self.created_at,
            used_at: self.used_at,
        }
    }
}

impl State {
    /// Whose this credential is.
    fn passkey_of(&self, credential: &[u8]) -> Option<(&String, &Passkeys, &Passkey)> {
        let all = self.users.iter().filter_map(|(folded, user)| Some((folded, user.passkeys.as_ref()?)));
        let mut all = all.flat_map(|(folded, passkeys)| passkeys.all.iter().map(move |one| (folded, passkeys, one)));
        all.find(|(_, _, passkey)| passkey.credential == credential)
    }

    fn remove_passkey(&mut self, name: &Name, id: &str, keep: Option<&str>) -> Result<String, Error> {
        let user = self.users.get_mut(&name.folded).ok_or(UNKNOWN_USER)?;
        let passkeys = user.passkeys.as_mut().ok_or(UNKNOWN_PASSKEY)?;
        let at = passkeys.all.iter().position(|passkey| passkey.id == id).ok_or(UNKNOWN_PASSKEY)?;
        let removed = passkeys.all.remove(at);
        if passkeys.all.is_empty() {
            user.passkeys = None;
        }
        self.sessions.retain(|_, held| held.passkey.as_deref() != Some(id) || keep == Some(held.id.as_str()));
        let kept = self.sessions.values_mut().find(|held| held.passkey.as_deref() == Some(id));
        if let Some(kept) = kept {
            kept.passkey = None;
        }
        Ok(removed.name)
    }
}

#[cfg(test)]
mod tests;
