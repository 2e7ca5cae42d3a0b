//! What the operator does to replies that wait, and to what was set aside.

use super::Gateway;
use crate::id::{API_ENTRY, EntryId, SessionKey, TenantId};
use crate::message::ReplyAddress;
use crate::session::lane::LaneId;
use crate::store::{self, Delivery, Parked, ParkedItem, Unparked};

/// Items that one transaction drops.
const MAX_DROPPED: usize = 1000;

/// May something be sent that was perhaps sent before?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Only where the channel recognises it.
    Never,
    /// The operator has looked, and wants it.
    Anyway,
}

/// Why something that was set aside is not put back, or not dropped.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum DeliveryError {
    /// There is no such thing, or not any more.
    #[error("nothing named {id} waits or was set aside in {key}; `frontdesk deliveries list` shows what there is")]
    Unknown { id: String, key: SessionKey },
    /// There is nothing to put back.
    #[error("{id} was not set aside: it waits to be sent, and is tried again without being asked")]
    Waits { id: String },
    /// Nobody knows what the operator wants.
    #[error("the gateway is in safe mode; mend the configuration first")]
    SafeMode,
    /// It could go nowhere.
    #[error(
        "the channel entry {0} is not configured; add it again first, or drop this with `frontdesk deliveries drop`"
    )]
    NoEntry(EntryId),
    /// It would go to somebody else.
    #[error(
        "the channel entry {0} is another channel, or another tenant's, by now, so this can go nowhere; drop it with \
         `frontdesk deliveries drop`"
    )]
    OtherEntry(EntryId),
    /// Nobody waits for it.
    #[error(
        "whoever asked over the HTTP API was told how it ended, and nobody waits for this; drop it with `frontdesk \
         deliveries drop`"
    )]
    ApiCaller,
    /// The peer may hear it twice.
    #[error(
        "it may have been sent already, and the channel {0} cannot tell a repeat; look there, then drop it, or send it \
         again with --anyway"
    )]
    Ambiguous(EntryId),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Gateway {
    /// Puts back what was set aside under this name: a reply is sent again under the same id, a message waits for a turn
    /// behind all others. Both are as old as if they had come now.
    ///
    /// # Errors
    /// [`DeliveryError`]; then nothing has happened.
    pub async fn retry(
        &self,
        tenant: Option<&TenantId>,
        session_key: &SessionKey,
        id: &str,
        repeat: Repeat,
    ) -> Result<Unparked, DeliveryError> {
        let session = self.0.store.tenant(tenant).session(session_key);
        let Some(parked) = session.find_parked(id)? else {
            return Err(match session.claim_delivery(id)? {
                Some(_) => DeliveryError::Waits { id: id.to_owned() },
                None => unknown(session_key, id),
            });
        };
        self.check_retry(&parked, repeat)?;
        let (gateway, life) = (self.clone(), self.life(tenant, session_key));
        let lane: LaneId = (tenant.cloned(), session_key.clone());
        let putting_back = async move {
            let unparked = session.unpark(parked.position, life, gateway.now()).await?;
            match &unparked {
                Unparked::Message => gateway.wake(lane),
                Unparked::Delivery(name) => gateway.deliver(name.clone()),
            }
            Ok(unparked)
        };
        let unparked = self.to_its_end(putting_back).await;
        let unparked = unparked.map_err(|error| gone_or(error, session_key, id))?;
        tracing::info!(session.key = %session_key, delivery.id = id, ?repeat, "what was set aside was put back");
        Ok(unparked)
    }

    /// Could it arrive, and only once?
    fn check_retry(&self, parked: &Parked, repeat: Repeat) -> Result<(), DeliveryError> {
        let live = self.0.live.load();
        if live.safe_mode.is_some() {
            return Err(DeliveryError::SafeMode);
        }
        let (address, is_started): (&ReplyAddress, bool) = match &parked.what {
            ParkedItem::Message(inbound) => (&inbound.reply_to, false),
            ParkedItem::Delivery(delivery) => (&delivery.content.address, delivery.is_started),
        };
        let id = address.entry();
        if id.as_str() == API_ENTRY {
            return Err(DeliveryError::ApiCaller);
        }
        let Some(entry) = live.entries.get(id) else { return Err(DeliveryError::NoEntry(id.clone())) };
        if entry.stamp != address.stamp() {
            return Err(DeliveryError::OtherEntry(id.clone()));
        }
        if is_started && !entry.descriptor().send_is_idempotent && repeat == Repeat::Never {
            return Err(DeliveryError::Ambiguous(id.clone()));
        }
        Ok(())
    }

    /// Removes what was set aside under this name, or a reply that waits, for good. One that is being sent at this moment
    /// may still arrive.
    ///
    /// # Errors
    /// [`DeliveryError::Unknown`], [`DeliveryError::Store`].
    pub async fn drop_item(
        &self,
        tenant: Option<&TenantId>,
        session_key: &SessionKey,
        id: &str,
    ) -> Result<(), DeliveryError> {
        let session = self.0.store.tenant(tenant).session(session_key);
        let is_dropped = match session.find_parked(id)? {
            Some(parked) => session.drop_parked(vec![parked.position]).await? > 0,
            None => match session.settle_delivery(id).await {
                Ok(()) => true,
                Err(store::Error::Gone { .. }) => false,
                Err(error) => return Err(error.into()),
            },
        };
        if !is_dropped {
            return Err(unknown(session_key, id));
        }
        tracing::info!(session.key = %session_key, delivery.id = id, "an operator dropped this for good");
        Ok(())
    }

    /// Removes all that was set aside under a key, for good; says how much that was. Replies that wait stay.
    ///
    /// # Errors
    /// When the store does not take it; some of it may be gone then.
    pub async fn drop_parked(
        &self,
        tenant: Option<&TenantId>,
        session_key: &SessionKey,
    ) -> Result<usize, store::Error> {
        let session = self.0.store.tenant(tenant).session(session_key);
        let mut n_dropped = 0;
        loop {
            let positions = session.parked_positions(MAX_DROPPED)?;
            if positions.is_empty() {
                break;
            }
            n_dropped += session.drop_parked(positions).await?;
        }
        tracing::info!(session.key = %session_key, n_dropped, "an operator dropped what was set aside for good");
        Ok(n_dropped)
    }

    /// Attempts so far in this process at a reply that waits.
    #[must_use]
    pub fn n_tries(&self, delivery: &Delivery) -> u32 {
        self.0.outbox.n_tries(&delivery.content.address, &delivery.id)
    }
}

fn unknown(session_key: &SessionKey, id: &str) -> DeliveryError {
    DeliveryError::Unknown { id: id.to_owned(), key: session_key.clone() }
}

/// Somebody else was faster.
fn gone_or(error: store::Error, session_key: &SessionKey, id: &str) -> DeliveryError {
    match error {
        store::Error::Gone { .. } => unknown(session_key, id),
        error => error.into(),
    }
}
