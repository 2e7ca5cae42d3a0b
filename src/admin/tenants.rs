//! Tenants: of whom something is kept, and its end.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Error, access, answer, parsed};
use crate::gateway::Gateway;
use crate::id::TenantId;
use crate::store::KeptTenant;

pub(super) fn routes() -> Router<Gateway> {
    Router::new().route("/api/v1/tenants", get(list)).route("/api/v1/tenants/erase", post(erase))
}

#[derive(Debug, Deserialize)]
struct Named {
    tenant: Option<String>,
}

async fn list(State(gateway): State<Gateway>) -> Result<Response, Error> {
    let kept = gateway.store().kept_tenants()?;
    let tenants: Vec<Value> = kept.iter().map(shown).collect();
    Ok(answer(StatusCode::OK, &json!({ "tenants": tenants })))
}

fn shown(kept: &KeptTenant) -> Value {
    json!({
        "tenant": kept.tenant.as_ref().map(TenantId::as_str),
        "active": kept.n_live,
        "archived": kept.n_archived,
        "erasing": kept.is_erasing,
    })
}

async fn erase(State(gateway): State<Gateway>, Query(Named { tenant }): Query<Named>) -> Result<Response, Error> {
    let tenant = match tenant.as_deref() {
        None => return Err(Error::Query("tenant: say which one; `tenant=` is the owner's own".to_owned())),
        Some("") => None,
        Some(id) => Some(parsed("tenant", TenantId::new(id))?),
    };
    access::note("erase tenant", tenant.as_ref(), None);
    match gateway.erase_tenant(tenant.as_ref()).await? {
        Some(n_conversations) => {
            let tenant = tenant.as_ref().map(TenantId::as_str);
            Ok(answer(StatusCode::OK, &json!({ "tenant": tenant, "conversations": n_conversations })))
        }
        None => Err(Error::NotFound(
            "nothing is kept of this tenant; `tenants list` shows those of whom something is".to_owned(),
        )),
    }
}
