//! The configuration in use: settings and everything that was opened for them.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use tokio_util::sync::CancellationToken;

use super::rates::Rates;
use super::{Home, Reloaded};
use crate::agent::Agent;
use crate::channel::registry::Setup;
use crate::channel::{Channel, Descriptor};
use crate::clock::Timestamp;
use crate::config::{self, Entry, Loaded, Settings};
use crate::document::{Problem, Secret};
use crate::id::{AgentId, ChannelType, EntryId, OpaqueId, TenantId};
use crate::identity::Policy;
use crate::log;
use crate::route::Router;
use crate::session::Resolver;
use crate::telemetry::Tracer;
use crate::usage::Price;

/// Swapped whole; whoever works keeps the one it began with.
pub(super) struct Live {
    pub(super) settings: Settings,
    pub(super) resolver: Resolver,
    /// Names the conversations of the HTTP API, whatever the operator chose for chats.
    pub(super) api_resolver: Resolver,
    pub(super) router: Router,
    pub(super) agents: BTreeMap<AgentId, Agent>,
    /// What each of them thinks with.
    pub(super) models: BTreeMap<AgentId, Model>,
    pub(super) entries: BTreeMap<EntryId, Arc<LiveEntry>>,
    /// Are they those that the file names, or is it the one of a file that names none?
    pub(super) has_own_channels: bool,
    /// Tells a collector of turns, if somebody wants it.
    pub(super) tracer: Option<Arc<Tracer>>,
    /// What the businesses are called, whole and word by word.
    pub(super) names: Vec<String>,
    pub(super) file: Option<PathBuf>,
    /// What it said.
    pub(super) text: Option<Secret>,
    pub(super) warnings: Vec<Problem>,
    /// Why nothing but status and reload works.
    pub(super) safe_mode: Option<String>,
}

/// What an agent thinks with, for whoever counts.
#[derive(Debug, Clone)]
pub(super) struct Model {
    /// Name of the provider.
    pub(super) provider: Arc<str>,
    pub(super) price: Option<Price>,
}

/// A channel entry in use. Survives a reload that changes no more than its policy.
#[derive(Debug)]
pub(super) struct LiveEntry {
    pub(super) id: EntryId,
    pub(super) channel_type: ChannelType,
    pub(super) account: Option<OpaqueId>,
    pub(super) tenant: Option<TenantId>,
    pub(super) workspace: Option<OpaqueId>,
    /// It takes and sends nothing: what waits for it waits.
    pub(super) is_paused: bool,
    /// When it went on after a pause, in this process. What waited has a day from then.
    pub(super) resumed_at: Option<Timestamp>,
    /// A reload may change it and nothing else.
    pub(super) policy: ArcSwap<Policy>,
    pub(super) channel: Arc<dyn Channel>,
    /// Tells whose entry this is: entries come and go, and their ids are used again.
    pub(super) stamp: u64,
    pub(super) health: Health,
    /// How fast its peers write.
    pub(super) rates: Rates,
    fingerprint: [u8; 32],
    is_started: AtomicBool,
    stop: CancellationToken,
}

/// The same for entries of one type, tenant, workspace and account; different for any others.
fn stamp(entry: &Entry) -> u64 {
    let owner = [
        Some(entry.channel.as_str()),
        entry.tenant.as_ref().map(TenantId::as_str),
        entry.workspace.as_ref().map(OpaqueId::as_str),
        entry.account.as_ref().map(OpaqueId::as_str),
    ];
    let mut context = digest::Context::new(&digest::SHA256);
    for part in owner {
        context.update(&[u8::from(part.is_some())]);
        let part = part.unwrap_or_default().as_bytes();
        context.update(&part.len().to_le_bytes());
        context.update(part);
    }
    context.finish().as_ref().first_chunk().copied().map_or(0, u64::from_le_bytes)
}

fn names(settings: &Settings) -> Vec<String> {
    let entries = settings.channels.iter();
    let of_entries = entries.flat_map(|entry| [entry.settings.title(), entry.tenant.as_ref().map(TenantId::as_str)]);
    let tenants = settings.tenants.iter();
    let of_tenants = tenants.flat_map(|tenant| [Some(tenant.id.as_str()), tenant.name.as_deref()]);
    let names = of_entries.chain(of_tenants).flatten();
    let names: BTreeSet<&str> = names.flat_map(|name| iter::once(name).chain(name.split_whitespace())).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// When messages last went through, and what is wrong.
#[derive(Debug, Default)]
pub(super) struct Health {
    last_in: AtomicU64,
    last_out: AtomicU64,
    n_refused: AtomicU64,
    n_limited: AtomicU64,
    n_turned_away: AtomicU64,
    /// Of the connection to the vendor: only the adapter says it is mended.
    link: Mutex<Option<String>>,
    /// Of messages: the next one that goes through mends it.
    traffic: Mutex<Option<String>>,
}

impl Health {
    /// Of the same entry, opened anew: what went through, without what was wrong.
    fn carried_on(&self) -> Self {
        let same = |n: &AtomicU64| AtomicU64::new(n.load(Ordering::Relaxed));
        Self {
            last_in: same(&self.last_in),
            last_out: same(&self.last_out),
            n_refused: same(&self.n_refused),
            n_limited: same(&self.n_limited),
            n_turned_away: same(&self.n_turned_away),
            ..Self::default()
        }
    }

    pub(super) fn message_in(&self, at: Timestamp) {
        self.last_in.store(at.0, Ordering::Relaxed);
    }

    pub(super) fn message_out(&self, at: Timestamp) {
        self.last_out.store(at.0, Ordering::Relaxed);
        set(&self.traffic, None);
    }

    /// The policy kept a peer out. Strangers do that; nothing is wrong with the channel.
    pub(super) fn message_refused(&self) {
        self.n_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A peer, or its tenant, wrote faster than allowed.
    pub(super) fn message_limited(&self) {
        self.n_limited.fetch_add(1, Ordering::Relaxed);
    }

    /// A stranger came when too many waited for approval.
    pub(super) fn stranger_turned_away(&self) {
        self.n_turned_away.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn n_limited(&self) -> u64 {
        self.n_limited.load(Ordering::Relaxed)
    }

    pub(super) fn n_turned_away(&self) -> u64 {
        self.n_turned_away.load(Ordering::Relaxed)
    }

    pub(super) fn n_refused(&self) -> u64 {
        self.n_refused.load(Ordering::Relaxed)
    }

    pub(super) fn link(&self, problem: Option<String>) {
        set(&self.link, problem);
    }

    pub(super) fn trouble(&self, problem: String) {
        set(&self.traffic, Some(problem));
    }

    pub(super) fn problem(&self) -> Option<String> {
        let get = |slot: &Mutex<Option<String>>| slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        get(&self.link).or_else(|| get(&self.traffic))
    }

    pub(super) fn last_in(&self) -> Option<Timestamp> {
        Some(Timestamp(self.last_in.load(Ordering::Relaxed))).filter(|at| at.0 > 0)
    }

    pub(super) fn last_out(&self) -> Option<Timestamp> {
        Some(Timestamp(self.last_out.load(Ordering::Relaxed))).filter(|at| at.0 > 0)
    }
}

fn set(slot: &Mutex<Option<String>>, problem: Option<String>) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = problem;
}

impl LiveEntry {
    /// `old` is what stood under this id before.
    fn open(entry: Entry, old: Option<&Self>, now: Timestamp, home: &Home, http: &reqwest::Client) -> Self {
        let signing_key = home.key_for(&format!("channel {}", entry.id));
        let stamp = stamp(&entry);
        let old = old.filter(|old| old.stamp == stamp);
        let is_resumed = !entry.is_paused && old.is_some_and(|old| old.is_paused);
        let channel = entry.settings.open(Setup { entry: entry.id.clone(), signing_key, http: http.clone() });
        Self {
            id: entry.id,
            channel_type: entry.channel,
            account: entry.account,
            tenant: entry.tenant,
            workspace: entry.workspace,
            is_paused: entry.is_paused,
            resumed_at: if is_resumed { Some(now) } else { old.and_then(|old| old.resumed_at) },
            policy: ArcSwap::from_pointee(entry.policy),
            channel,
            stamp,
            health: old.map(|old| old.health.carried_on()).unwrap_or_default(),
            rates: Rates::default(),
            fingerprint: entry.fingerprint,
            is_started: AtomicBool::new(false),
            stop: CancellationToken::new(),
        }
    }

    /// A token to stop it with, the first time. A paused one has no connection to keep; a page of ours is there, and says
    /// that nothing is taken.
    pub(super) fn start_once(&self) -> Option<CancellationToken> {
        let is_off = self.is_paused && !self.descriptor().has_page;
        (!is_off && !self.is_started.swap(true, Ordering::SeqCst)).then(|| self.stop.clone())
    }

    pub(super) fn descriptor(&self) -> &'static Descriptor {
        self.channel.descriptor()
    }
}

impl Live {
    /// Opens what the settings name. Entries that `old` has with the same settings are taken over, and get their policies.
    pub(super) fn new(loaded: Loaded, old: Option<&Self>, now: Timestamp, home: &Home, http: &reqwest::Client) -> Self {
        let Loaded { mut settings, file, warnings, text, secrets, .. } = loaded;
        // Before anything can go wrong with one of them.
        log::hide(&secrets);
        let (resolver, names) = (settings.resolver(), names(&settings));
        let has_own_channels = !settings.channels.iter().any(Entry::is_embedded);
        let entries = std::mem::take(&mut settings.channels).into_iter().map(|entry| {
            let before = old.and_then(|old| old.entries.get(&entry.id));
            let kept = before.filter(|old| old.fingerprint == entry.fingerprint && old.channel_type == entry.channel);
            let live = match kept {
                Some(kept) => {
                    kept.policy.store(Arc::new(entry.policy));
                    kept.clone()
                }
                None => Arc::new(LiveEntry::open(entry, before.map(|entry| &**entry), now, home, http)),
            };
            (live.id.clone(), live)
        });
        let entries = entries.collect();
        // Kept over a reload that leaves it as it is: spans wait in it.
        let tracer = match old {
            Some(old) if old.settings.telemetry == settings.telemetry => old.tracer.clone(),
            _ => settings.telemetry.as_ref().and_then(|config| Tracer::open(config, http)).map(Arc::new),
        };
        Self {
            tracer,
            resolver,
            entries,
            has_own_channels,
            names,
            file,
            text,
            warnings,
            ..Self::without_entries(settings, http)
        }
    }

    /// A gateway that only says what is wrong with its configuration.
    pub(super) fn safe_mode(error: String, salvaged: config::Salvaged, http: &reqwest::Client) -> Self {
        let mut settings = Settings::embedded();
        settings.channels.clear();
        settings.gateway = salvaged.gateway;
        settings.alerts = salvaged.alerts;
        settings.business = salvaged.business;
        Self { safe_mode: Some(error), file: salvaged.file, ..Self::without_entries(settings, http) }
    }

    fn without_entries(settings: Settings, http: &reqwest::Client) -> Self {
        let providers: Vec<_> = settings.providers.iter().map(|p| (p.name.clone(), p.open(http.clone()))).collect();
        let agents = settings.agents.iter().filter_map(|agent| {
            let named = |name: &String| providers.iter().find(|(provider, _)| provider == name);
            let (_, provider) = agent.provider.as_ref().map_or(providers.first(), named)?;
            let (name, tools) = (agent.name.clone(), agent.tools.clone());
            let agent = Agent { name, soul: agent.instructions().into(), tools, provider: provider.clone() };
            Some((agent.name.clone(), agent))
        });
        let agents = agents.collect();
        let models = settings.agents.iter().filter_map(|agent| {
            let named = |name: &String| settings.providers.iter().find(|provider| provider.name == *name);
            let provider = agent.provider.as_ref().map_or(settings.providers.first(), named)?;
            Some((agent.name.clone(), Model { provider: (*provider.name).into(), price: provider.price }))
        });
        let models = models.collect();
        Self {
            resolver: settings.resolver(),
            api_resolver: Resolver::new(&crate::session::Config::embedded()),
            router: settings.router(),
            agents,
            models,
            entries: BTreeMap::new(),
            has_own_channels: true,
            tracer: None,
            names: Vec::new(),
            file: None,
            text: None,
            warnings: Vec::new(),
            safe_mode: None,
            settings,
        }
    }

    /// The agent, told of the business that it works for in this tenant.
    pub(super) fn informed(&self, agent: &Agent, tenant: Option<&TenantId>, now: Timestamp) -> Agent {
        let mut agent = agent.clone();
        if let Some(business) = self.settings.business(tenant) {
            agent.soul = format!("{}\n\n{}", agent.soul.trim_end(), business.facts(now)).into();
        }
        agent
    }

    /// Which entries come, go and stay.
    pub(super) fn compare(&self, old: &Self) -> Reloaded {
        let is_kept = |entry: &Arc<LiveEntry>| self.has_same(entry);
        let names = |entries: Vec<&Arc<LiveEntry>>| entries.into_iter().map(|entry| entry.id.to_string()).collect();
        Reloaded {
            file: self.file.clone(),
            started: names(self.entries.values().filter(|entry| !old.has_same(entry) && !entry.is_paused).collect()),
            stopped: names(old.entries.values().filter(|entry| !is_kept(entry) && !entry.is_paused).collect()),
            kept: names(old.entries.values().filter(|entry| is_kept(entry)).collect()),
            warnings: self.warnings.clone(),
            rekeyed: None,
        }
    }

    fn has_same(&self, entry: &Arc<LiveEntry>) -> bool {
        self.entries.get(&entry.id).is_some_and(|own| Arc::ptr_eq(own, entry))
    }

    /// Ends the connections of entries that `new` did not take over.
    pub(super) fn stop_all_but(&self, new: &Self) {
        self.entries.values().filter(|entry| !new.has_same(entry)).for_each(|entry| entry.stop.cancel());
    }

    /// Ends all connections.
    pub(super) fn stop_all(&self) {
        self.entries.values().for_each(|entry| entry.stop.cancel());
    }

    /// Paths of the pages that entries serve.
    pub(super) fn chat_pages(&self) -> Vec<String> {
        let pages = self.entries.values().filter(|entry| entry.descriptor().has_page);
        pages.map(|entry| format!("/chat/{}", entry.id)).collect()
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.settings.notes.clone()
    }
}
