//! Why a message goes where it goes: its key, whether it is let in, who answers. Pure, but for what the store knows of a
//! running gateway's strangers.

use super::Gateway;
use super::live::LiveEntry;
use crate::channel::registry;
use crate::clock::Timestamp;
use crate::config::{Entry, Settings};
use crate::id::{API_ENTRY, AgentId, ChannelType, EntryId, OpaqueId, TenantId};
use crate::identity::{self, Verdict};
use crate::message::{Author, ChatKind, Identity, Inbound, ReplyAddress};
use crate::route::{self, Route, Router};
use crate::session::{Address, Resolved, Resolver};
use crate::store;

/// What messages are explained by.
#[derive(Debug)]
pub struct Ground {
    resolver: Resolver,
    /// Of the HTTP API, whatever the operator chose for chats.
    api_resolver: Resolver,
    router: Router,
    entries: Vec<Known>,
}

/// What an identity takes from a channel entry.
#[derive(Debug)]
struct Known {
    id: EntryId,
    channel: ChannelType,
    account: Option<OpaqueId>,
    tenant: Option<TenantId>,
    workspace: Option<OpaqueId>,
}

/// An identity bundle, as people and programs write it (SPEC §7.3): tenant and workspace come from the entry; without
/// `entry` its own count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of SPEC §7.3")]
pub struct Bundle {
    pub channel: Option<String>,
    pub entry: Option<String>,
    pub account: Option<String>,
    pub kind: String,
    pub parent_kind: Option<String>,
    pub server_id: Option<String>,
    pub channel_id: Option<String>,
    pub thread_id: Option<String>,
    pub user_id: Option<String>,
    pub tenant_id: Option<String>,
    pub workspace_id: Option<String>,
}

/// Why a message cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// It is no address.
    #[error("{0:?} is no address; write one like slack:T09ABC123:C04XYZ789:U07DEF456")]
    Address(String),
    /// A word that has to be another.
    #[error("{0:?} is not one of direct, group, thread")]
    Kind(String),
    /// No entry has this id.
    #[error("there is no channel entry {0:?}")]
    NoEntry(String),
    /// The entry is of another type.
    #[error("the entry {entry:?} is of type {is}, not {wanted}")]
    OtherType {
        /// Its id.
        entry: String,
        /// Its type.
        is: String,
        /// What the bundle says.
        wanted: String,
    },
    /// Nobody can tell where it came in.
    #[error("channel is missing: the type, such as \"slack\"")]
    NoChannel,
    /// An id is none.
    #[error("{field}: {source}")]
    Id {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        source: crate::id::Error,
    },
    /// A route that somebody wants to try is none.
    #[error(transparent)]
    Route(#[from] route::Error),
}

/// A route by its place in the order, from 0.
#[derive(Debug, Clone, Copy)]
pub struct Numbered<'g> {
    /// Its place.
    pub number: usize,
    /// The route.
    pub route: &'g Route,
}

/// What becomes of a message.
#[derive(Debug)]
pub struct Explained<'g> {
    /// Its conversation and the rule that named it, or why there is none.
    pub resolved: Result<Resolved, String>,
    /// Its address, with the tenant.
    pub address: String,
    /// Who answers.
    pub agent: &'g AgentId,
    /// The route that wins; `None`: a default agent.
    pub route: Option<Numbered<'g>>,
    /// Those that would win without it, in their order.
    pub later: Vec<Numbered<'g>>,
}

/// Would it be let in?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Admitted,
    /// No, and nobody hears of it.
    Ignored(&'static str),
    /// No: the policy keeps this one out.
    Refused(&'static str),
    /// Not before an operator has approved the one who writes.
    Pairing,
    /// There is no such entry.
    NoEntry,
}

impl Ground {
    /// What a configuration says.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let known = |entry: &Entry| Known {
            id: entry.id.clone(),
            channel: entry.channel.clone(),
            account: entry.account.clone(),
            tenant: entry.tenant.clone(),
            workspace: entry.workspace.clone(),
        };
        let entries = settings.channels.iter().map(known).collect();
        let api_resolver = Resolver::new(&crate::session::Config::embedded());
        Self { resolver: settings.resolver(), api_resolver, router: settings.router(), entries }
    }

    /// The same with other routes.
    ///
    /// # Errors
    /// [`ExplainError::Route`].
    pub fn with_routes(mut self, routes: &[String]) -> Result<Self, ExplainError> {
        self.router.routes = routes.iter().map(|route| Route::parse(route)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Entries that `may` not know of do not exist.
    #[must_use]
    pub fn seen_by(mut self, may: impl Fn(Option<&TenantId>) -> bool) -> Self {
        self.entries.retain(|entry| may(entry.tenant.as_ref()));
        self
    }

    /// The routes.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Reads the ids of an address by their number: the last is the user, in front of it are the thread, room and
    /// server that there are. Where one entry only has such addresses, the message is taken to be of that entry.
    #[must_use]
    pub fn bundle(&self, address: &Address, kind: Option<String>) -> Bundle {
        let tenant = address.tenant().and_then(|tenant| TenantId::new(tenant).ok());
        let mut entries =
            self.entries.iter().filter(|entry| entry.channel.as_str() == address.tag() && entry.tenant == tenant);
        let entry = entries.next().filter(|_| entries.next().is_none()).map(|entry| entry.id.to_string());
        let mut ids = address.ids().unwrap_or_default();
        let kind = kind.unwrap_or_else(|| if ids.len() > 3 { "thread" } else { "direct" }.to_owned());
        // A chat that is its own peer, such as Telegram's, has no user.
        let is_room = matches!(ids.as_slice(), [only] if only.starts_with("chat_") || kind == "group");
        let user_id = if is_room { None } else { ids.pop() };
        let thread_id = if kind == "thread" { ids.pop() } else { None };
        let channel_id = ids.pop();
        Bundle {
            channel: Some(address.tag().to_owned()),
            entry,
            account: None,
            kind,
            parent_kind: None,
            server_id: ids.pop(),
            channel_id,
            thread_id,
            user_id,
            tenant_id: tenant.map(|tenant| tenant.to_string()),
            workspace_id: None,
        }
    }

    /// The identity that a bundle is of.
    ///
    /// # Errors
    /// [`ExplainError`].
    pub fn identity(&self, bundle: Bundle) -> Result<Identity, ExplainError> {
        let id = |field: &'static str, id: Option<String>| {
            id.map(OpaqueId::new).transpose().map_err(|source| ExplainError::Id { field, source })
        };
        let entry = match &bundle.entry {
            None => None,
            Some(name) => {
                let found = self.entries.iter().find(|entry| entry.id.as_str() == name);
                Some(found.ok_or_else(|| ExplainError::NoEntry(name.clone()))?)
            }
        };
        let channel = bundle.channel.as_deref().map(registry::key_tag);
        let channel = match (channel, entry) {
            (Some(channel), Some(entry)) if entry.channel.as_str() != channel => {
                return Err(ExplainError::OtherType {
                    entry: entry.id.to_string(),
                    is: entry.channel.to_string(),
                    wanted: channel.to_owned(),
                });
            }
            (_, Some(entry)) => entry.channel.clone(),
            (Some(channel), None) => {
                ChannelType::new(channel).map_err(|source| ExplainError::Id { field: "channel", source })?
            }
            (None, None) => return Err(ExplainError::NoChannel),
        };
        let kind_of = |text: &str| {
            let kind = ChatKind::ALL.into_iter().find(|kind| kind.as_str() == text);
            kind.ok_or_else(|| ExplainError::Kind(text.to_owned()))
        };
        let stated = bundle.parent_kind.as_deref().map(kind_of).transpose()?;
        let kind = kind_of(&bundle.kind)?;
        let (tenant, workspace) = match entry {
            Some(entry) => (entry.tenant.clone(), entry.workspace.clone()),
            None => (
                bundle
                    .tenant_id
                    .map(TenantId::new)
                    .transpose()
                    .map_err(|source| ExplainError::Id { field: "tenant_id", source })?,
                id("workspace_id", bundle.workspace_id)?,
            ),
        };
        Ok(Identity {
            entry: match entry {
                Some(entry) => entry.id.clone(),
                None => {
                    let entry = EntryId::new(channel.as_str());
                    entry.map_err(|source| ExplainError::Id { field: "channel", source })?
                }
            },
            channel,
            account: id("account", bundle.account)?.or_else(|| entry.and_then(|entry| entry.account.clone())),
            tenant,
            workspace,
            server: id("server_id", bundle.server_id)?,
            room: id("channel_id", bundle.channel_id)?,
            thread: id("thread_id", bundle.thread_id)?,
            user: id("user_id", bundle.user_id)?,
            kind,
            parent: match kind {
                ChatKind::Thread => stated.unwrap_or(ChatKind::Group),
                ChatKind::Direct | ChatKind::Group => kind,
            },
        })
    }

    /// What becomes of a message with this identity.
    #[must_use]
    pub fn explain(&self, identity: &Identity) -> Explained<'_> {
        let resolved = self.resolve(identity);
        self.answer(&Address::of(identity), identity.tenant.as_ref(), resolved)
    }

    /// What becomes of a message with this address, whether or not anybody could have written it.
    #[must_use]
    pub fn explain_address(&self, address: &Address, identity: Result<Identity, ExplainError>) -> Explained<'_> {
        let tenant = address.tenant().and_then(|tenant| TenantId::new(tenant).ok());
        let resolved = identity.map_err(|error| error.to_string()).and_then(|identity| self.resolve(&identity));
        self.answer(address, tenant.as_ref(), resolved)
    }

    fn resolve(&self, identity: &Identity) -> Result<Resolved, String> {
        let resolver = if identity.entry.as_str() == API_ENTRY { &self.api_resolver } else { &self.resolver };
        resolver.resolve(identity).map_err(|error| error.to_string())
    }

    fn answer(
        &self,
        address: &Address,
        tenant: Option<&TenantId>,
        resolved: Result<Resolved, String>,
    ) -> Explained<'_> {
        let numbered = |(number, route)| Numbered { number, route };
        let mut matching = self.router.matching_by_number(address).map(numbered);
        let route = matching.next();
        let agent = route.map_or_else(|| self.router.default_of(tenant), |winner| winner.route.agent());
        Explained { resolved, address: address.qualified().to_owned(), agent, route, later: matching.collect() }
    }
}

impl Gateway {
    /// What its messages are explained by.
    #[must_use]
    pub fn ground(&self) -> Ground {
        let live = self.0.live.load();
        let known = |entry: &LiveEntry| Known {
            id: entry.id.clone(),
            channel: entry.channel_type.clone(),
            account: entry.account.clone(),
            tenant: entry.tenant.clone(),
            workspace: entry.workspace.clone(),
        };
        let entries = live.entries.values().map(|entry| known(entry)).collect();
        Ground {
            resolver: live.resolver.clone(),
            api_resolver: live.api_resolver.clone(),
            router: live.router.clone(),
            entries,
        }
    }

    /// Would an ordinary message with this identity be let in now?
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn admission(
        &self,
        identity: &Identity,
        resolved: Option<&Resolved>,
        mentions_bot: bool,
    ) -> Result<Admission, store::Error> {
        let live = self.0.live.load();
        if identity.entry.as_str() == API_ENTRY {
            // Its key let it in.
            return Ok(Admission::Admitted);
        }
        let entry = live.entries.get(&identity.entry);
        let Some(entry) = entry.filter(|entry| entry.tenant == identity.tenant) else { return Ok(Admission::NoEntry) };
        let policy = entry.policy.load();
        let known = self.known(entry, &policy, identity, resolved.map(|resolved| &resolved.session_key))?;
        let Ok(message_id) = OpaqueId::new("explained") else { return Ok(Admission::NoEntry) };
        let inbound = Inbound {
            identity: identity.clone(),
            user_name: None,
            author: Author::Peer,
            mentions_bot,
            message_id,
            envelope_id: None,
            received_at: Timestamp(0),
            agent: None,
            text: "?".to_owned(),
            attachments: Vec::new(),
            reply_to: ReplyAddress::new(identity.entry.clone(), 0, ""),
        };
        Ok(match identity::admit(&policy, &live.settings.session.owners, &inbound, known) {
            Verdict::Admit => Admission::Admitted,
            Verdict::Ignore(why) => Admission::Ignored(why),
            Verdict::Refuse(why) => Admission::Refused(why),
            Verdict::Pair(_) => Admission::Pairing,
        })
    }

    /// Routes that can never win, by their place in the order, and why.
    #[must_use]
    pub fn idle_routes(&self) -> Vec<(usize, String)> {
        let live = self.0.live.load();
        let number = |path: &str| path.strip_prefix("routing[")?.strip_suffix(']')?.parse().ok();
        let warnings = live.warnings.iter();
        warnings.filter_map(|warning| Some((number(&warning.path)?, warning.message.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of a message with this address under the embedded defaults.
    fn check(address: &str, kind: Option<&str>, expected: Result<&str, &str>) {
        let (settings, address) = (Settings::embedded(), Address::parse(address).unwrap());
        let ground = Ground::of(&settings);
        let identity = ground.identity(ground.bundle(&address, kind.map(str::to_owned))).unwrap();
        assert_eq!(Address::of(&identity).qualified(), address.qualified(), "the same message");
        let key = ground.explain(&identity).resolved.map(|resolved| resolved.session_key.to_string());
        assert_eq!(key.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn the_ids_of_an_address_are_read_by_their_number() {
        check("wa:+15551234567", None, Ok("wa:+15551234567"));
        check("telegram:chat_5839201", None, Ok("telegram:chat_5839201"));
        check("slack:T09ABC123:C04XYZ789:U07DEF456", None, Ok("slack:T09ABC123:C04XYZ789:U07DEF456"));
        check("slack:T09ABC123:C04XYZ789:U07DEF456", Some("group"), Ok("slack:T09ABC123:C04XYZ789"));
        check("slack:T1:C1:t1:U1", None, Ok("slack:T1:C1:thread=t1"));
        check("matrix:!room_abc:server:@user:server", None, Ok("matrix:!room_abc:server:@user:server"));
        check("tenant-42-wa:+1555", None, Ok("tenant-42-wa:+1555"));
        check("webhook:a%3Ab", None, Ok("webhook:a%3Ab"));
        check("webhook:u1", Some("thread"), Err("a thread message needs a thread_id"));
    }

    #[test]
    fn routes_that_would_win_are_named_in_their_order() {
        let routes = ["webhook:b -> b", "webhook:* -> first", "* -> second", "tenant-42-* -> other"];
        let ground = Ground::of(&Settings::embedded()).with_routes(&routes.map(str::to_owned)).unwrap();
        let address = Address::parse("webhook:a").unwrap();
        let explained = ground.explain_address(&address, ground.identity(ground.bundle(&address, None)));
        assert_eq!((explained.agent.as_str(), explained.route.unwrap().number), ("first", 1));
        assert_eq!(explained.later.iter().map(|later| later.number).collect::<Vec<_>>(), [2]);
        let none = Ground::of(&Settings::embedded());
        let explained = none.explain_address(&address, none.identity(none.bundle(&address, None)));
        assert_eq!((explained.agent.as_str(), explained.route.is_none()), ("default", true));
        assert!(none.with_routes(&["x".to_owned()]).is_err());
    }
}
