//! What becomes of a reply that was committed.

use crate::clock::Timestamp;

use super::scope::Scope;
use super::tables::{Change, Changes, Tables};
use super::versioned::Versioned;
use super::writer::Operation;
use super::{Error, delivery_id, disk, episodes};

/// News of one delivery.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) scope: Scope,
    pub(super) id: String,
    pub(super) step: Step,
}

/// What happened to it.
#[derive(Debug)]
pub(super) enum Step {
    /// An attempt starts.
    Start,
    /// The attempt certainly did not reach the vendor.
    Unstart,
    /// The vendor has it.
    Settle,
    /// Nobody tries it any more.
    Park { reason: String, at: Timestamp },
}

impl Operation for Progress {
    type Outcome = ();

    /// What is sent again after a power cut has the id that it had; where the channel cannot tell, nothing is.
    fn is_urgent(&self) -> bool {
        !matches!(self.step, Step::Settle)
    }

    fn plan(self, tables: &Tables<'_>) -> Result<((), Changes), Error> {
        let Self { scope, id, step } = self;
        let (tenant, key) = scope.parts();
        let gone = || Error::Gone { what: "reply" };
        let id = delivery_id::parse(&id).ok_or_else(gone)?;
        let get = || tables.outbox.get((tenant, key, id))?.ok_or_else(gone);
        let has = || if tables.outbox.has((tenant, key, id))? { Ok(()) } else { Err(gone()) };
        let noted = |is_started| {
            let delivery = disk::Outgoing { is_started, ..get()? };
            Ok::<_, Error>(vec![Change::Delivery(id, Some(delivery.encode()?))])
        };

        let changes = match step {
            Step::Start => noted(true)?,
            Step::Unstart => noted(false)?,
            Step::Settle => {
                has()?;
                vec![Change::Delivery(id, None)]
            }
            // Outside of every conversation there is nobody to set it aside for; the log says what it was.
            Step::Park { .. } if scope.key.is_of_notices() => {
                has()?;
                vec![Change::Delivery(id, None)]
            }
            Step::Park { reason, at } => {
                let delivery = get()?;
                let line = (tenant, key, delivery.line);
                let delivery = delivery.whole(|| tables.transcript.get(line))?;
                let what = disk::ParkedItem::Delivery(id, delivery);
                let parked = disk::Parked { at: at.0, reason, what };
                let (position, row) = episodes::next_parked(tables, &scope)?;
                vec![Change::Delivery(id, None), Change::Parked(position, Some(parked.encode()?)), row]
            }
        };
        Ok(((), Changes::Session(scope, changes)))
    }
}
