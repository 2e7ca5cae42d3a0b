//! What the admin API answers: shapes that several operations share. Times are RFC 3339 in UTC.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::backup::Schedule;
use crate::clock::Timestamp;
use crate::doctor::Finding;
use crate::document::{self, Severity};
use crate::gateway::{self, BackupKey, BackupStatus, Becomes, ChannelStatus, HttpsStatus};
use crate::id::{OpaqueId, TenantId};
use crate::store::{self, ArchivedRow, ParkedItem, SessionRow, Speaker};
use crate::tls::Certificate;

/// How the gateway is. Whoever is bound to a tenant sees that tenant's share; what belongs to the gateway is null.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    /// Of this program.
    pub(crate) version: &'static str,
    pub(crate) port: Option<u16>,
    /// `address:port`.
    pub(crate) address: Option<String>,
    /// The same of sockets that the system opened and handed over.
    pub(crate) adopted: Option<Vec<String>>,
    /// What it is called in the local network, as in `frontdesk.local`; null while nothing is announced.
    pub(crate) local_name: Option<String>,
    /// The same port over TLS, with the certificate that the box made for itself; null if it could make none.
    pub(crate) https: Option<Https>,
    /// Milliseconds since it started.
    pub(crate) uptime_ms: Option<u64>,
    /// The configuration file; null also without one.
    pub(crate) config: Option<String>,
    /// Why only status and reload work, if so.
    pub(crate) safe_mode: Option<String>,
    /// This version is being tried on a copy of what is stored, and takes no messages until it is kept.
    pub(crate) on_copy: bool,
    pub(crate) sessions: SessionCounts,
    pub(crate) queue: Queue,
    pub(crate) store: Option<StoreFile>,
    pub(crate) backup: Option<Backup>,
    /// Which version runs and what the updater does, in one sentence; null: there is no updater.
    pub(crate) updates: Option<String>,
    pub(crate) channels: Vec<Channel>,
    /// What the operator should know although nothing is wrong.
    pub(crate) notes: Vec<String>,
    /// What the operator should do something about, worst first.
    pub(crate) warnings: Vec<String>,
}

/// The certificate that the box made for itself. Nobody else vouches for it: browsers warn, and whoever compares the
/// fingerprint that they show knows that it is this box.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Https {
    /// SHA-256 of the certificate: 32 bytes in upper case, with colons.
    pub(crate) fingerprint: String,
    /// Host names and addresses that it is for.
    pub(crate) names: Vec<String>,
    /// It is renewed some weeks before.
    pub(crate) ends: String,
    /// That of a certificate authority, which browsers trust; null if none is asked for.
    pub(crate) acme: Option<Acme>,
}

/// The certificate for the domains of the box.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Acme {
    pub(crate) domains: Vec<String>,
    /// Of the one that is shown; null while there is none. It is renewed when two thirds of its life are over.
    pub(crate) ends: Option<String>,
    /// Why the last try came to nothing, and what to do.
    pub(crate) problem: Option<String>,
}

/// How many conversations there are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionCounts {
    pub(crate) active: u64,
    /// Of these, in people's hands: the worker does not answer.
    pub(crate) taken: u64,
    pub(crate) archived: u64,
}

/// What waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queue {
    /// Messages that wait for a turn.
    pub(crate) waiting: u64,
    /// Messages that wait for the people who have taken their conversations.
    pub(crate) for_people: u64,
    /// Turns that run or rest.
    pub(crate) turns: Option<u64>,
    /// Replies that are not yet delivered.
    pub(crate) undelivered: u64,
    /// Messages and replies that were set aside.
    pub(crate) parked: u64,
    /// Messages that belong to no conversation.
    pub(crate) unresolved: u64,
}

/// Where everything is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoreFile {
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

/// How a channel entry is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Channel {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) channel: String,
    pub(crate) tenant: Option<String>,
    /// Where vendors or visitors reach it.
    pub(crate) path: String,
    /// When a message last came in.
    pub(crate) last_in: Option<String>,
    #[serde(skip)]
    pub(crate) last_in_at: Option<Timestamp>,
    /// When a reply last went through.
    pub(crate) last_out: Option<String>,
    /// Messages that the policy kept out since the start.
    pub(crate) refused: u64,
    /// Messages over the limit since the start.
    pub(crate) limited: u64,
    pub(crate) pairing: PairingCounts,
    /// Does it take and send nothing for now?
    pub(crate) paused: bool,
    /// What is wrong.
    pub(crate) problem: Option<String>,
}

/// Strangers on a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PairingCounts {
    /// Those who wait for approval.
    pub(crate) pending: u64,
    /// Messages of those who came when too many waited, since the start.
    pub(crate) turned_away: u64,
}

/// How backups go.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Backup {
    pub(crate) scheduled: bool,
    pub(crate) every_hours: Option<u64>,
    /// Time of day, `HH:MM`, at which one is made.
    pub(crate) at: Option<String>,
    /// That this time is of.
    pub(crate) time_zone: Option<String>,
    /// Where the configuration puts them.
    pub(crate) to: Option<String>,
    /// Is one being made?
    pub(crate) running: bool,
    /// When the next one is due.
    pub(crate) next: Option<String>,
    /// Of the one that is being made: rows that were looked at.
    pub(crate) rows: Option<u64>,
    /// Of the same: bytes that were written.
    pub(crate) bytes: Option<u64>,
    /// Is one being read to the end?
    pub(crate) checking: bool,
    /// `none`, `passphrase` or `recipients`: what they are sealed with.
    pub(crate) sealed_with: &'static str,
    /// When somebody last typed the passphrase; null: perhaps nobody but this box knows it.
    pub(crate) passphrase_known: Option<String>,
    /// The last good one.
    pub(crate) last: Option<LastBackup>,
    /// The last one that was not made, if none was made since.
    pub(crate) failed: Option<FailedBackup>,
}

/// A backup that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastBackup {
    pub(crate) at: String,
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// Rows of the store.
    pub(crate) rows: u64,
    /// Does it need the full one before it?
    pub(crate) incremental: bool,
}

/// A backup that was not made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailedBackup {
    pub(crate) at: String,
    pub(crate) reason: String,
}

impl Status {
    /// All of it.
    pub(crate) fn whole(status: &gateway::Status, updates: Option<String>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            port: status.port,
            address: Some(status.address.clone()),
            adopted: Some(status.adopted.clone()),
            local_name: status.local.name.clone(),
            https: Https::of(&status.https),
            uptime_ms: Some(status.uptime_ms),
            config: status.config.clone(),
            safe_mode: status.safe_mode.clone(),
            on_copy: status.on_copy,
            sessions: SessionCounts::of(&status.counts),
            queue: Queue { turns: Some(count(status.n_lanes)), ..Queue::of(&status.counts, status.n_unresolved) },
            store: Some(StoreFile { path: status.store.clone(), bytes: status.store_bytes }),
            backup: Some(Backup::of(&status.backup)),
            updates,
            channels: status.channels.iter().map(Channel::of).collect(),
            notes: status.notes.clone(),
            warnings: status.errors.iter().chain(&status.warnings).cloned().collect(),
        }
    }

    /// A tenant's.
    pub(crate) fn share(counts: &store::Counts, n_unresolved: u64, channels: &[ChannelStatus]) -> Self {
        let warning = |channel: &ChannelStatus| {
            channel.problem.as_ref().map(|problem| format!("channel {}: {problem}", channel.id))
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            port: None,
            address: None,
            adopted: None,
            local_name: None,
            https: None,
            uptime_ms: None,
            config: None,
            safe_mode: None,
            on_copy: false,
            sessions: SessionCounts::of(counts),
            queue: Queue::of(counts, n_unresolved),
            store: None,
            backup: None,
            updates: None,
            channels: channels.iter().map(Channel::of).collect(),
            notes: Vec::new(),
            warnings: channels.iter().filter_map(warning).collect(),
        }
    }
}

impl Https {
    fn of(status: &HttpsStatus) -> Option<Self> {
        let Certificate { fingerprint, names, ends, .. } = status.certificate.as_ref()?;
        let acme = status.acme.as_ref().map(|acme| Acme {
            domains: acme.domains.clone(),
            ends: acme.certificate.as_ref().map(|certificate| certificate.ends.to_string()),
            problem: acme.problem.clone(),
        });
        Some(Self { fingerprint: fingerprint.clone(), names: names.to_vec(), ends: ends.to_string(), acme })
    }
}

impl SessionCounts {
    fn of(counts: &store::Counts) -> Self {
        Self { active: counts.sessions, taken: counts.taken, archived: counts.archived }
    }
}

impl Queue {
    fn of(counts: &store::Counts, n_unresolved: u64) -> Self {
        let store::Counts { waiting, for_people, undelivered, parked, .. } = *counts;
        let waiting = waiting.saturating_sub(for_people);
        Self { waiting, for_people, turns: None, undelivered, parked, unresolved: n_unresolved }
    }
}

impl Channel {
    pub(super) fn of(channel: &ChannelStatus) -> Self {
        Self {
            id: channel.id.clone(),
            channel: channel.channel.clone(),
            tenant: channel.tenant.clone(),
            path: channel.path.clone(),
            last_in: channel.last_in.map(time),
            last_in_at: channel.last_in,
            last_out: channel.last_out.map(time),
            refused: channel.n_refused,
            limited: channel.n_limited,
            pairing: PairingCounts { pending: count(channel.n_pending), turned_away: channel.n_turned_away },
            paused: channel.is_paused,
            problem: channel.problem.clone(),
        }
    }
}

impl Backup {
    pub(crate) fn of(status: &BackupStatus) -> Self {
        let (every_hours, at) = match status.schedule {
            None => (None, None),
            Some(Schedule::EveryHours(hours)) => (Some(hours), None),
            Some(Schedule::DailyAt(time)) => (None, Some(time.strftime("%H:%M").to_string())),
        };
        Self {
            scheduled: status.schedule.is_some(),
            every_hours,
            at,
            time_zone: status.time_zone.clone(),
            to: status.to.clone(),
            running: status.is_running,
            rows: status.progress.map(|(rows, _)| rows),
            bytes: status.progress.map(|(_, bytes)| bytes),
            checking: status.is_checking,
            sealed_with: match status.key {
                BackupKey::None => "none",
                BackupKey::Passphrase { .. } => "passphrase",
                BackupKey::Recipients => "recipients",
            },
            passphrase_known: match status.key {
                BackupKey::Passphrase { proven_at } => proven_at.map(time),
                BackupKey::None | BackupKey::Recipients => None,
            },
            next: status.due.map(|due| time(due.at)),
            last: status.last.as_ref().map(|last| LastBackup {
                at: time(Timestamp(last.at_ms)),
                name: last.name.clone(),
                bytes: last.n_bytes,
                rows: last.n_rows,
                incremental: last.is_incremental,
            }),
            failed: status
                .failed
                .as_ref()
                .map(|failed| FailedBackup { at: time(Timestamp(failed.at_ms)), reason: failed.reason.clone() }),
        }
    }
}

/// What is wrong, worst first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Findings {
    /// Does a gateway run?
    pub(crate) running: bool,
    pub(crate) findings: Vec<OneFinding>,
}

/// Something that is wrong, or could be better.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneFinding {
    /// `error`, `warning` or `hint`.
    pub(crate) severity: &'static str,
    /// What it is called.
    pub(crate) id: &'static str,
    pub(crate) what: String,
    /// What to do.
    pub(crate) fix: String,
}

impl Findings {
    pub(crate) fn of(findings: &[Finding], is_running: bool) -> Self {
        let one = |finding: &Finding| OneFinding {
            severity: finding.severity.as_str(),
            id: finding.id,
            what: finding.what.clone(),
            fix: finding.fix.clone(),
        };
        Self { running: is_running, findings: findings.iter().map(one).collect() }
    }
}

/// [`Findings`], where no gateway runs.
pub(crate) fn findings(findings: &[Finding], is_running: bool) -> Value {
    serde_json::json!(Findings::of(findings, is_running))
}

/// Something about a configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `error` or `warning`.
    pub(crate) severity: &'static str,
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// From 1.
    pub(crate) column: usize,
    /// Of the key, as in `gateway.port`; empty for the whole file.
    pub(crate) path: String,
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: Option<String>,
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Row {
    /// Session key.
    pub(crate) key: String,
    /// Null: the owner's own.
    pub(crate) tenant: Option<String>,
    /// The agent that answered last.
    pub(crate) agent: Option<String>,
    /// Type of the channel.
    pub(crate) channel: String,
    /// Id of the channel entry.
    pub(crate) entry: String,
    /// `direct`, `group` or `thread`.
    pub(crate) kind: &'static str,
    pub(crate) server_id: Option<String>,
    pub(crate) channel_id: Option<String>,
    pub(crate) thread_id: Option<String>,
    pub(crate) user_id: Option<String>,
    /// Who it is with, as people would call them.
    pub(crate) peer: Option<String>,
    /// Which one under the key.
    pub(crate) episode: u64,
    pub(crate) messages: u64,
    pub(crate) created: String,
    pub(crate) last_active: String,
    /// When it was archived; null: it lives.
    pub(crate) archived: Option<String>,
}

impl Row {
    pub(crate) fn of(row: &SessionRow) -> Self {
        Self {
            key: row.key.to_string(),
            tenant: row.tenant.as_ref().map(ToString::to_string),
            agent: row.agent.as_ref().map(ToString::to_string),
            channel: row.channel.to_string(),
            entry: row.entry.to_string(),
            kind: row.kind.as_str(),
            server_id: text(row.server.as_ref()),
            channel_id: text(row.room.as_ref()),
            thread_id: text(row.thread.as_ref()),
            user_id: text(row.user.as_ref()),
            peer: row.user_name.clone().or_else(|| text(row.user.as_ref())),
            episode: row.episode,
            messages: row.n_messages,
            created: time(row.created_at),
            last_active: time(row.last_active_at),
            archived: None,
        }
    }

    pub(crate) fn archived(row: &ArchivedRow) -> Self {
        Self { archived: Some(time(row.archived_at)), ..Self::of(&row.session) }
    }
}

/// A line that holds what was looked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hit {
    pub(crate) key: String,
    pub(crate) tenant: Option<String>,
    pub(crate) episode: u64,
    pub(crate) is_archived: bool,
    /// Number of the line.
    pub(crate) seq: u64,
    pub(crate) at: String,
    /// `peer` or `agent`.
    pub(crate) role: &'static str,
    pub(crate) name: Option<String>,
    pub(crate) user_id: Option<String>,
    /// The words and what stands around them.
    pub(crate) excerpt: String,
}

impl Hit {
    pub(crate) fn of(tenant: Option<&TenantId>, hit: &store::Hit) -> Self {
        let (role, name, user_id) = speaker(&hit.speaker);
        Self {
            key: hit.key.to_string(),
            tenant: tenant.map(ToString::to_string),
            episode: hit.episode,
            is_archived: hit.is_archived,
            seq: hit.seq,
            at: time(hit.at),
            role,
            name,
            user_id,
            excerpt: hit.excerpt.clone(),
        }
    }
}

/// How much was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Erased {
    /// Lines of transcripts.
    pub(crate) lines: u64,
    /// Messages that waited or were set aside.
    pub(crate) messages: u64,
    /// Replies that were not settled or were set aside.
    pub(crate) replies: u64,
    pub(crate) notes: u64,
    /// Working files.
    pub(crate) files: u64,
    /// Archived conversations.
    pub(crate) archives: u64,
}

impl Erased {
    pub(crate) fn of(erased: &store::Erased) -> Self {
        Self {
            lines: erased.n_lines,
            messages: erased.n_messages,
            replies: erased.n_replies,
            notes: erased.n_notes,
            files: erased.n_files,
            archives: erased.n_archives,
        }
    }
}

/// How many conversations would be named differently.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rekeyed {
    /// Keys whose conversations get a new one.
    pub(crate) moves: u64,
    /// Those of them that join another one.
    pub(crate) joins: u64,
    /// Keys that cannot be split.
    pub(crate) shared: u64,
    /// Keys whose conversations have no key any more.
    pub(crate) unresolvable: u64,
    /// The same in words.
    pub(crate) text: String,
}

impl Rekeyed {
    pub(crate) fn of(rekeyed: &gateway::Rekeyed) -> Self {
        Self {
            moves: rekeyed.n_moves,
            joins: rekeyed.n_joins,
            shared: rekeyed.n_shared,
            unresolvable: rekeyed.n_unresolvable,
            text: rekeyed.to_string(),
        }
    }
}

/// A conversation that would be named differently, or was.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RekeyRow {
    pub(crate) key: String,
    pub(crate) tenant: Option<String>,
    /// `moves`, `joins`, `moved`, `waits`, `shared` or `unresolvable`.
    pub(crate) becomes: &'static str,
    pub(crate) new_key: Option<String>,
    /// Why it stays.
    pub(crate) reason: Option<String>,
}

impl RekeyRow {
    pub(crate) fn of(row: &gateway::RekeyRow) -> Self {
        let (becomes, to, reason) = match &row.becomes {
            Becomes::Moves { to, joins: false } => ("moves", Some(to), None),
            Becomes::Moves { to, joins: true } => ("joins", Some(to), None),
            Becomes::Moved { to } => ("moved", Some(to), None),
            Becomes::Waits { to } => ("waits", Some(to), Some("something in it still waits; try again later")),
            Becomes::Shared => ("shared", None, Some("several peers or places may have written in it")),
            Becomes::Unresolvable(reason) => ("unresolvable", None, Some(reason.as_str())),
        };
        Self {
            key: row.key.to_string(),
            tenant: row.tenant.as_ref().map(ToString::to_string),
            becomes,
            new_key: to.map(ToString::to_string),
            reason: reason.map(str::to_owned),
        }
    }
}

/// Which side, by what name, as whom.
fn speaker(speaker: &Speaker) -> (&'static str, Option<String>, Option<String>) {
    match speaker {
        Speaker::Agent(agent) => ("agent", Some(agent.to_string()), None),
        Speaker::Person(name) => ("person", Some(name.clone()), None),
        Speaker::Peer { user, name, .. } => ("peer", name.clone(), text(user.as_ref())),
    }
}

/// A line of a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Line {
    /// Its number.
    pub(crate) seq: u64,
    pub(crate) at: String,
    /// `peer` or `agent`.
    pub(crate) role: &'static str,
    pub(crate) name: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) text: String,
}

impl Line {
    pub(crate) fn of(line: &store::Line) -> Self {
        let (role, name, user_id) = speaker(&line.speaker);
        Self { seq: line.seq, at: time(line.at), role, name, user_id, text: line.text.clone() }
    }
}

/// A message that waits for a turn.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingMessage {
    pub(crate) at: String,
    pub(crate) user_id: Option<String>,
    /// Turns that failed with it.
    pub(crate) tries: u64,
    pub(crate) text: String,
}

impl WaitingMessage {
    pub(crate) fn of(waiting: &store::Waiting) -> Self {
        let inbound = &waiting.inbound;
        Self {
            at: time(inbound.received_at),
            user_id: text(inbound.identity.user.as_ref()),
            tries: waiting.n_tries.into(),
            text: inbound.text.clone(),
        }
    }
}

/// A reply that is not yet delivered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingReply {
    pub(crate) id: String,
    pub(crate) at: String,
    /// Id of the channel entry.
    pub(crate) channel: String,
    pub(crate) text: String,
}

impl WaitingReply {
    pub(crate) fn of(delivery: &store::Delivery) -> Self {
        Self {
            id: delivery.id.clone(),
            at: time(delivery.created_at),
            channel: delivery.content.address.entry().to_string(),
            text: delivery.content.text.clone(),
        }
    }
}

/// Something that was set aside.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SetAside {
    pub(crate) id: String,
    pub(crate) at: String,
    /// `message` or `reply`.
    pub(crate) what: &'static str,
    pub(crate) reason: String,
    pub(crate) text: String,
}

impl SetAside {
    pub(crate) fn of(parked: &store::Parked) -> Self {
        let (what, text) = match &parked.what {
            ParkedItem::Message(inbound) => ("message", &inbound.text),
            ParkedItem::Delivery(delivery) => ("reply", &delivery.content.text),
        };
        Self { id: parked.id(), at: time(parked.at), what, reason: parked.reason.clone(), text: text.clone() }
    }
}

impl Problem {
    pub(crate) fn of(problem: &document::Problem) -> Self {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        Self {
            severity,
            file: problem.file.clone(),
            line: problem.line,
            column: problem.column,
            path: problem.path.clone(),
            message: problem.message.clone(),
            help: problem.help.clone(),
        }
    }
}

/// [`Problem`], where no gateway runs.
pub(crate) fn problem(problem: &document::Problem) -> Value {
    serde_json::json!(Problem::of(problem))
}

fn text(id: Option<&OpaqueId>) -> Option<String> {
    id.map(ToString::to_string)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

pub(super) fn time(at: Timestamp) -> String {
    at.to_string()
}
