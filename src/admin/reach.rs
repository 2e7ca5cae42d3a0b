//! The gateway, as far as somebody reaches it. Handlers have nothing else in their hands, so none of them can look
//! further than the one who asks may.
//!
//! Who is bound to a tenant hears of another one exactly what is said of one that does not exist: nothing is looked up.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::operation::Rule;
use super::{Again, access, parsed};
use crate::account::{Reach, Who};
use crate::clock::Timestamp;
use crate::gateway::machine::{self, Machine};
use crate::gateway::{ChannelStatus, DeliveryError, Gateway, PairingError, Repeat, Status, Totals};
use crate::id::{EntryId, SessionKey, TenantId};
use crate::message::Subject;
use crate::store::{
    self, Approval, Counts, Delivery, Erased, KeptTenant, Pending, Recent, RecentCursor, Restored, TenantStore,
    Unparked,
};
use crate::usage::{Figures, Hour};

/// The gateway for one who asks.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    gateway: Gateway,
    who: Who,
    again: Option<Again>,
}

/// What was counted, by hour.
pub(crate) type Hours = BTreeMap<Hour, Figures>;

/// How the gateway is, for one who asks.
#[derive(Debug)]
pub(crate) enum Seen {
    /// All of it.
    Whole(Box<Status>),
    /// A tenant's share.
    Share { counts: Counts, n_unresolved: u64, channels: Vec<ChannelStatus> },
}

impl Reached {
    pub(crate) fn new(gateway: Gateway, who: Who) -> Self {
        Self { gateway, who, again: None }
    }

    /// The same, for a request that may be answered for long.
    pub(super) fn asked(gateway: Gateway, who: Who, again: Again) -> Self {
        Self { gateway, who, again: Some(again) }
    }

    /// Is the request still from the one who asked, with the same rights?
    pub(super) async fn is_still_theirs(&self) -> bool {
        match &self.again {
            Some(again) => again.who().await.as_ref() == Some(&self.who),
            None => false,
        }
    }

    /// Who asks.
    pub(crate) fn who(&self) -> &Who {
        &self.who
    }

    /// The gateway itself, for those whom the rule admits to it.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub(crate) fn whole(&self, rule: Rule) -> Result<&Gateway, Error> {
        rule.check(&self.who)?;
        match self.who.reach {
            Reach::All => Ok(&self.gateway),
            Reach::Tenant(_) => Err(Error::Forbidden("this is about the gateway itself")),
        }
    }

    /// The tenants to look at: the one that was named, or all that have conversations and are reached. The owner's own
    /// is named by nothing.
    pub(crate) fn tenants(&self, named: Option<&str>) -> Result<Vec<OfTenant>, Error> {
        self.named_or(named, store::Store::tenants)
    }

    /// The same; without a name, those that have something to send or set aside.
    pub(crate) fn with_deliveries(&self, named: Option<&str>) -> Result<Vec<OfTenant>, Error> {
        self.named_or(named, store::Store::tenants_with_deliveries)
    }

    fn named_or(
        &self,
        named: Option<&str>,
        all: impl FnOnce(&store::Store) -> Result<Vec<Option<TenantId>>, store::Error>,
    ) -> Result<Vec<OfTenant>, Error> {
        let tenants = match (named, &self.who.reach) {
            (Some(""), _) => vec![None],
            (Some(tenant), _) => vec![Some(parsed("tenant", TenantId::new(tenant))?)],
            (None, Reach::Tenant(own)) => vec![Some(own.clone())],
            (None, Reach::All) => all(self.gateway.store())?,
        };
        Ok(tenants.into_iter().filter_map(|tenant| self.of(tenant)).collect())
    }

    /// `None`: they do not reach it.
    fn of(&self, tenant: Option<TenantId>) -> Option<OfTenant> {
        self.who.reaches(tenant.as_ref()).then(|| OfTenant { reached: self.clone(), tenant })
    }

    /// A page of their live conversations, the newest first.
    pub(crate) fn recent(
        &self,
        named: Option<&str>,
        before: Option<&RecentCursor>,
        limit: usize,
    ) -> Result<Recent, Error> {
        let tenants: Vec<Option<TenantId>> = self.tenants(named)?.into_iter().map(|of| of.tenant).collect();
        Ok(self.gateway.store().recent(&tenants, before, limit)?)
    }

    /// Entries with messages that belong to no conversation.
    pub(crate) fn unresolved_entries(&self) -> Result<Vec<(OfTenant, EntryId)>, Error> {
        let entries = self.gateway.store().unresolved_entries()?.into_iter();
        Ok(entries.filter_map(|(tenant, entry)| Some((self.of(tenant)?, entry))).collect())
    }

    /// Of whom something is kept.
    pub(crate) fn kept_tenants(&self) -> Result<Vec<KeptTenant>, Error> {
        Ok(match &self.who.reach {
            Reach::All => self.gateway.store().kept_tenants()?,
            Reach::Tenant(own) => self.gateway.store().kept_tenant(Some(own))?,
        })
    }

    /// How the gateway is.
    pub(crate) fn status(&self) -> Result<Seen, Error> {
        let Reach::Tenant(own) = &self.who.reach else { return Ok(Seen::Whole(Box::new(self.gateway.status()?))) };
        let store = self.gateway.store().tenant(Some(own));
        Ok(Seen::Share {
            counts: store.counts()?,
            n_unresolved: store.n_unresolved()?,
            channels: self.gateway.channels(&self.who)?,
        })
    }

    /// What was counted in each hour from this one on, by tenant.
    pub(crate) fn usage(&self, named: Option<&str>, from: Hour) -> Result<Vec<(Option<TenantId>, Hours)>, Error> {
        let of = self.named_or(named, |_| self.gateway.tenants_with_usage())?;
        of.into_iter().map(|of| Ok((of.tenant.clone(), self.gateway.usage(of.id(), from)?))).collect()
    }

    /// Those of whom something was counted.
    pub(crate) fn tenants_with_usage(&self) -> Result<Vec<Option<TenantId>>, Error> {
        let of = self.named_or(None, |_| self.gateway.tenants_with_usage())?;
        Ok(of.into_iter().map(|of| of.tenant).collect())
    }

    /// The most memory of each hour from this one on; `None`: they do not reach the gateway itself.
    pub(crate) fn memory(&self, from: Hour) -> Result<Option<BTreeMap<Hour, u64>>, Error> {
        match self.who.reach {
            Reach::All => Ok(Some(self.gateway.store().memory(from)?)),
            Reach::Tenant(_) => Ok(None),
        }
    }

    /// What was counted since the start, as far as it is theirs.
    pub(crate) fn totals(&self) -> Totals {
        let totals = self.gateway.totals();
        match &self.who.reach {
            Reach::All => totals,
            Reach::Tenant(own) => {
                let own = Some(own.clone());
                let figures = totals.tenants.get(&own).cloned().unwrap_or_default();
                Totals { tenants: [(own, figures)].into(), ..Totals::default() }
            }
        }
    }

    /// How full the machine is.
    pub(crate) fn machine(&self) -> Machine {
        machine::look(self.gateway.home())
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.gateway.now()
    }

    /// Strangers who wait, by channel.
    pub(crate) fn pairings(&self, channel: Option<&str>) -> Result<Vec<(String, Pending)>, PairingError> {
        self.gateway.pairings(&self.who, channel)
    }

    /// Who was approved, by channel.
    pub(crate) fn approvals(&self, channel: Option<&str>) -> Result<Vec<(String, Approval)>, PairingError> {
        self.gateway.approvals(&self.who, channel)
    }

    pub(crate) async fn approve(&self, channel: &str, code: &str) -> Result<(String, Pending), Error> {
        Ok(self.changing()?.approve(&self.who, channel, code).await?)
    }

    pub(crate) async fn reject(&self, channel: &str, code: &str) -> Result<(String, Pending), Error> {
        Ok(self.changing()?.reject(&self.who, channel, code).await?)
    }

    pub(crate) async fn revoke(&self, channel: &str, subject: &str) -> Result<(String, Vec<Subject>), Error> {
        Ok(self.changing()?.revoke(&self.who, channel, subject).await?)
    }

    /// See [`Gateway::said`].
    pub(crate) fn said(&self) -> (watch::Receiver<u64>, CancellationToken) {
        self.gateway.said()
    }

    /// Notes that they read or changed something of a conversation.
    pub(crate) fn note(&self, what: &'static str, tenant: Option<&TenantId>, key: Option<&SessionKey>) {
        access::note(&self.who, what, tenant, key);
    }

    /// For those who may change something.
    fn changing(&self) -> Result<&Gateway, Error> {
        super::operation::CHANGE.check(&self.who)?;
        Ok(&self.gateway)
    }
}

/// One tenant that is reached.
#[derive(Debug, Clone)]
pub(crate) struct OfTenant {
    reached: Reached,
    tenant: Option<TenantId>,
}

impl OfTenant {
    /// `None`: the owner's own.
    pub(crate) fn id(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// As it stands in answers.
    pub(crate) fn name(&self) -> Option<String> {
        self.tenant.as_ref().map(ToString::to_string)
    }

    /// What is kept of it.
    pub(crate) fn store(&self) -> TenantStore {
        self.reached.gateway.store().tenant(self.id())
    }

    pub(crate) fn note(&self, what: &'static str, key: Option<&SessionKey>) {
        self.reached.note(what, self.id(), key);
    }

    pub(crate) async fn archive(&self, key: &SessionKey) -> Result<bool, Error> {
        Ok(self.reached.changing()?.archive(self.id(), key).await?)
    }

    pub(crate) async fn restore(&self, key: &SessionKey, episode: Option<u64>) -> Result<Restored, Error> {
        Ok(self.reached.changing()?.restore(self.id(), key, episode).await?)
    }

    pub(crate) async fn erase(&self, key: &SessionKey, episode: Option<u64>) -> Result<Erased, Error> {
        Ok(self.reached.changing()?.erase(self.id(), key, episode).await?)
    }

    /// Removes the messages of an entry that belong to no conversation.
    pub(crate) async fn drop_unresolved(&self, entry: &EntryId) -> Result<usize, Error> {
        self.reached.changing()?;
        Ok(self.store().entry(entry).drop_unresolved().await?)
    }

    pub(crate) async fn retry(&self, key: &SessionKey, id: &str, repeat: Repeat) -> Result<Unparked, Error> {
        let retried = self.reached.changing()?.retry(self.id(), key, id, repeat).await;
        Ok(retried.map_err(|error| match (error, &self.reached.who.reach) {
            // Whose an entry is now is not theirs to know.
            (DeliveryError::OtherEntry(entry), Reach::Tenant(_)) => DeliveryError::NoEntry(entry),
            (error, _) => error,
        })?)
    }

    pub(crate) async fn drop_item(&self, key: &SessionKey, id: &str) -> Result<(), Error> {
        Ok(self.reached.changing()?.drop_item(self.id(), key, id).await?)
    }

    pub(crate) async fn drop_parked(&self, key: &SessionKey) -> Result<usize, Error> {
        Ok(self.reached.changing()?.drop_parked(self.id(), key).await?)
    }

    /// Attempts so far at a reply that waits.
    pub(crate) fn n_tries(&self, delivery: &Delivery) -> u32 {
        self.reached.gateway.n_tries(delivery)
    }
}
