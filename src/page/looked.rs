//! Who looked at what a moment ago: a page that stays open is fetched again and again, and is one look in the log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::id::{SessionKey, TenantId};

/// Looking again after this long is another look.
const ONE_LOOK: Duration = Duration::from_secs(600);
/// Looks that are remembered.
const MAX_LOOKS: usize = 1_024;

/// Session of the page, tenant, session key.
type Look = (String, Option<TenantId>, SessionKey);

#[derive(Debug, Default)]
pub(super) struct Looked(Mutex<HashMap<Look, Instant>>);

impl Looked {
    /// Notes a look. Is it another one than those before it?
    pub(super) fn is_new(&self, session: &str, tenant: Option<&TenantId>, key: &SessionKey) -> bool {
        let (look, now) = ((session.to_owned(), tenant.cloned(), key.clone()), Instant::now());
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() >= MAX_LOOKS {
            looks.retain(|_, at| now.duration_since(*at) < ONE_LOOK);
        }
        if looks.len() >= MAX_LOOKS {
            // Rather one line too many than one too few.
            looks.clear();
        }
        looks.insert(look, now).is_none_or(|at| now.duration_since(at) >= ONE_LOOK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_page_that_stays_open_is_one_look_now_and_then() {
        let (looked, key) = (Looked::default(), SessionKey::parse("webchat:a").unwrap());
        let tenant = TenantId::new("42").unwrap();
        assert!(looked.is_new("s1", None, &key));
        assert!(!looked.is_new("s1", None, &key));
        assert!(looked.is_new("s2", None, &key) && looked.is_new("s1", Some(&tenant), &key));
        tokio::time::advance(ONE_LOOK).await;
        assert!(looked.is_new("s1", None, &key));
    }
}
