//! How the gateway is.

use std::collections::BTreeSet;

use super::Gateway;
use crate::clock::Timestamp;
use crate::id::{API_ENTRY, ChannelType, OpaqueId};
use crate::session::DmScope;
use crate::store::{self, Counts};

/// Everything that `gateway status` shows.
#[derive(Debug, Clone)]
pub struct Status {
    /// Port.
    pub port: Option<u16>,
    /// `address:port`.
    pub address: String,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// The configuration file; `None`: the embedded defaults.
    pub config: Option<String>,
    /// Why only status and reload work.
    pub safe_mode: Option<String>,
    /// Conversations and what waits.
    pub counts: Counts,
    /// Turns that run or rest.
    pub n_lanes: usize,
    /// Path of the store.
    pub store: String,
    /// Its size in bytes.
    pub store_bytes: u64,
    /// Channel entries.
    pub channels: Vec<ChannelStatus>,
    /// What the operator should know although nothing is wrong.
    pub notes: Vec<String>,
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
        let counts = self.0.store.counts()?;
        let address = self.address();
        let channels: Vec<ChannelStatus> = live.entries.values().map(|entry| channel(entry)).collect();
        let mut warnings: Vec<String> = live.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(live.safe_mode.iter().map(|error| format!("safe mode: {error}")));
        if counts.parked > 0 {
            warnings.push(format!(
                "{} set aside: see `sessions show KEY`",
                counted(counts.parked, "message or reply", "messages and replies")
            ));
        }
        for channel in &channels {
            warnings.extend(channel.problem.iter().map(|problem| format!("channel {}: {problem}", channel.id)));
        }
        let trouble = self.0.store_trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        warnings.extend(trouble.map(|trouble| {
            format!("the store takes nothing: {trouble}; make room on the disk, or see that it can be written")
        }));
        for entry in self.0.outbox.entries() {
            if entry.as_str() != API_ENTRY && !live.entries.contains_key(&entry) {
                warnings.push(format!("replies wait for the channel entry {entry}, which is not configured; add it again, or they are set aside after a day"));
            }
        }
        warnings.extend(self.shared_main(&live)?);
        Ok(Status {
            port: address.map(|address| address.port()),
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            uptime_ms: self.now().since_ms(self.0.started_at),
            config: live.file.as_ref().map(|file| file.display().to_string()),
            safe_mode: live.safe_mode.clone(),
            counts,
            n_lanes: self.0.lanes.len(),
            store: self.0.store_file.display().to_string(),
            store_bytes: std::fs::metadata(&self.0.store_file).map_or(0, |file| file.len()),
            channels,
            notes: live.notes(),
            warnings,
        })
    }

    /// Can a message be taken and answered? Asks the store's writer and not only its tables: a store that can be
    /// read may still take nothing.
    pub(super) async fn readiness(&self) -> Result<(), String> {
        if self.0.stop.is_cancelled() {
            return Err("the gateway is stopping".to_owned());
        }
        if let Some(error) = &self.0.live.load().safe_mode {
            return Err(format!("safe mode: {error}"));
        }
        let written = self.0.store.prune_marks(Timestamp(0)).await;
        written.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Under `main` all direct messages of a tenant are one conversation: fine for one person, a leak for two.
    pub(super) fn shared_main(&self, live: &super::live::Live) -> Result<Vec<String>, store::Error> {
        if live.settings.session.dm_scope != DmScope::Main {
            return Ok(Vec::new());
        }
        let owners = &live.settings.session.owners;
        let mut warnings = Vec::new();
        let tenants: BTreeSet<_> = live.entries.values().map(|entry| entry.tenant.clone()).collect();
        for tenant in tenants {
            let Some(key) = live.resolver.main_key(tenant.as_ref()) else { continue };
            let peers = self.0.store.tenant(tenant.as_ref()).peers_of(&key, 100)?;
            // All ids on the owners' list are taken for one person.
            let is_owner = |(channel, user): &&(ChannelType, OpaqueId)| owners.contains(&format!("{channel}:{user}"));
            let n_owners = peers.iter().filter(is_owner).count();
            let n_people = peers.len() - n_owners + n_owners.min(1);
            if n_people > 1 {
                warnings.push(format!(
                    "{n_people} peers share the conversation {key}, and the agent tells each what the others said; \
                     set session.dm_scope = \"per-channel-peer\""
                ));
            }
        }
        Ok(warnings)
    }
}

fn channel(entry: &super::live::LiveEntry) -> ChannelStatus {
    let door = if entry.descriptor().has_page { "chat" } else { "hooks" };
    ChannelStatus {
        id: entry.id.to_string(),
        channel: entry.channel_type.to_string(),
        tenant: entry.tenant.as_ref().map(ToString::to_string),
        path: format!("/{door}/{}", entry.id),
        last_in: entry.health.last_in(),
        last_out: entry.health.last_out(),
        n_refused: entry.health.n_refused(),
        problem: entry.health.problem(),
    }
}

fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
