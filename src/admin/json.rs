//! What the admin API answers, as JSON.

use serde_json::{Value, json};

use crate::backup::Schedule;
use crate::clock::Timestamp;
use crate::doctor::Finding;
use crate::document::{Problem, Severity};
use crate::gateway::{BackupStatus, Becomes, ChannelStatus, RekeyRow, Rekeyed, Reloaded, Status};
use crate::id::{OpaqueId, TenantId};
use crate::store::{ArchivedRow, Delivery, Erased, Hit, Line, Parked, ParkedItem, SessionRow, Speaker, Waiting};

pub(super) fn status(status: &Status) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "port": status.port,
        "address": status.address,
        "uptime_ms": status.uptime_ms,
        "config": status.config,
        "safe_mode": status.safe_mode,
        "sessions": { "active": status.counts.sessions, "archived": status.counts.archived },
        "queue": {
            "waiting": status.counts.waiting,
            "turns": status.n_lanes,
            "undelivered": status.counts.undelivered,
            "parked": status.counts.parked,
            "unresolved": status.n_unresolved,
        },
        "store": { "path": status.store, "bytes": status.store_bytes },
        "backup": backup(&status.backup),
        "channels": status.channels.iter().map(channel).collect::<Vec<_>>(),
        "notes": status.notes,
        "warnings": status.errors.iter().chain(&status.warnings).collect::<Vec<_>>(),
    })
}

/// How backups go.
pub(super) fn backup(status: &BackupStatus) -> Value {
    let (every_hours, at) = match status.schedule {
        None => (None, None),
        Some(Schedule::EveryHours(hours)) => (Some(hours), None),
        Some(Schedule::DailyAt(time)) => (None, Some(time.strftime("%H:%M").to_string())),
    };
    json!({
        "scheduled": status.schedule.is_some(),
        "every_hours": every_hours,
        "at": at,
        "time_zone": status.time_zone,
        "to": status.to,
        "running": status.is_running,
        "next": status.due.map(|due| time(due.at)),
        "last": status.last.as_ref().map(|last| json!({
            "at": time(Timestamp(last.at_ms)),
            "name": last.name,
            "bytes": last.n_bytes,
            "rows": last.n_rows,
            "incremental": last.is_incremental,
        })),
        "failed": status.failed.as_ref().map(|failed| json!({
            "at": time(Timestamp(failed.at_ms)),
            "reason": failed.reason,
        })),
    })
}

fn channel(channel: &ChannelStatus) -> Value {
    json!({
        "id": channel.id,
        "type": channel.channel,
        "tenant": channel.tenant,
        "path": channel.path,
        "last_in": channel.last_in.map(time),
        "last_out": channel.last_out.map(time),
        "refused": channel.n_refused,
        "limited": channel.n_limited,
        "pairing": { "pending": channel.n_pending, "turned_away": channel.n_turned_away },
        "problem": channel.problem,
    })
}

pub(crate) fn findings(findings: &[Finding], is_running: bool) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "severity": finding.severity.as_str(),
            "id": finding.id,
            "what": finding.what,
            "fix": finding.fix,
        })
    };
    json!({ "running": is_running, "findings": findings.iter().map(finding).collect::<Vec<_>>() })
}

pub(super) fn reloaded(reloaded: &Reloaded) -> Value {
    json!({
        "config": reloaded.file.as_ref().map(|file| file.display().to_string()),
        "started": reloaded.started,
        "stopped": reloaded.stopped,
        "kept": reloaded.kept,
        "warnings": reloaded.warnings.iter().map(problem).collect::<Vec<_>>(),
        "rekey": reloaded.rekeyed.as_ref().map(rekeyed),
    })
}

pub(crate) fn problem(problem: &Problem) -> Value {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "severity": severity,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "help": problem.help,
    })
}

pub(super) fn row(row: &SessionRow) -> Value {
    json!({
        "key": row.key.as_str(),
        "tenant": row.tenant.as_ref().map(TenantId::as_str),
        "agent": row.agent.as_ref().map(ToString::to_string),
        "channel": row.channel.as_str(),
        "entry": row.entry.as_str(),
        "kind": row.kind.as_str(),
        "server_id": text(row.server.as_ref()),
        "channel_id": text(row.room.as_ref()),
        "thread_id": text(row.thread.as_ref()),
        "user_id": text(row.user.as_ref()),
        "peer": row.user_name.as_deref().or(row.user.as_ref().map(OpaqueId::as_str)),
        "episode": row.episode,
        "messages": row.n_messages,
        "created": time(row.created_at),
        "last_active": time(row.last_active_at),
        "archived": null,
    })
}

pub(super) fn archived(archived: &ArchivedRow) -> Value {
    let mut value = row(&archived.session);
    if let Some(member) = value.get_mut("archived") {
        *member = time(archived.archived_at).into();
    }
    value
}

pub(super) fn hit(tenant: Option<&TenantId>, hit: &Hit) -> Value {
    let (role, name, user) = speaker(&hit.speaker);
    json!({
        "key": hit.key.as_str(),
        "tenant": tenant.map(TenantId::as_str),
        "episode": hit.episode,
        "is_archived": hit.is_archived,
        "seq": hit.seq,
        "at": time(hit.at),
        "role": role,
        "name": name,
        "user_id": user,
        "excerpt": hit.excerpt,
    })
}

pub(super) fn erased(erased: &Erased) -> Value {
    json!({
        "lines": erased.n_lines,
        "messages": erased.n_messages,
        "replies": erased.n_replies,
        "notes": erased.n_notes,
        "files": erased.n_files,
        "archives": erased.n_archives,
    })
}

pub(super) fn rekeyed(rekeyed: &Rekeyed) -> Value {
    json!({
        "moves": rekeyed.n_moves,
        "joins": rekeyed.n_joins,
        "shared": rekeyed.n_shared,
        "unresolvable": rekeyed.n_unresolvable,
        "text": rekeyed.to_string(),
    })
}

pub(super) fn rekey_row(row: &RekeyRow) -> Value {
    let (becomes, to, reason) = match &row.becomes {
        Becomes::Moves { to, joins: false } => ("moves", Some(to), None),
        Becomes::Moves { to, joins: true } => ("joins", Some(to), None),
        Becomes::Moved { to } => ("moved", Some(to), None),
        Becomes::Waits { to } => ("waits", Some(to), Some("something in it still waits; try again later")),
        Becomes::Shared => ("shared", None, Some("several peers or places may have written in it")),
        Becomes::Unresolvable(reason) => ("unresolvable", None, Some(reason.as_str())),
    };
    json!({
        "key": row.key.as_str(),
        "tenant": row.tenant.as_ref().map(TenantId::as_str),
        "becomes": becomes,
        "new_key": to.map(ToString::to_string),
        "reason": reason,
    })
}

/// Which side, by what name, as whom.
fn speaker(speaker: &Speaker) -> (&'static str, Option<&str>, Option<&str>) {
    match speaker {
        Speaker::Agent(agent) => ("agent", Some(agent.as_str()), None),
        Speaker::Peer { user, name, .. } => ("peer", name.as_deref(), text(user.as_ref())),
    }
}

pub(super) fn line(line: &Line) -> Value {
    let (role, name, user) = speaker(&line.speaker);
    json!({ "seq": line.seq, "at": time(line.at), "role": role, "name": name, "user_id": user, "text": line.text })
}

pub(super) fn waiting(waiting: &Waiting) -> Value {
    let inbound = &waiting.inbound;
    json!({
        "at": time(inbound.received_at),
        "user_id": text(inbound.identity.user.as_ref()),
        "tries": waiting.n_tries,
        "text": inbound.text,
    })
}

pub(super) fn delivery(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id,
        "at": time(delivery.created_at),
        "channel": delivery.content.address.entry().as_str(),
        "text": delivery.content.text,
    })
}

pub(super) fn parked(parked: &Parked) -> Value {
    let (what, text) = match &parked.what {
        ParkedItem::Message(inbound) => ("message", &inbound.text),
        ParkedItem::Delivery(delivery) => ("reply", &delivery.content.text),
    };
    json!({ "id": parked.id(), "at": time(parked.at), "what": what, "reason": parked.reason, "text": text })
}

fn text(id: Option<&OpaqueId>) -> Option<&str> {
    id.map(OpaqueId::as_str)
}

pub(super) fn time(at: Timestamp) -> String {
    at.to_string()
}
