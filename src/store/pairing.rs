//! Who asked to be let in, and who was.

use crate::clock::Timestamp;
use crate::message::Subject;

use super::entry::EntryScope;
use super::record::{Delivery, NewDelivery, Offer, Offered};
use super::tables::{Change, Changes, EntryChange, Tables};
use super::versioned::Versioned;
use super::writer::Operation;
use super::{Error, disk, turn};

/// See `EntryStore::offer`.
#[derive(Debug)]
pub(super) struct OfferPairing {
    pub(super) scope: EntryScope,
    pub(super) offer: Offer,
    pub(super) at: Timestamp,
}

impl Operation for OfferPairing {
    type Outcome = Offered;

    fn is_new(&self) -> bool {
        true
    }

    fn plan(self, tables: &Tables<'_>) -> Result<(Offered, Changes), Error> {
        let Self { scope, offer, at } = self;
        let stamp = offer.line.address.stamp();
        let (mut changes, mut n_pending) = (Vec::new(), 0);
        for row in tables.pairings.range(scope.subjects().bounds())? {
            let (key, pairing) = row?;
            let (_, _, kind, id) = key.value();
            let subject = subject(kind, id)?;
            if !pairing.is_alive(stamp, at) {
                changes.push(EntryChange::Pairing(subject, None));
            } else if subject == offer.subject {
                return Ok((Offered::Known, Changes::None));
            } else if pairing.code == offer.code {
                // Two of one code could not be told apart. It takes a million million strangers.
                return Ok((Offered::Full, Changes::None));
            } else {
                n_pending += 1;
            }
        }
        if n_pending >= offer.max_pending {
            return Ok((Offered::Full, Changes::None));
        }
        let pairing = disk::Pairing {
            stamp,
            code: offer.code,
            name: offer.name,
            expires_at: offer.expires_at.0,
            address: (&offer.line.address).into(),
            message_id: offer.line.in_reply_to.to_string(),
        };
        changes.push(EntryChange::Pairing(offer.subject, Some(pairing.encode()?)));
        let delivery = say(tables, &scope, offer.line, at, &mut changes)?;
        Ok((Offered::New(delivery), Changes::Entry(scope, changes)))
    }
}

/// See `EntryStore::say`.
#[derive(Debug)]
pub(super) struct Say {
    pub(super) scope: EntryScope,
    pub(super) line: NewDelivery,
    pub(super) at: Timestamp,
}

impl Operation for Say {
    type Outcome = Vec<Delivery>;

    fn plan(self, tables: &Tables<'_>) -> Result<(Vec<Delivery>, Changes), Error> {
        let mut changes = Vec::new();
        let delivery = say(tables, &self.scope, self.line, self.at, &mut changes)?;
        Ok((delivery, Changes::Entry(self.scope, changes)))
    }
}

/// See `EntryStore::approve` and `EntryStore::reject`.
#[derive(Debug)]
pub(super) struct Decide {
    pub(super) scope: EntryScope,
    pub(super) stamp: u64,
    pub(super) subject: Subject,
    /// The one that was shown: the subject may have another by now.
    pub(super) code: String,
    /// What it is told when it is let in; `None`: it is not.
    pub(super) welcome: Option<String>,
    pub(super) at: Timestamp,
}

impl Operation for Decide {
    type Outcome = Vec<Delivery>;

    fn plan(self, tables: &Tables<'_>) -> Result<(Vec<Delivery>, Changes), Error> {
        let Self { scope, stamp, subject, code, welcome, at } = self;
        let gone = || Error::Gone { what: "pairing code" };
        let pairing = tables.pairings.get(scope.subject(&subject))?.ok_or_else(gone)?;
        if pairing.code != code || !pairing.is_alive(stamp, at) {
            return Err(gone());
        }
        let mut changes = vec![EntryChange::Pairing(subject.clone(), None)];
        let mut deliveries = Vec::new();
        if let Some(text) = welcome {
            let approval = disk::Approval { stamp, name: pairing.name.clone(), at: at.0 };
            changes.push(EntryChange::Approval(subject, Some(approval.encode()?)));
            let line = pairing.line(text).or(Err(Error::Value { what: disk::Pairing::WHAT }))?;
            deliveries = say(tables, &scope, line, at, &mut changes)?;
        }
        Ok((deliveries, Changes::Entry(scope, changes)))
    }
}

/// See `EntryStore::revoke`.
#[derive(Debug)]
pub(super) struct Revoke {
    pub(super) scope: EntryScope,
    pub(super) id: String,
}

impl Operation for Revoke {
    /// What was revoked.
    type Outcome = Vec<Subject>;

    fn plan(self, tables: &Tables<'_>) -> Result<(Vec<Subject>, Changes), Error> {
        let Self { scope, id } = self;
        let mut revoked = Vec::new();
        for subject in [Subject::Peer(id.clone()), Subject::Group(id)] {
            if tables.approvals.has(scope.subject(&subject))? {
                revoked.push(subject);
            }
        }
        let remove = |subject: &Subject| EntryChange::Approval(subject.clone(), None);
        let changes: Vec<EntryChange> = revoked.iter().map(remove).collect();
        let changes = if changes.is_empty() { Changes::None } else { Changes::Entry(scope, changes) };
        Ok((revoked, changes))
    }
}

/// From what a table's key holds.
pub(super) fn subject(kind: &str, id: &str) -> Result<Subject, Error> {
    let both = [Subject::Peer(id.to_owned()), Subject::Group(id.to_owned())];
    both.into_iter().find(|subject| subject.kind() == kind).ok_or(Error::Value { what: "kind of chat" })
}

/// Puts a line into the outbox that belongs to no conversation.
fn say(
    tables: &Tables<'_>,
    scope: &EntryScope,
    line: NewDelivery,
    at: Timestamp,
    changes: &mut Vec<EntryChange>,
) -> Result<Vec<Delivery>, Error> {
    let mut beside: Vec<Change> = Vec::new();
    let deliveries = turn::send(tables, &scope.notices(), [line], (0, None), at, &mut beside)?;
    changes.extend(beside.into_iter().map(|change| EntryChange::Beside(Box::new(change))));
    Ok(deliveries)
}
