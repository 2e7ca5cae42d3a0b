//! For benchmarks: fills a store as if long ago, many conversations in one transaction; seals values without a store.

use crate::id::SessionKey;
use crate::message::Inbound;

use super::scope::Scope;
use super::seal::Keyring;
use super::tables::{Change, Changes, Tables};
use super::writer::Operation;
use super::{Error, Store, disk};

impl Store {
    /// Makes a conversation that begins, and ended long ago, with each of these messages, which do not wait. Under these
    /// keys nothing may be yet.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn load(&self, messages: Vec<(SessionKey, Inbound)>) -> Result<(), Error> {
        self.shared.writer.write(Load(messages)).await
    }
}

#[derive(Debug)]
struct Load(Vec<(SessionKey, Inbound)>);

impl Operation for Load {
    type Outcome = ();

    fn plan(self, _tables: &Tables<'_>) -> Result<((), Changes), Error> {
        let one = |(key, inbound): (SessionKey, Inbound)| {
            let scope = Scope { tenant: inbound.identity.tenant.clone(), key };
            let mut changes = vec![Change::Session { from: None, to: Some(disk::Session::beginning_with(&inbound)) }];
            if let Some(user) = inbound.identity.user {
                let channel = inbound.identity.channel.to_string();
                changes.push(Change::User { channel, user: user.to_string(), is_known: true });
            }
            Changes::Session(scope, changes)
        };
        Ok(((), Changes::All(self.0.into_iter().map(one).collect())))
    }
}

/// Seals and opens values as a store does, each in a row of its own.
#[derive(Debug)]
pub struct Sealing(Keyring);

impl Sealing {
    /// With a random key.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn new() -> Result<Self, Error> {
        Keyring::new(&[0; 32]).map(Self)
    }

    /// As it is stored.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn seal(&self, tenant: &str, key: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.seal(tenant, (0, key), plain)
    }

    /// As it was.
    ///
    /// # Errors
    /// [`Error::Value`].
    pub fn open(&self, tenant: &str, key: &[u8], stored: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.open(tenant, (0, key), stored).or(Err(Error::Value { what: "value" }))
    }
}
