//! Tokens of programs.

use super::accounts::Accounts;
use super::code::{Digest, api_token};
use super::name::Name;
use super::state::{Token, is_worth_noting};
use super::{Error, Reach, Role, Who};
use crate::clock::Timestamp;
use crate::document::Secret;

const MAX_TOKENS: usize = 10_000;

/// What a token is to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is called, in lists and in the access log.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Of whom it may know.
    pub reach: Reach,
    /// From when it opens nothing; `None`: it works until it is revoked.
    pub expires_at: Option<Timestamp>,
}

/// A token in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Of whom it may know.
    pub reach: Reach,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used, to the hour.
    pub used_at: Option<Timestamp>,
    /// From when it opens nothing.
    pub expires_at: Option<Timestamp>,
    /// Is that now?
    pub is_over: bool,
}

impl Accounts {
    /// Makes a token: `fd_` and 32 letters and digits. It is told this once.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Taken`], [`Error::TooMany`]; when the disk does not take it.
    pub async fn create_token(&self, new: NewToken) -> Result<Secret, Error> {
        let NewToken { name, role, reach, expires_at } = new;
        let (name, text) = (Name::parse(&name)?, api_token()?);
        let digest = Digest::of(text.expose());
        self.change(move |state, created_at| {
            if state.is_taken(&name) {
                return Err(Error::Taken);
            }
            if state.tokens.len() >= MAX_TOKENS {
                return Err(Error::TooMany(MAX_TOKENS));
            }
            let Name { shown, folded } = name;
            let token = Token { name: shown, folded, role, reach, created_at, used_at: None, expires_at };
            state.tokens.insert(digest, token);
            Ok(())
        })
        .await?;
        Ok(text)
    }

    /// The tokens, by name.
    #[must_use]
    pub fn tokens(&self) -> Vec<TokenRow> {
        let (state, now) = (self.state(), self.now());
        let mut tokens: Vec<&Token> = state.tokens.values().collect();
        tokens.sort_by_key(|token| &token.folded);
        let row = |token: &Token| TokenRow {
            name: token.name.clone(),
            role: token.role,
            reach: token.reach.clone(),
            created_at: token.created_at,
            used_at: token.used_at,
            expires_at: token.expires_at,
            is_over: token.is_over(now),
        };
        tokens.into_iter().map(row).collect()
    }

    /// Ends a token.
    ///
    /// # Errors
    /// [`Error::Unknown`]; when the disk does not take it.
    pub async fn revoke_token(&self, name: &str) -> Result<(), Error> {
        let name = Name::parse(name)?;
        self.change(move |state, _now| {
            let n = state.tokens.len();
            state.tokens.retain(|_, token| token.folded != name.folded);
            let is_gone = state.tokens.len() < n;
            is_gone.then_some(()).ok_or(Error::Unknown { what: "token", list: "frontdesk tokens list" })
        })
        .await
    }

    /// Whose token this is; `None`: nobody's, or not any more. What is looked for is its digest, which nobody can approach
    /// step by step.
    pub async fn token(&self, text: &str) -> Option<Who> {
        let (state, now, digest) = (self.state(), self.now(), Digest::of(text));
        let token = state.tokens.get(&digest).filter(|token| !token.is_over(now))?;
        let is_stale = |token: &Token, now| token.used_at.is_none_or(|at| is_worth_noting(at, now));
        if is_stale(token, now) {
            self.note(move |state, now| {
                let token = state.tokens.get_mut(&digest).filter(|token| is_stale(token, now));
                token.map(|token| token.used_at = Some(now)).is_some()
            })
            .await;
        }
        Some(token.who())
    }
}
