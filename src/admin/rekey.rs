//! Conversations under old keys: which there are, and moving them.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

use super::{Error, access, answer, cursor, json, parsed};
use crate::gateway::{Apply, Becomes, Gateway, RekeyCursor};
use crate::id::{SessionKey, TenantId};
use crate::session::{self, DmScope, IdentityLink, KeyFormat};

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    after: Option<String>,
}

pub(super) async fn list(State(gateway): State<Gateway>, Query(query): Query<Page>) -> Result<Response, Error> {
    page(&gateway, &query, Apply::DryRun).await
}

pub(super) async fn apply(State(gateway): State<Gateway>, Query(query): Query<Page>) -> Result<Response, Error> {
    page(&gateway, &query, Apply::Move).await
}

/// Archived only, tenant, key.
type Cursor = (bool, Option<String>, Option<String>);

async fn page(gateway: &Gateway, query: &Page, apply: Apply) -> Result<Response, Error> {
    let after = match query.after.as_deref().map(cursor::<Cursor>).transpose()? {
        None => None,
        Some((is_archived, tenant, key)) => Some(RekeyCursor {
            is_archived,
            tenant: parsed("after", tenant.map(TenantId::new).transpose())?,
            key: parsed("after", key.as_deref().map(SessionKey::parse).transpose())?,
        }),
    };
    let (rows, next) = gateway.rekey(after, apply).await?;
    for row in rows.iter().filter(|row| matches!(row.becomes, Becomes::Moved { .. })) {
        access::note("rekey", row.tenant.as_ref(), Some(&row.key));
    }
    let next = next.map(|next| {
        let (tenant, key) = (next.tenant.map(|id| id.to_string()), next.key.map(|key| key.to_string()));
        json!((next.is_archived, tenant, key)).to_string()
    });
    let rows: Vec<Value> = rows.iter().map(json::rekey_row).collect();
    Ok(answer(StatusCode::OK, &json!({ "sessions": rows, "next": next })))
}

/// Settings that nobody uses yet.
#[derive(Debug, Deserialize)]
pub(super) struct Settings {
    dm_scope: String,
    key_format: String,
    /// A JSON object of lists.
    identity_links: String,
}

pub(super) async fn count(State(gateway): State<Gateway>, Query(query): Query<Settings>) -> Result<Response, Error> {
    let scope = DmScope::CHOICES.into_iter().find(|(name, _)| *name == query.dm_scope);
    let (_, dm_scope) = scope.ok_or_else(|| Error::Query("dm_scope: there is no such scope".to_owned()))?;
    let key_format = parsed("key_format", KeyFormat::parse(&query.key_format))?;
    let links: BTreeMap<String, Vec<String>> = parsed("identity_links", serde_json::from_str(&query.identity_links))?;
    let identity_links = links.into_iter().map(|(name, ids)| IdentityLink { name, ids }).collect();
    let settings = session::Config { dm_scope, key_format, identity_links, ..session::Config::embedded() };
    let rekeyed = gateway.count_rekeyed(&settings).await?;
    Ok(answer(StatusCode::OK, &json::rekeyed(&rekeyed)))
}
