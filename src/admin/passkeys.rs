//! Passkeys of accounts. Whoever has an account sees and removes their own; administrators of everything those of all.
//! They are made by a browser, on the page.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Error;
use super::json::time;
use super::operation::{Body, MANAGE, Name, NameAndId, Operation, READ, Sent};
use super::reach::Reached;
use super::users;
use crate::account::{LoginError, PasskeyRow};
use crate::document::Secret;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/passkeys", READ, "Passkeys of whoever asks", own),
        Operation::post(
            "/api/v1/passkeys/asked_for",
            READ,
            "Makes the password of whoever asks not enough to log in, or enough again",
            ask,
        ),
        Operation::post(
            "/api/v1/passkeys/{name}/remove",
            READ,
            "Removes a passkey of whoever asks, which its id names",
            remove_own,
        ),
        Operation::get("/api/v1/users/{name}/passkeys", MANAGE, "Passkeys of an account", of),
        Operation::delete(
            "/api/v1/users/{name}/passkeys/{id}",
            MANAGE,
            "Removes a passkey of an account and ends the sessions that began with it",
            remove_of,
        ),
    ]
}

/// The password of whoever asks, once more. In a body: addresses get into logs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnPassword {
    password: String,
}

impl Sent for OwnPassword {}

/// Whether a password is to be enough.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeyAsked {
    /// True: a passkey is asked for after the password.
    asked_for: bool,
    /// That of whoever asks, once more.
    password: String,
}

impl Sent for PasskeyAsked {}

/// Passkeys of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Passkeys {
    passkeys: Vec<Passkey>,
    /// Is one asked for after the password?
    asked_for: bool,
}

/// A passkey, without what is verified with it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Passkey {
    /// Names it; opens nothing.
    id: String,
    name: String,
    /// The name of the page that it opens.
    site: String,
    /// Is it kept on several devices?
    synchronised: bool,
    created: String,
    used: Option<String>,
}

/// A passkey that was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PasskeyRemoved {
    /// What it was called.
    removed: String,
}

/// What the password is worth now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PasskeySet {
    asked_for: bool,
}

/// Programs have none.
pub(crate) async fn own(reached: Reached, (): ()) -> Result<Passkeys, Error> {
    let (accounts, name) = (reached.own_accounts()?, &reached.who().name);
    Ok(Passkeys {
        passkeys: accounts.passkeys(name).unwrap_or_default().iter().map(passkey).collect(),
        asked_for: accounts.asks_for_passkey(name),
    })
}

pub(crate) async fn ask(
    reached: Reached,
    Body(PasskeyAsked { asked_for, password }): Body<PasskeyAsked>,
) -> Result<PasskeySet, Error> {
    let (who, password) = (reached.who(), Secret::new(password));
    reached.own_accounts()?.set_asks_for_passkey(who, &password, asked_for, None, from(&reached)).await?;
    users::note(&reached, asked(asked_for), &who.name);
    Ok(PasskeySet { asked_for })
}

pub(crate) async fn remove_own(
    reached: Reached,
    (Name(id), Body(OwnPassword { password })): (Name, Body<OwnPassword>),
) -> Result<PasskeyRemoved, Error> {
    let (who, password) = (reached.who(), Secret::new(password));
    let removed = reached.own_accounts()?.remove_own_passkey(who, &password, &id, None, from(&reached)).await?;
    users::note(&reached, "remove passkey", &who.name);
    Ok(PasskeyRemoved { removed })
}

pub(crate) async fn of(reached: Reached, Name(name): Name) -> Result<Passkeys, Error> {
    let accounts = users::accounts(&reached)?;
    let passkeys = accounts.passkeys(&name)?.iter().map(passkey).collect();
    Ok(Passkeys { passkeys, asked_for: accounts.asks_for_passkey(&name) })
}

pub(crate) async fn remove_of(reached: Reached, NameAndId(name, id): NameAndId) -> Result<PasskeyRemoved, Error> {
    let removed = users::accounts(&reached)?.remove_passkey(&name, &id).await?;
    users::note(&reached, "remove passkey", &name);
    Ok(PasskeyRemoved { removed })
}

/// What the access log calls it.
pub(crate) fn asked(asks: bool) -> &'static str {
    if asks { "ask for a passkey" } else { "ask for no passkey" }
}

fn from(reached: &Reached) -> IpAddr {
    reached.who().from.unwrap_or(Ipv4Addr::LOCALHOST.into())
}

fn passkey(row: &PasskeyRow) -> Passkey {
    Passkey {
        id: row.id.clone(),
        name: row.name.clone(),
        site: row.site.clone(),
        synchronised: row.is_copied,
        created: time(row.created_at),
        used: row.used_at.map(time),
    }
}

impl From<LoginError> for Error {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Wrong | LoginError::PasskeyWanted { .. } => Self::Forbidden("the password is wrong"),
            LoginError::TooMany { retry_after } => Self::TooMany(error.to_string(), retry_after),
            LoginError::Account(error) => error.into(),
        }
    }
}
