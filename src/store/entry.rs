//! What is kept for one channel entry outside of conversations: who asked to be let in, who was, and messages
//! that no conversation could be named for.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::id::{EntryId, OpaqueId, SessionKey, TenantId};
use crate::message::{Inbound, Subject};

use super::pairing::{self, Decide, OfferPairing, Revoke, Say};
use super::record::{Approval, Delivery, NewDelivery, Offer, Offered, Parked, Pending};
use super::scope::{Scope, tenant_part};
use super::tables::{self, APPROVALS, MARKS, PAIRINGS, UNRESOLVED};
use super::unresolved::{DropUnresolved, ParkUnresolved};
use super::versioned::Versioned;
use super::{Error, Shared, disk};

/// What is kept for one channel entry of one tenant.
///
/// An entry's id is used again when the entry has gone. So what was approved counts only with the *stamp* that
/// the entry had then (see [`crate::message::ReplyAddress`]): for the same channel of the same owner.
#[derive(Debug, Clone)]
pub struct EntryStore {
    shared: Arc<Shared>,
    scope: EntryScope,
}

/// Whose entry and which: the first part of every key.
#[derive(Debug, Clone)]
pub(super) struct EntryScope {
    tenant: Option<TenantId>,
    entry: EntryId,
}

/// All subjects of an entry.
pub(super) struct Subjects<'s> {
    tenant: &'s str,
    entry: &'s str,
    next: String,
}

impl EntryScope {
    pub(super) fn parts(&self) -> (&str, &str) {
        (tenant_part(self.tenant.as_ref()), self.entry.as_str())
    }

    pub(super) fn subject<'s>(&'s self, subject: &'s Subject) -> (&'s str, &'s str, &'s str, &'s str) {
        let (tenant, entry) = self.parts();
        (tenant, entry, subject.kind(), subject.id())
    }

    pub(super) fn subjects(&self) -> Subjects<'_> {
        let (tenant, entry) = self.parts();
        Subjects { tenant, entry, next: tables::after(entry) }
    }

    pub(super) fn positions(&self) -> RangeInclusive<(&str, &str, u64)> {
        let (tenant, entry) = self.parts();
        (tenant, entry, 0)..=(tenant, entry, u64::MAX)
    }

    /// Where its lines wait.
    pub(super) fn notices(&self) -> Scope {
        Scope { tenant: self.tenant.clone(), key: SessionKey::of_notices(&self.entry) }
    }
}

impl Subjects<'_> {
    pub(super) fn bounds(&self) -> Range<(&str, &str, &str, &str)> {
        (self.tenant, self.entry, "", "")..(self.tenant, &self.next, "", "")
    }
}

impl EntryStore {
    pub(super) fn new(shared: Arc<Shared>, tenant: Option<TenantId>, entry: EntryId) -> Self {
        Self { shared, scope: EntryScope { tenant, entry } }
    }

    /// Was this message filed before?
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn is_filed(&self, message_id: &OpaqueId) -> Result<bool, Error> {
        let (tenant, entry) = self.scope.parts();
        let view = self.shared.database.read()?;
        let marks = view.rows(&MARKS)?;
        Ok(marks.get((tenant, entry, message_id.as_str()))?.is_some())
    }

    /// Has the operator let it in?
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn is_approved(&self, subject: &Subject, stamp: u64) -> Result<bool, Error> {
        let view = self.shared.database.read()?;
        let approval = view.values(&APPROVALS)?.get(self.scope.subject(subject))?;
        Ok(approval.is_some_and(|approval| approval.stamp == stamp))
    }

    /// Who was let in, peers before groups; at most `limit`.
    ///
    /// # Errors
    /// As [`Self::is_approved`].
    pub fn approvals(&self, stamp: u64, limit: usize) -> Result<Vec<Approval>, Error> {
        let view = self.shared.database.read()?;
        let approvals = view.values(&APPROVALS)?;
        let mut found = Vec::new();
        for row in approvals.range(self.scope.subjects().bounds())? {
            let (key, disk::Approval { stamp: own, name, at }) = row?;
            let (_, _, kind, id) = key.value();
            if own == stamp && found.len() < limit {
                found.push(Approval { subject: pairing::subject(kind, id)?, name, at: Timestamp(at) });
            }
        }
        Ok(found)
    }

    /// Who waits for approval at `now`.
    ///
    /// # Errors
    /// As [`Self::is_approved`].
    pub fn pending(&self, stamp: u64, now: Timestamp) -> Result<Vec<Pending>, Error> {
        let view = self.shared.database.read()?;
        let pairings = view.values(&PAIRINGS)?;
        let mut found = Vec::new();
        for row in pairings.range(self.scope.subjects().bounds())? {
            let (key, pairing) = row?;
            let (_, _, kind, id) = key.value();
            if pairing.is_alive(stamp, now) {
                let disk::Pairing { code, name, expires_at, .. } = pairing;
                let subject = pairing::subject(kind, id)?;
                found.push(Pending { subject, code, name, expires_at: Timestamp(expires_at) });
            }
        }
        Ok(found)
    }

    /// Keeps a code for a stranger and puts the line that says it into the outbox, in one transaction; unless
    /// the stranger has one already, or too many wait. What has expired is forgotten on the way.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Storage`], [`Error::Value`], [`Error::Closed`].
    pub async fn offer(&self, offer: Offer, at: Timestamp) -> Result<Offered, Error> {
        self.shared.writer.try_write(OfferPairing { scope: self.scope.clone(), offer, at }).await
    }

    /// Lets a stranger in and puts `welcome` into the outbox.
    ///
    /// # Errors
    /// As [`Self::offer`]; [`Error::Gone`] when the code does not wait any more.
    pub async fn approve(
        &self,
        stamp: u64,
        pending: &Pending,
        welcome: &str,
        at: Timestamp,
    ) -> Result<Vec<Delivery>, Error> {
        self.decide(stamp, pending, Some(welcome.to_owned()), at).await
    }

    /// Forgets a stranger and the code.
    ///
    /// # Errors
    /// As [`Self::approve`].
    pub async fn reject(&self, stamp: u64, pending: &Pending, at: Timestamp) -> Result<(), Error> {
        self.decide(stamp, pending, None, at).await.map(drop)
    }

    async fn decide(
        &self,
        stamp: u64,
        pending: &Pending,
        welcome: Option<String>,
        at: Timestamp,
    ) -> Result<Vec<Delivery>, Error> {
        let (subject, code) = (pending.subject.clone(), pending.code.clone());
        self.shared.writer.write(Decide { scope: self.scope.clone(), stamp, subject, code, welcome, at }).await
    }

    /// Lets the peer and the group with this id in no longer; says which of them were.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn revoke(&self, id: &str) -> Result<Vec<Subject>, Error> {
        self.shared.writer.write(Revoke { scope: self.scope.clone(), id: id.to_owned() }).await
    }

    /// Puts a line into the outbox that belongs to no conversation.
    ///
    /// # Errors
    /// As [`Self::offer`].
    pub async fn say(&self, line: NewDelivery, at: Timestamp) -> Result<Vec<Delivery>, Error> {
        self.shared.writer.try_write(Say { scope: self.scope.clone(), line, at }).await
    }

    /// Keeps a message that has no session key, once; false when it is kept already. Of more than a thousand
    /// the oldest goes.
    ///
    /// # Errors
    /// As [`Self::offer`]; [`Error::OtherTenant`] when the message names another tenant.
    pub async fn park(&self, inbound: Inbound, reason: String) -> Result<bool, Error> {
        if inbound.identity.tenant != self.scope.tenant {
            return Err(Error::OtherTenant);
        }
        self.shared.writer.try_write(ParkUnresolved { scope: self.scope.clone(), inbound, reason }).await
    }

    /// Such messages, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn unresolved(&self, limit: usize) -> Result<Vec<Parked>, Error> {
        let view = self.shared.database.read()?;
        let unresolved = view.values(&UNRESOLVED)?;
        let mut found = Vec::new();
        for row in unresolved.range(self.scope.positions())?.take(limit) {
            let (key, parked) = row?;
            let parked = parked.restore(key.value().2, &self.scope.notices());
            found.push(parked.or(Err(Error::Value { what: disk::Parked::WHAT }))?);
        }
        Ok(found)
    }

    /// Forgets all of them; says how many.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn drop_unresolved(&self) -> Result<usize, Error> {
        self.shared.writer.write(DropUnresolved { scope: self.scope.clone() }).await
    }
}
