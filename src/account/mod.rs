//! Who may use the admin API and the local page, and how far.
//!
//! Accounts with passwords and passkeys, the sessions of their browsers, tokens for programs, and the code with which a box that nobody
//! has yet is claimed. All of it is one file in the home, so that it works when the configuration or the store does not.
//! Of passwords, sessions, tokens and the code it holds hashes.
//!
//! Not here: HTTP, conversations, what a page looks like. Called by `gateway/`, which opens it, and by `admin/`, which asks
//! it who a request is from.
//!
//! What always holds: nobody gets a role or a reach but from here, and neither grows on the way; a file that cannot be
//! read lets nobody in; once there is an administrator of everything, there is always one.

mod accounts;
mod ceremony;
mod code;
mod file;
mod login;
mod name;
mod network;
mod passkeys;
mod password;
mod state;
#[cfg(test)]
mod tests;
mod throttle;
mod tokens;
mod users;
mod webauthn;

pub use accounts::{Accounts, ClaimError};
pub use code::new_claim_code;
pub use login::{LoginError, NewSession, Session, SessionRow};
pub use name::NameError;
pub use network::{is_local, network};
pub use passkeys::{CHALLENGE_MS, NewPasskey, PasskeyError, PasskeyRow, ToMake, ToUse, UsedPasskey};
pub use password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, Weakness, check_password};
pub use state::SESSION_MS;
pub use tokens::{NewToken, TokenRow};
pub use users::UserRow;
pub use webauthn::{Refusal as PasskeyRefusal, Site};

use std::net::IpAddr;

use crate::id::TenantId;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Look, and nothing else.
    Support,
    /// Everything.
    Admin,
}

impl Role {
    /// In one word, as files and the API write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Support => "support",
            Self::Admin => "admin",
        }
    }

    /// The role of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Support, Self::Admin].into_iter().find(|role| role.as_str() == word)
    }
}

/// Of whose conversations and entries somebody may know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Of all tenants', and of the gateway itself.
    All,
    /// Of this tenant's; that there are others is not told.
    Tenant(TenantId),
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// As the access log calls them: the name of an account, of a token, or `console`. No two have the same.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Of whom they may know.
    pub reach: Reach,
    /// From which address they ask; `None`: from this machine.
    pub from: Option<IpAddr>,
}

impl Who {
    /// The same, who asks from there.
    #[must_use]
    pub fn at(self, from: Option<IpAddr>) -> Self {
        Self { from, ..self }
    }

    /// Whoever holds the admin token of the home: the commands on this machine.
    #[must_use]
    pub fn console() -> Self {
        Self { name: CONSOLE.to_owned(), role: Role::Admin, reach: Reach::All, from: None }
    }

    /// Do they hold the admin token of the home?
    #[must_use]
    pub fn is_console(&self) -> bool {
        self.name == CONSOLE
    }

    /// The tenant that they are bound to.
    #[must_use]
    pub fn own_tenant(&self) -> Option<&TenantId> {
        match &self.reach {
            Reach::All => None,
            Reach::Tenant(own) => Some(own),
        }
    }

    /// May they know of this tenant? `None` is the owner's own.
    #[must_use]
    pub fn reaches(&self, tenant: Option<&TenantId>) -> bool {
        match &self.reach {
            Reach::All => true,
            Reach::Tenant(own) => tenant == Some(own),
        }
    }
}

/// Nobody else is called that.
const CONSOLE: &str = "console";

/// Why something about accounts was not done. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk does not take or give it.
    #[error("the file {path} cannot be used: {source}; see that this user may write it and that the disk has room")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what was written. Nobody is let in by it.
    #[error(
        "the file {path} is damaged ({what}), so nobody is let in; put it back from a backup, or run `frontdesk users \
         reset`, which begins with no accounts and no tokens"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong, without what stands there.
        what: String,
    },
    /// A later release wrote it. Nobody is let in by it.
    #[error("the file {path} is of a newer release (version {version}), so nobody is let in; use that release again")]
    TooNew {
        /// The file.
        path: String,
        /// Its version.
        version: u64,
    },
    /// Nothing is changed while the file cannot be used.
    #[error("{0}")]
    Shut(String),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// Too many passwords are looked at.
    #[error("too many log in at this moment; try again in a few seconds")]
    Busy,
    /// The program stopped in the middle.
    #[error("it was interrupted; see whether it was done, and try again")]
    Interrupted,
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Not a password.
    #[error(transparent)]
    Weak(#[from] Weakness),
    /// Accounts and tokens are called differently.
    #[error("an account or a token has this name already; choose another")]
    Taken,
    /// There is no such thing.
    #[error("there is no {what} of this name; `{list}` shows those there are")]
    Unknown {
        /// Account, session or token.
        what: &'static str,
        /// The command that lists them.
        list: &'static str,
    },
    /// Others are added by the first administrator.
    #[error("nobody has claimed this box yet; open its admin page, or see the claim code with `frontdesk users reset`")]
    Unclaimed,
    /// Somebody must be able to do everything.
    #[error("this is the only administrator of everything; add another first")]
    LastAdmin,
    /// There is nothing to ask for.
    #[error("there is no passkey yet; add one first")]
    NoPasskey,
    /// No file grows without end.
    #[error("there are {0} of them already; remove one first")]
    TooMany(usize),
}
