//! How the gateway is.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::Gateway;
use super::backup::BackupStatus;
use super::live::{Live, LiveEntry};
use super::reach::HttpsStatus;
use crate::account::Who;
use crate::clock::Timestamp;
use crate::first_boot::{self, Note};
use crate::id::{API_ENTRY, ChannelType, OpaqueId, SessionKey, TenantId};
use crate::mdns::State as LocalName;
use crate::store::{self, Counts};

/// How long an answer of the store's writer counts: whoever asks `/readyz` without end must not fill its queue.
const PROBE_KEPT: Duration = Duration::from_secs(1);

/// Everything that `gateway status` shows.
#[derive(Debug, Clone)]
pub struct Status {
    /// Port.
    pub port: Option<u16>,
    /// `address:port`.
    pub address: String,
    /// The addresses and ports of the sockets that the system handed over.
    pub adopted: Vec<String>,
    /// What it is called in the local network.
    pub local: LocalName,
    /// The same address over TLS.
    pub https: HttpsStatus,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// The configuration file; `None`: the embedded defaults.
    pub config: Option<String>,
    /// Why only status and reload work.
    pub safe_mode: Option<String>,
    /// It is being tried on a copy of what is stored, and takes no messages until it is kept.
    pub on_copy: bool,
    /// Conversations and what waits.
    pub counts: Counts,
    /// Messages that belong to no conversation.
    pub n_unresolved: u64,
    /// Turns that run or rest.
    pub n_lanes: usize,
    /// Path of the store.
    pub store: String,
    /// Its size in bytes.
    pub store_bytes: u64,
    /// Backups.
    pub backup: BackupStatus,
    /// Channel entries.
    pub channels: Vec<ChannelStatus>,
    /// What the operator should know although nothing is wrong.
    pub notes: Vec<String>,
    /// What keeps messages from being answered.
    pub errors: Vec<String>,
    /// What the operator should do something about.
    pub warnings: Vec<String>,
}

/// How a channel entry is.
#[derive(Debug, Clone)]
pub struct ChannelStatus {
    /// Entry id.
    pub id: String,
    /// Type.
    pub channel: String,
    /// Whose.
    pub tenant: Option<String>,
    /// Where vendors or visitors reach it.
    pub path: String,
    /// When a message last came in.
    pub last_in: Option<Timestamp>,
    /// When a reply last went through.
    pub last_out: Option<Timestamp>,
    /// Messages that the policy kept out since the start.
    pub n_refused: u64,
    /// Messages over the limit since the start.
    pub n_limited: u64,
    /// Strangers who wait for approval.
    pub n_pending: usize,
    /// Messages of strangers who came when too many waited, since the start.
    pub n_turned_away: u64,
    /// Does it take and send nothing for now?
    pub is_paused: bool,
    /// What is wrong.
    pub problem: Option<String>,
}

impl Gateway {
    /// How the gateway is.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn status(&self) -> Result<Status, store::Error> {
        let live = self.0.live.load();
        // Why it is not is the reason for safe mode.
        let is_usable = self.0.store.why_unusable().is_none();
        let counts = if is_usable { self.0.store.counts()? } else { Counts::default() };
        let address = self.address();
        let (now, channels) = (self.now(), self.channels(&Who::console())?);
        let mut warnings: Vec<String> = live.warnings.iter().map(ToString::to_string).collect();
        let safe_mode = live.safe_mode.clone().filter(|_| !self.0.on_copy);
        warnings.extend(self.0.on_copy.then(|| super::ON_COPY.to_owned()));
        let mut errors: Vec<String> = safe_mode.iter().map(|error| format!("safe mode: {error}")).collect();
        if counts.parked > 0 {
            warnings.push(format!(
                "{} set aside; see which and why with `frontdesk deliveries list`",
                counted(counts.parked, "message or reply", "messages and replies")
            ));
        }
        for channel in &channels {
            warnings.extend(channel.problem.iter().map(|problem| format!("channel {}: {problem}", channel.id)));
            if channel.n_pending > 0 {
                let waits = counted(channel.n_pending as u64, "stranger waits", "strangers wait");
                warnings.push(format!("channel {}: {waits} for approval: see `pairing list`", channel.id));
            }
        }
        let n_unresolved = if is_usable { self.0.store.n_unresolved()? } else { 0 };
        if n_unresolved > 0 {
            warnings.push(format!(
                "{} to no conversation: see `sessions unresolved`",
                counted(n_unresolved, "message belongs", "messages belong")
            ));
        }
        if is_usable && self.0.store.must_rewrite()? {
            warnings.push(
                "erased words are out of reach, but still in the store's file; if this stays, make room for a copy of \
                 it; it is tried again at the next erasure and at every start"
                    .to_owned(),
            );
        }
        let latest_seen = if is_usable { self.0.store.latest_seen()? } else { None };
        warnings.extend(self.clock_behind(latest_seen));
        warnings.extend(self.alert_trouble());
        let trouble = self.0.store_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let trouble = trouble.map(|trouble| {
            format!("the store takes nothing: {trouble}; make room on the disk, or see that it can be written")
        });
        errors.extend(self.disk_trouble().or(trouble));
        let trouble = self.0.revision_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        warnings
            .extend(trouble.map(|trouble| format!("the configuration in use was not kept as a revision: {trouble}")));
        for entry in self.0.outbox.entries() {
            if entry.as_str() != API_ENTRY && !live.entries.contains_key(&entry) {
                warnings.push(format!("replies wait for the channel entry {entry}, which is not configured; add it again, or they are set aside after a day"));
            }
        }
        warnings.extend(self.shared_mains(&live)?);
        if let Some(why) = self.0.accounts.why_shut() {
            warnings.push(why);
        } else if !self.0.accounts.is_claimed() && self.reachable().is_some() {
            warnings.push(
                "nobody has claimed this box, and it can be reached over the network; open its admin page and enter the \
                 claim code, which `frontdesk gateway run` prints and claim.code in the home holds"
                    .to_owned(),
            );
        }
        let (local, https) = (self.local_name(), self.https_status());
        let not_certified = https.acme.as_ref().and_then(|acme| acme.problem.clone());
        warnings.extend([self.0.tls.problem(), local.problem.clone(), not_certified].into_iter().flatten());
        let told = self.0.variables.get(first_boot::DIRECTORY).map(|directory| Note::read(directory.as_ref()));
        let told = told.unwrap_or_default().problems.into_iter();
        warnings.extend(told.map(|problem| format!("frontdesk.toml is not used: {problem}")));
        let backup = self.backup_status();
        warnings.extend(backup.warnings(now));
        Ok(Status {
            port: address.map(|address| address.port()),
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            adopted: self.adopted().iter().map(ToString::to_string).collect(),
            local,
            https,
            uptime_ms: self.now().since_ms(self.0.started_at),
            config: live.file.as_ref().map(|file| file.display().to_string()),
            safe_mode,
            on_copy: self.0.on_copy,
            counts,
            n_unresolved,
            n_lanes: self.0.lanes.len(),
            store: self.0.store_file.display().to_string(),
            store_bytes: std::fs::metadata(&self.0.store_file).map_or(0, |file| file.len()),
            backup,
            channels,
            notes: live.notes().into_iter().chain(self.old_keys_note()).collect(),
            errors,
            warnings,
        })
    }

    /// How the channel entries are that `who` reaches.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn channels(&self, who: &Who) -> Result<Vec<ChannelStatus>, store::Error> {
        let (live, now) = (self.0.live.load(), self.now());
        let reached = live.entries.values().filter(|entry| who.reaches(entry.tenant.as_ref()));
        reached.map(|entry| Ok(channel(entry, self.kept(entry).pending(entry.stamp, now)?.len()))).collect()
    }

    /// Can a message be taken and answered? Asks the store's writer and not only its tables: a store that can be
    /// read may still take nothing. Anybody may hear the reason, so it repeats nothing of the configuration.
    pub(super) async fn readiness(&self, probe: &Probe) -> Result<(), &'static str> {
        if self.0.stop.is_cancelled() {
            return Err("stopping");
        }
        // What is tried is ready when it could take messages.
        if self.0.live.load().safe_mode.is_some() && !self.0.on_copy {
            return Err("safe mode: see `gateway status`");
        }
        if self.disk_trouble().is_some() {
            return Err("the disk is full or cannot be written: see `gateway status`");
        }
        if self.0.socket.get().is_none() {
            return Err("starting");
        }
        let store = self.0.store.clone();
        let write = || async move {
            let written = store.prune_marks(Timestamp(0), None).await;
            written.inspect_err(|error| tracing::warn!(%error, "the store takes nothing")).is_ok()
        };
        if probe.ask(write).await { Ok(()) } else { Err("the store takes nothing: see the log") }
    }

    /// Why nothing new is taken, if it is for the disk.
    fn disk_trouble(&self) -> Option<String> {
        self.0.store.room().ok()?.trouble()
    }

    /// Under `main` all direct messages of a tenant's workspace are one conversation: fine for one person, a leak for two.
    fn shared_mains(&self, live: &Live) -> Result<Vec<String>, store::Error> {
        let owners: BTreeSet<_> = live.entries.values().map(|entry| (&entry.tenant, &entry.workspace)).collect();
        let mut warnings = Vec::new();
        for (tenant, workspace) in owners {
            let Some(key) = live.resolver.main_key(tenant.as_ref(), workspace.as_ref()) else { continue };
            warnings.extend(self.shared_main(live, tenant.as_ref(), &key)?);
        }
        Ok(warnings)
    }

    /// What is wrong with this one, if several people share it.
    pub(super) fn shared_main(
        &self,
        live: &Live,
        tenant: Option<&TenantId>,
        key: &SessionKey,
    ) -> Result<Option<String>, store::Error> {
        let owners = &live.settings.session.owners;
        let peers = self.0.store.tenant(tenant).peers_of(key, 100)?;
        // All ids on the owners' list are taken for one person.
        let is_owner = |(channel, user): &&(ChannelType, OpaqueId)| owners.contains(&format!("{channel}:{user}"));
        let n_owners = peers.iter().filter(is_owner).count();
        let n_people = peers.len() - n_owners + n_owners.min(1);
        Ok((n_people > 1).then(|| {
            format!(
                "{n_people} peers share the conversation {key}, and the agent tells each what the others said; \
                 set session.dm_scope = \"per-channel-peer\""
            )
        }))
    }
}

/// The last answer of something that is asked at most once in [`PROBE_KEPT`], and once at a time.
#[derive(Default)]
pub(super) struct Probe(Mutex<Option<(Instant, Shared<BoxFuture<'static, bool>>)>>);

impl Probe {
    async fn ask<F>(&self, ask: impl FnOnce() -> F) -> bool
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let answer = {
            let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match &*last {
                // Shared, so that one who goes away before the answer does not cause another question.
                Some((asked, answer)) if answer.peek().is_none() || asked.elapsed() < PROBE_KEPT => answer.clone(),
                _ => {
                    let answer = ask().boxed().shared();
                    *last = Some((Instant::now(), answer.clone()));
                    answer
                }
            }
        };
        answer.await
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}

fn channel(entry: &LiveEntry, n_pending: usize) -> ChannelStatus {
    let door = if entry.descriptor().has_page { "chat" } else { "hooks" };
    ChannelStatus {
        id: entry.id.to_string(),
        channel: entry.channel_type.to_string(),
        tenant: entry.tenant.as_ref().map(ToString::to_string),
        path: format!("/{door}/{}", entry.id),
        last_in: entry.health.last_in(),
        last_out: entry.health.last_out(),
        n_refused: entry.health.n_refused(),
        n_limited: entry.health.n_limited(),
        n_pending,
        n_turned_away: entry.health.n_turned_away(),
        is_paused: entry.is_paused,
        problem: entry.health.problem(),
    }
}

fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn however_many_ask_the_store_is_asked_once_a_second() {
        let (probe, n_asked) = (Probe::default(), Arc::new(AtomicU32::new(0)));
        let slow = || {
            let n_asked = n_asked.clone();
            async move {
                n_asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PROBE_KEPT * 2).await;
                true
            }
        };
        assert!(tokio::time::timeout(PROBE_KEPT / 2, probe.ask(slow)).await.is_err());
        tokio::time::advance(PROBE_KEPT).await;
        assert_eq!(tokio::join!(probe.ask(slow), probe.ask(slow)), (true, true));
        assert_eq!(n_asked.load(Ordering::Relaxed), 1, "whoever comes meanwhile waits for the same answer");
        let refused = || async { false };
        assert!(!probe.ask(refused).await);
        assert!(!probe.ask(slow).await, "the answer is fresh");
        tokio::time::advance(PROBE_KEPT).await;
        assert!(probe.ask(slow).await);
    }
}
