//! Who looked into conversations: one line of the log for each time.

use crate::id::{SessionKey, TenantId};

/// Notes that the holder of the admin token read or changed a conversation. What was said is not noted, nor what was
/// looked for.
pub(super) fn note(what: &'static str, tenant: Option<&TenantId>, session_key: Option<&SessionKey>) {
    let tenant = tenant.map(TenantId::as_str).unwrap_or_default();
    let session_key = session_key.map(SessionKey::as_str).unwrap_or_default();
    tracing::info!(
        access.what = what,
        tenant.id = tenant,
        session.key = session_key,
        "an operator used a conversation"
    );
}
