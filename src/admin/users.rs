//! Accounts, their sessions, and tokens. For administrators of everything, and the console.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Error;
use super::json::time;
use super::operation::{Body, MANAGE, Name, Operation, Sent};
use super::parsed;
use super::reach::Reached;
use crate::account::{self, Accounts, NewToken, Reach, SessionRow, TokenRow, UserRow};
use crate::clock::Timestamp;
use crate::document::Secret;
use crate::id::TenantId;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(super) fn operations() -> Vec<Operation> {
    let (users, user) = ("/api/v1/users", "/api/v1/users/{name}");
    vec![
        Operation::get(users, MANAGE, "Accounts", list),
        Operation::post(users, MANAGE, "Adds an account", add),
        Operation::delete(user, MANAGE, "Removes an account", remove),
        Operation::post("/api/v1/users/{name}/password", MANAGE, "Gives an account another password", set_password),
        Operation::post(
            "/api/v1/users/reset",
            MANAGE,
            "Ends the sessions of administrators and makes a claim code",
            reset,
        ),
        Operation::get("/api/v1/users/sessions", MANAGE, "Who is logged in", sessions),
        Operation::delete(
            "/api/v1/users/sessions/{name}",
            MANAGE,
            "Ends a session, which its id names",
            revoke_session,
        ),
        Operation::get("/api/v1/tokens", MANAGE, "Tokens of programs", tokens),
        Operation::post("/api/v1/tokens", MANAGE, "Makes a token, which is shown once", create_token),
        Operation::delete("/api/v1/tokens/{name}", MANAGE, "Ends a token", revoke_token),
    ]
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Look.
    Support,
    /// Everything.
    Admin,
}

impl From<Role> for account::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Support => Self::Support,
            Role::Admin => Self::Admin,
        }
    }
}

impl From<account::Role> for Role {
    fn from(role: account::Role) -> Self {
        match role {
            account::Role::Support => Self::Support,
            account::Role::Admin => Self::Admin,
        }
    }
}

/// An account to come. Passwords are in bodies only: addresses get into logs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    name: String,
    role: Role,
    /// Whose conversations they know of; absent: everybody's.
    tenant: Option<String>,
    password: String,
}

impl Sent for NewUser {}

/// A password to come.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Password {
    password: String,
}

impl Sent for Password {}

/// A token to come.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedToken {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Whose conversations it knows of; absent: everybody's.
    pub(crate) tenant: Option<String>,
    /// Absent: until it is revoked.
    pub(crate) days: Option<u32>,
}

impl Sent for WantedToken {}

/// Accounts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Users {
    users: Vec<User>,
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    name: String,
    role: Role,
    /// Null: all of them.
    tenant: Option<String>,
    created: String,
    /// Of how many browsers.
    sessions: u64,
    passkeys: u64,
    /// Is a passkey asked for after the password?
    passkey_asked_for: bool,
}

/// Who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Browsers {
    sessions: Vec<LoggedIn>,
}

/// A browser of somebody.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoggedIn {
    /// Names it; opens nothing.
    id: String,
    user: String,
    /// Address from which it began.
    from: String,
    created: String,
    used: String,
    expires: String,
}

/// Tokens of programs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokens {
    pub(crate) tokens: Vec<Token>,
}

/// A token, without what opens anything.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Token {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Null: all of them.
    pub(crate) tenant: Option<String>,
    created: String,
    used: Option<String>,
    #[serde(skip)]
    pub(crate) used_at: Option<Timestamp>,
    expires: Option<String>,
    #[serde(skip)]
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) expired: bool,
}

/// A token that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Created {
    created: String,
    /// It is told this once.
    pub(crate) token: String,
    expires: Option<String>,
}

/// A claim code that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reset {
    claim_code: String,
}

/// An account that was added.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Added {
    added: String,
}

/// An account that was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Removed {
    removed: String,
}

/// An account with another password.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    changed: String,
}

/// What opens nothing any more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ended {
    revoked: String,
}

pub(crate) async fn list(reached: Reached, (): ()) -> Result<Users, Error> {
    Ok(Users { users: accounts(&reached)?.users().iter().map(user).collect() })
}

pub(crate) async fn add(reached: Reached, Body(new): Body<NewUser>) -> Result<Added, Error> {
    let NewUser { name, role, tenant, password } = new;
    accounts(&reached)?.add_user(&name, role.into(), reach(tenant)?, &Secret::new(password)).await?;
    note(&reached, "add account", &name);
    Ok(Added { added: name })
}

pub(crate) async fn remove(reached: Reached, Name(name): Name) -> Result<Removed, Error> {
    accounts(&reached)?.remove_user(&name).await?;
    note(&reached, "remove account", &name);
    Ok(Removed { removed: name })
}

pub(crate) async fn set_password(
    reached: Reached,
    (Name(name), Body(Password { password })): (Name, Body<Password>),
) -> Result<Changed, Error> {
    accounts(&reached)?.set_password(&name, &Secret::new(password), None).await?;
    note(&reached, "set password", &name);
    Ok(Changed { changed: name })
}

pub(crate) async fn reset(reached: Reached, (): ()) -> Result<Reset, Error> {
    let code = reached.whole(MANAGE)?.accounts().recover().await?;
    note(&reached, "reset accounts", "");
    Ok(Reset { claim_code: code.expose().to_owned() })
}

pub(crate) async fn sessions(reached: Reached, (): ()) -> Result<Browsers, Error> {
    Ok(Browsers { sessions: accounts(&reached)?.sessions().iter().map(session).collect() })
}

pub(crate) async fn revoke_session(reached: Reached, Name(id): Name) -> Result<Ended, Error> {
    accounts(&reached)?.revoke_session(&id).await?;
    note(&reached, "end session", &id);
    Ok(Ended { revoked: id })
}

pub(crate) async fn tokens(reached: Reached, (): ()) -> Result<Tokens, Error> {
    Ok(Tokens { tokens: accounts(&reached)?.tokens().iter().map(token).collect() })
}

pub(crate) async fn create_token(reached: Reached, Body(wanted): Body<WantedToken>) -> Result<Created, Error> {
    let WantedToken { name, role, tenant, days } = wanted;
    if days == Some(0) {
        return Err(Error::Query(
            "days: at least 1; leave it out for a token that holds until it is revoked".to_owned(),
        ));
    }
    let gateway = reached.whole(MANAGE)?;
    let expires_at = days.map(|days| gateway.now().plus_ms(u64::from(days).saturating_mul(DAY_MS)));
    let new = NewToken { name: name.clone(), role: role.into(), reach: reach(tenant)?, expires_at };
    let token = accounts(&reached)?.create_token(new).await?;
    note(&reached, "make token", &name);
    Ok(Created { created: name, token: token.expose().to_owned(), expires: expires_at.map(time) })
}

pub(crate) async fn revoke_token(reached: Reached, Name(name): Name) -> Result<Ended, Error> {
    accounts(&reached)?.revoke_token(&name).await?;
    note(&reached, "revoke token", &name);
    Ok(Ended { revoked: name })
}

/// Those of the gateway, unless they cannot be used: then nobody can say who has one.
pub(super) fn accounts(reached: &Reached) -> Result<&Accounts, Error> {
    let accounts = reached.whole(MANAGE)?.accounts();
    accounts.why_shut().map_or(Ok(accounts), |why| Err(Error::Unavailable(why)))
}

/// What was done is in the access log, under the name of what it was done to.
pub(crate) fn note(reached: &Reached, what: &'static str, name: &str) {
    reached.note_name(what, name);
}

fn reach(tenant: Option<String>) -> Result<Reach, Error> {
    tenant.map_or(Ok(Reach::All), |tenant| parsed("tenant", TenantId::new(tenant)).map(Reach::Tenant))
}

fn tenant(reach: &Reach) -> Option<String> {
    match reach {
        Reach::All => None,
        Reach::Tenant(tenant) => Some(tenant.to_string()),
    }
}

fn user(row: &UserRow) -> User {
    User {
        name: row.name.clone(),
        role: row.role.into(),
        tenant: tenant(&row.reach),
        created: time(row.created_at),
        sessions: u64::try_from(row.n_sessions).unwrap_or(u64::MAX),
        passkeys: u64::try_from(row.n_passkeys).unwrap_or(u64::MAX),
        passkey_asked_for: row.asks_for_passkey,
    }
}

fn session(row: &SessionRow) -> LoggedIn {
    LoggedIn {
        id: row.id.clone(),
        user: row.user.clone(),
        from: row.from.to_string(),
        created: time(row.created_at),
        used: time(row.used_at),
        expires: time(row.expires_at),
    }
}

fn token(row: &TokenRow) -> Token {
    Token {
        name: row.name.clone(),
        role: row.role.into(),
        tenant: tenant(&row.reach),
        created: time(row.created_at),
        used: row.used_at.map(time),
        used_at: row.used_at,
        expires: row.expires_at.map(time),
        expires_at: row.expires_at,
        expired: row.is_over,
    }
}
