//! Accounts of people.

use std::collections::HashMap;

use super::accounts::Accounts;
use super::name::Name;
use super::state::{State, UNKNOWN_USER, User};
use super::{Error, Reach, Role};
use crate::clock::Timestamp;
use crate::document::Secret;

const MAX_USERS: usize = 1000;

/// An account in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// What it is called.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Of whom they may know.
    pub reach: Reach,
    /// Since when.
    pub created_at: Timestamp,
    /// Sessions that have not ended.
    pub n_sessions: usize,
    /// Passkeys.
    pub n_passkeys: usize,
    /// Is the password not enough?
    pub asks_for_passkey: bool,
}

impl Accounts {
    /// The accounts, by name.
    #[must_use]
    pub fn users(&self) -> Vec<UserRow> {
        let (state, now) = (self.state(), self.now());
        let mut n_sessions: HashMap<&str, usize> = HashMap::new();
        for held in state.sessions.values().filter(|held| !held.is_over(now)) {
            *n_sessions.entry(held.user.as_str()).or_default() += 1;
        }
        let row = |(folded, user): (&String, &User)| UserRow {
            name: user.name.clone(),
            role: user.role,
            reach: user.reach.clone(),
            created_at: user.created_at,
            n_sessions: n_sessions.get(folded.as_str()).copied().unwrap_or(0),
            n_passkeys: user.passkeys().count(),
            asks_for_passkey: user.asks_for_passkey(),
        };
        state.users.iter().map(row).collect()
    }

    /// Adds an account. Not before the box is claimed: the first administrator shows the code.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Taken`], [`Error::Weak`], [`Error::Unclaimed`]; when the disk does not take it.
    pub async fn add_user(&self, name: &str, role: Role, reach: Reach, password: &Secret) -> Result<(), Error> {
        let name = Name::parse(name)?;
        // Said before the work with the password, and looked at again after it.
        let check = |state: &State, name: &Name| match state {
            state if !state.is_owned() => Err(Error::Unclaimed),
            state if state.is_taken(name) => Err(Error::Taken),
            state if state.users.len() >= MAX_USERS => Err(Error::TooMany(MAX_USERS)),
            _ => Ok(()),
        };
        self.check_not_shut()?;
        check(&self.state(), &name)?;
        let hash = self.0.hashing.hash(password, self.words(&name)).await?;
        self.change(move |state, now| {
            check(state, &name)?;
            state.users.insert(name.folded.clone(), User::new(&name, role, reach, hash, now));
            Ok(())
        })
        .await
    }

    /// Gives an account another password. Its sessions end, but for the one named by its id.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Weak`]; when the disk does not take it.
    pub async fn set_password(&self, name: &str, password: &Secret, keep: Option<&str>) -> Result<(), Error> {
        let (name, keep) = (Name::parse(name)?, keep.map(str::to_owned));
        self.check_not_shut()?;
        if !self.state().users.contains_key(&name.folded) {
            return Err(UNKNOWN_USER);
        }
        let hash = self.0.hashing.hash(password, self.words(&name)).await?;
        self.change(move |state, _now| {
            state.user(&name)?.set_password(hash);
            state.end_sessions_of(&name.folded, keep.as_deref());
            Ok(())
        })
        .await
    }

    /// Removes an account and ends its sessions.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::LastAdmin`]; when the disk does not take it.
    pub async fn remove_user(&self, name: &str) -> Result<(), Error> {
        let name = Name::parse(name)?;
        self.change(move |state, _now| {
            state.user(&name)?;
            state.users.remove(&name.folded);
            state.end_sessions_of(&name.folded, None);
            state.is_owned().then_some(()).ok_or(Error::LastAdmin)
        })
        .await
    }
}
