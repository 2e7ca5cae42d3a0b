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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::account::{Reach, Role};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_says_who_did_what_to_which_conversation() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let tenant = TenantId::new("42").unwrap();
        let who = Who { name: "front desk".to_owned(), role: Role::Support, reach: Reach::Tenant(tenant.clone()) };
        let key = SessionKey::parse("webhook:u1").unwrap();
        tracing::subscriber::with_default(subscriber, || note(&who, "show", Some(&tenant), Some(&key)));
        let line = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let fields = "access.who=\"front desk\" access.what=\"show\" tenant.id=\"42\" session.key=\"webhook:u1\"";
        assert!(line.contains(fields), "{line}");
    }
}
