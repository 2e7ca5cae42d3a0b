//! Keys of the HTTP API (SPEC §7.2): programs that talk to agents. What opens the door is never shown again.

use serde::Serialize;
use utoipa::ToSchema;

use super::error::Error;
use super::operation::{MANAGE, Operation};
use super::reach::Reached;
use crate::gateway::ApiKeyRow;

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::get("/api/v1/api_keys", MANAGE, "Keys of programs that talk to agents, without the keys", list)]
}

/// The keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKeys {
    pub(crate) api_keys: Vec<ApiKeyShown>,
}

/// A key, without what opens anything.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKeyShown {
    pub(crate) name: String,
    /// Whose conversations it reaches; null: the owner's own.
    pub(crate) tenant: Option<String>,
    /// The only agent it may ask; null: all that answer its tenant.
    pub(crate) agent: Option<String>,
    /// `api`: conversations that the API made; `tenant`: all of its tenant.
    pub(crate) scope: &'static str,
}

pub(crate) async fn list(reached: Reached, (): ()) -> Result<ApiKeys, Error> {
    let shown = |key: ApiKeyRow| ApiKeyShown {
        name: key.name,
        tenant: key.tenant.map(|tenant| tenant.to_string()),
        agent: key.agent.map(|agent| agent.to_string()),
        scope: if key.reaches_all { "tenant" } else { "api" },
    };
    Ok(ApiKeys { api_keys: reached.whole(MANAGE)?.api_keys().into_iter().map(shown).collect() })
}
