//! Who looked into conversations: one line of the log for each time.

use crate::account::Who;
use crate::id::{SessionKey, TenantId};

/// Notes that somebody read or changed a conversation. What was said is not noted, nor what was looked for.
pub(super) fn note(who: &Who, what: &'static str, tenant: Option<&TenantId>, session_key: Option<&SessionKey>) {
    let tenant = tenant.map(TenantId::as_str).unwrap_or_default();
    let session_key = session_key.map(SessionKey::as_str).unwrap_or_default();
    tracing::info!(
        access.who = who.name,
        access.what = what,
        tenant.id = tenant,
        session.key = session_key,
        "somebody used a conversation"
    );
}
