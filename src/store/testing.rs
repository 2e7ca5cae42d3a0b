//! Fills a store as if long ago, for benchmarks: many conversations in one transaction.

use crate::id::SessionKey;
use crate::message::Inbound;

use super::scope::Scope;
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
