//! The gateway, as far as somebody reaches it. Handlers have nothing else in their hands, so none of them can look
//! further than the one who asks may.
//!
//! Who is bound to a tenant hears of another one exactly what is said of one that does not exist: nothing is looked up.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::operation::Rule;
use super::{Again, parsed};
use crate::account::{Accounts, Reach, Who};
use crate::channel::form::Probe;
use crate::clock::Timestamp;
use crate::gateway::machine::{self, Machine};
use crate::gateway::{
    Admission, ChannelStatus, ConfiguredTenant, DeliveryError, Gateway, Ground, PairingError, PersonsWords, Repeat,
    Said, Status, Totals,
};
use crate::id::{EntryId, SessionKey, TenantId};
use crate::message::{Identity, Subject};
use crate::session::Resolved;
use crate::store::{
    self, About, Approval, Counts, Delivery, Erased, Filter, KeptTenant, Pending, Recent, RecentCursor, Restored,
    SessionRow, Taken, TenantStore, Unparked,
};
use crate::usage::{Figures, Hour};

/// Tenants of whom what is left is being removed.
pub(crate) type Erasing = BTreeSet<Option<TenantId>>;

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

    /// A page of their conversations, tenant after tenant, and whether there are more. `read` gives those of one tenant that
    /// the filter lets through; its `limit` is the page's.
    pub(crate) fn walk<T>(
        &self,
        named: Option<&str>,
        after: Option<&Stop>,
        filter: &Filter,
        read: impl Fn(&TenantStore, &Filter) -> Result<Vec<T>, store::Error>,
    ) -> Result<(Vec<T>, bool), Error> {
        let (mut rows, limit): (Vec<T>, _) = (Vec::new(), filter.limit);
        for of in self.tenants(named)? {
            let mut filter = Filter { limit: (limit + 1).saturating_sub(rows.len()), ..filter.clone() };
            match after {
                Some(stop) if of.id() < stop.tenant.as_ref() => continue,
                Some(stop) if of.id() == stop.tenant.as_ref() => {
                    (filter.after, filter.after_episode) = (Some(stop.key.clone()), Some(stop.episode));
                }
                _ => {}
            }
            rows.extend(read(&of.store(), &filter)?);
            if rows.len() > limit {
                break;
            }
        }
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows, has_more))
    }

    /// Entries with messages that belong to no conversation.
    pub(crate) fn unresolved_entries(&self) -> Result<Vec<(OfTenant, EntryId)>, Error> {
        let entries = self.gateway.store().unresolved_entries()?.into_iter();
        Ok(entries.filter_map(|(tenant, entry)| Some((self.of(tenant)?, entry))).collect())
    }

    /// Conversations that people have taken.
    pub(crate) fn taken(&self) -> Result<Vec<(Option<TenantId>, SessionKey, Taken)>, Error> {
        let mut taken = self.gateway.store().taken()?;
        taken.retain(|(tenant, ..)| self.who.reaches(tenant.as_ref()));
        Ok(taken)
    }

    /// Of whom something is kept.
    pub(crate) fn kept_tenants(&self) -> Result<Vec<KeptTenant>, Error> {
        Ok(match &self.who.reach {
            Reach::All => self.gateway.store().kept_tenants()?,
            Reach::Tenant(own) => self.gateway.store().kept_tenant(Some(own))?,
        })
    }

    /// Those that the configuration or the store knows, and which of them are being erased.
    pub(crate) fn all_tenants(&self) -> Result<(BTreeMap<Option<TenantId>, ConfiguredTenant>, Erasing), Error> {
        let mut all = self.gateway.configured_tenants();
        all.retain(|tenant, _| self.who.reaches(tenant.as_ref()));
        let (kept, erasing) = match &self.who.reach {
            Reach::All => (self.gateway.store().tenants()?, self.gateway.store().erasing()?),
            Reach::Tenant(own) => {
                let kept = self.gateway.store().kept_tenant(Some(own))?;
                let erasing = kept.iter().filter(|kept| kept.is_erasing).map(|kept| kept.tenant.clone()).collect();
                (kept.into_iter().map(|kept| kept.tenant).collect(), erasing)
            }
        };
        let erasing: Erasing = erasing.into_iter().collect();
        for tenant in kept.into_iter().chain(erasing.iter().cloned()) {
            all.entry(tenant).or_default();
        }
        Ok((all, erasing))
    }

    /// What is kept of a tenant that is reached, in numbers, and when somebody last said something.
    pub(crate) fn figures(&self, tenant: Option<&TenantId>) -> Result<(Counts, Option<Timestamp>), Error> {
        if !self.who.reaches(tenant) {
            return Ok((Counts::default(), None));
        }
        let store = self.gateway.store();
        let last = store.recent(&[tenant.cloned()], None, 1)?;
        Ok((store.tenant(tenant).counts()?, last.rows.first().map(|row| row.last_active_at)))
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

    /// What messages of those that are reached are explained by: other entries do not exist.
    pub(crate) fn ground(&self) -> Ground {
        self.gateway.ground().seen_by(|tenant| self.who.reaches(tenant))
    }

    /// Would a message of one that is reached be let in?
    pub(crate) fn admission(
        &self,
        identity: &Identity,
        resolved: Option<&Resolved>,
        mentioned: bool,
    ) -> Result<Admission, Error> {
        if !self.who.reaches(identity.tenant.as_ref()) {
            return Ok(Admission::NoEntry);
        }
        Ok(self.gateway.admission(identity, resolved, mentioned)?)
    }

    /// See [`Gateway::idle_routes`].
    pub(crate) fn idle_routes(&self) -> Vec<(usize, String)> {
        match self.who.reach {
            Reach::All => self.gateway.idle_routes(),
            Reach::Tenant(_) => Vec::new(),
        }
    }

    /// How the channels are.
    pub(crate) fn channels(&self) -> Result<Vec<ChannelStatus>, Error> {
        Ok(self.gateway.channels(&self.who)?)
    }

    /// Tries whether a channel works.
    pub(crate) async fn test_channel(&self, id: &str) -> Result<Vec<Probe>, Error> {
        Ok(self.changing()?.test_channel(&self.who, id).await?)
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

    /// Notes that they changed something of a conversation.
    pub(crate) fn note(&self, what: &'static str, tenant: Option<&TenantId>, key: Option<&SessionKey>) {
        self.gateway.note_access(&self.who, tenant, what, key.cloned().map_or(About::Nothing, About::Key));
    }

    /// Notes that they read something of a conversation; the same again within ten minutes is one look.
    pub(crate) fn note_look(&self, what: &'static str, tenant: Option<&TenantId>, key: Option<&SessionKey>) {
        self.gateway.note_look(&self.who, tenant, what, key);
    }

    /// Notes that they did something that is about no conversation. It is in the log of those whom they reach.
    pub(crate) fn note_name(&self, what: &'static str, name: &str) {
        self.gateway.note_access(&self.who, self.who.own_tenant(), what, About::Name(name.to_owned()));
    }

    /// Notes that they did something that is about nothing but them.
    pub(crate) fn note_itself(&self, what: &'static str) {
        self.gateway.note_access(&self.who, self.who.own_tenant(), what, About::Nothing);
    }

    /// The accounts, for what somebody does with their own. Unless they cannot be used: then nobody can say who has one.
    pub(crate) fn own_accounts(&self) -> Result<&Accounts, Error> {
        let accounts = self.gateway.accounts();
        accounts.why_shut().map_or(Ok(accounts), |_why| {
            Err(Error::Unavailable("this cannot be answered now; whoever runs this gateway sees why".to_owned()))
        })
    }

    /// The tenants to look at in the access log: the one that was named, or all that are reached.
    pub(crate) fn with_access(&self, named: Option<&str>) -> Result<Vec<OfTenant>, Error> {
        self.named_or(named, store::Store::with_access)
    }

    /// For those who may change something.
    fn changing(&self) -> Result<&Gateway, Error> {
        super::operation::CHANGE.check(&self.who)?;
        Ok(&self.gateway)
    }
}

/// Where a page of a list ends, in callers' hands as `next`: tenant, key, episode.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "(Option<String>, String, u64)", into = "(Option<String>, String, u64)")]
pub(crate) struct Stop {
    tenant: Option<TenantId>,
    key: SessionKey,
    episode: u64,
}

impl Stop {
    pub(crate) fn at(row: &SessionRow) -> Self {
        Self { tenant: row.tenant.clone(), key: row.key.clone(), episode: row.episode }
    }

    /// As `next` has it.
    pub(crate) fn text(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

impl TryFrom<(Option<String>, String, u64)> for Stop {
    type Error = String;

    fn try_from((tenant, key, episode): (Option<String>, String, u64)) -> Result<Self, String> {
        let tenant = tenant.map(TenantId::new).transpose().map_err(|error| error.to_string())?;
        let key = SessionKey::parse(&key).map_err(|error| error.to_string())?;
        Ok(Self { tenant, key, episode })
    }
}

impl From<Stop> for (Option<String>, String, u64) {
    fn from(stop: Stop) -> Self {
        (stop.tenant.map(|tenant| tenant.to_string()), stop.key.to_string(), stop.episode)
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

    pub(crate) fn note_look(&self, what: &'static str, key: Option<&SessionKey>) {
        self.reached.note_look(what, self.id(), key);
    }

    pub(crate) async fn take(&self, key: &SessionKey, from_others: bool) -> Result<Taken, Error> {
        Ok(self.reached.changing()?.take(self.id(), key, &self.reached.who.name, from_others).await?)
    }

    pub(crate) async fn say(&self, key: &SessionKey, words: PersonsWords) -> Result<Said, Error> {
        let said = self.reached.changing()?.say(self.id(), key, &self.reached.who.name, words).await;
        Ok(said?)
    }

    pub(crate) async fn hand_back(&self, key: &SessionKey) -> Result<(), Error> {
        Ok(self.reached.changing()?.hand_back(self.id(), key).await?)
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
