//! Strangers: who waits, who was let in, and the operator's word on it.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use super::json::time;
use super::operation::{Body, CHANGE, Operation, Query, READ, Sent};
use super::reach::Reached;
use crate::message;
use crate::store;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        // Whoever sees a code could let its stranger in elsewhere.
        Operation::get("/api/v1/pairing", CHANGE, "Strangers who wait, with their codes", list),
        Operation::get("/api/v1/pairing/allowed", READ, "Who was approved", allowed),
        Operation::post("/api/v1/pairing/approve", CHANGE, "Lets a stranger in", approve),
        Operation::post("/api/v1/pairing/reject", CHANGE, "Forgets a stranger", reject),
        Operation::post("/api/v1/pairing/revoke", CHANGE, "Lets in no longer who was approved", revoke),
    ]
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct OnChannel {
    /// Id of the channel entry, or its type where there is one of it; absent: on all.
    pub(crate) channel: Option<String>,
}

/// A decision on a code, which has no business in an address.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Decision {
    /// Id of the channel entry, or its type where there is one of it.
    pub(crate) channel: String,
    pub(crate) code: String,
}

impl Sent for Decision {}

/// Who is no longer let in.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Revocation {
    /// Id of the channel entry, or its type where there is one of it.
    pub(crate) channel: String,
    /// Id of the peer or group.
    pub(crate) subject: String,
}

impl Sent for Revocation {}

/// Strangers who wait.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pairings {
    pub(crate) pairings: Vec<Pending>,
}

/// A stranger who waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pending {
    /// Id of the channel entry.
    pub(crate) channel: String,
    /// `direct` or `group`.
    pub(crate) kind: &'static str,
    /// Id of the peer or group.
    pub(crate) subject: String,
    pub(crate) name: Option<String>,
    pub(crate) code: String,
    pub(crate) expires: String,
}

pub(crate) async fn list(reached: Reached, Query(query): Query<OnChannel>) -> Result<Pairings, Error> {
    let pending = |(channel, one): (String, store::Pending)| Pending {
        channel,
        kind: one.subject.kind(),
        subject: one.subject.id().to_string(),
        name: one.name,
        code: one.code,
        expires: time(one.expires_at),
    };
    let pairings = reached.pairings(query.channel.as_deref())?;
    Ok(Pairings { pairings: pairings.into_iter().map(pending).collect() })
}

/// Who was approved.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Allowed {
    pub(crate) allowed: Vec<Approval>,
}

/// Somebody who was approved.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Approval {
    /// Id of the channel entry.
    pub(crate) channel: String,
    /// `direct` or `group`.
    pub(crate) kind: &'static str,
    /// Id of the peer or group.
    pub(crate) subject: String,
    pub(crate) name: Option<String>,
    pub(crate) since: String,
}

pub(crate) async fn allowed(reached: Reached, Query(query): Query<OnChannel>) -> Result<Allowed, Error> {
    let approval = |(channel, one): (String, store::Approval)| Approval {
        channel,
        kind: one.subject.kind(),
        subject: one.subject.id().to_string(),
        name: one.name,
        since: time(one.at),
    };
    let approvals = reached.approvals(query.channel.as_deref())?;
    Ok(Allowed { allowed: approvals.into_iter().map(approval).collect() })
}

/// Whom a decision is about.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Subject {
    /// Id of the channel entry.
    pub(crate) channel: String,
    /// `direct` or `group`.
    pub(crate) kind: &'static str,
    /// Id of the peer or group.
    pub(crate) subject: String,
}

impl Subject {
    fn of(channel: &str, subject: &message::Subject) -> Self {
        Self { channel: channel.to_owned(), kind: subject.kind(), subject: subject.id().to_string() }
    }
}

/// Who was let in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Approved {
    pub(crate) approved: Subject,
}

pub(crate) async fn approve(reached: Reached, Body(decision): Body<Decision>) -> Result<Approved, Error> {
    let (channel, approved) = reached.approve(&decision.channel, &decision.code).await?;
    // Without the peer, who may ask to be forgotten.
    reached.note_name("approve", &channel);
    Ok(Approved { approved: Subject::of(&channel, &approved.subject) })
}

/// Who was forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rejected {
    pub(crate) rejected: Subject,
}

pub(crate) async fn reject(reached: Reached, Body(decision): Body<Decision>) -> Result<Rejected, Error> {
    let (channel, rejected) = reached.reject(&decision.channel, &decision.code).await?;
    reached.note_name("reject", &channel);
    Ok(Rejected { rejected: Subject::of(&channel, &rejected.subject) })
}

/// Who is no longer let in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Revoked {
    pub(crate) revoked: Vec<Subject>,
}

pub(crate) async fn revoke(reached: Reached, Body(revocation): Body<Revocation>) -> Result<Revoked, Error> {
    let (channel, revoked) = reached.revoke(&revocation.channel, &revocation.subject).await?;
    reached.note_name("revoke approval", &channel);
    Ok(Revoked { revoked: revoked.iter().map(|one| Subject::of(&channel, one)).collect() })
}
