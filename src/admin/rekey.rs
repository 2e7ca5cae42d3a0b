//! Conversations under old keys: which there are, and moving them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use super::json::{RekeyRow, Rekeyed};
use super::operation::{INSPECT, MANAGE, Operation, Query, Rule};
use super::reach::Reached;
use super::{cursor, parsed};
use crate::gateway::{Apply, Becomes, RekeyCursor};
use crate::id::{SessionKey, TenantId};
use crate::session::{self, DmScope, IdentityLink, KeyFormat};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/sessions/rekey", INSPECT, "A page of conversations under old keys", list),
        Operation::post("/api/v1/sessions/rekey", MANAGE, "Moves a page of them to their new keys", apply),
        Operation::get("/api/v1/sessions/rekey/count", INSPECT, "How many other settings would rename", count),
    ]
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Page {
    /// `next` of the page before.
    pub(crate) after: Option<String>,
}

/// A page of conversations under old keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OldKeys {
    pub(crate) sessions: Vec<RekeyRow>,
    /// For `after` of the next page, which may be empty and not the last; null: this is the last.
    pub(crate) next: Option<String>,
}

pub(crate) async fn list(reached: Reached, Query(query): Query<Page>) -> Result<OldKeys, Error> {
    page(&reached, &query, INSPECT, Apply::DryRun).await
}

pub(crate) async fn apply(reached: Reached, Query(query): Query<Page>) -> Result<OldKeys, Error> {
    page(&reached, &query, MANAGE, Apply::Move).await
}

/// Archived only, tenant, key.
type Cursor = (bool, Option<String>, Option<String>);

async fn page(reached: &Reached, query: &Page, rule: Rule, apply: Apply) -> Result<OldKeys, Error> {
    let after = match query.after.as_deref().map(cursor::<Cursor>).transpose()? {
        None => None,
        Some((is_archived, tenant, key)) => Some(RekeyCursor {
            is_archived,
            tenant: parsed("after", tenant.map(TenantId::new).transpose())?,
            key: parsed("after", key.as_deref().map(SessionKey::parse).transpose())?,
        }),
    };
    let (rows, next) = reached.whole(rule)?.rekey(after, apply).await?;
    for row in rows.iter().filter(|row| matches!(row.becomes, Becomes::Moved { .. })) {
        reached.note("rekey", row.tenant.as_ref(), Some(&row.key));
    }
    let next = next.map(|next| {
        let (tenant, key) = (next.tenant.map(|id| id.to_string()), next.key.map(|key| key.to_string()));
        json!((next.is_archived, tenant, key)).to_string()
    });
    Ok(OldKeys { sessions: rows.iter().map(RekeyRow::of).collect(), next })
}

/// Settings that nobody uses yet.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Settings {
    /// As `session.dm_scope` in the configuration.
    pub(crate) dm_scope: String,
    /// As `session.key_format` in the configuration.
    pub(crate) key_format: String,
    /// A JSON object of lists.
    pub(crate) identity_links: String,
}

pub(crate) async fn count(reached: Reached, Query(query): Query<Settings>) -> Result<Rekeyed, Error> {
    let scope = DmScope::CHOICES.into_iter().find(|(name, _)| *name == query.dm_scope);
    let (_, dm_scope) = scope.ok_or_else(|| Error::Query("dm_scope: there is no such scope".to_owned()))?;
    let key_format = parsed("key_format", KeyFormat::parse(&query.key_format))?;
    let links: BTreeMap<String, Vec<String>> = parsed("identity_links", serde_json::from_str(&query.identity_links))?;
    let identity_links = links.into_iter().map(|(name, ids)| IdentityLink { name, ids }).collect();
    let settings = session::Config { dm_scope, key_format, identity_links, ..session::Config::embedded() };
    let rekeyed = reached.whole(INSPECT)?.count_rekeyed(&settings).await?;
    Ok(Rekeyed::of(&rekeyed))
}
