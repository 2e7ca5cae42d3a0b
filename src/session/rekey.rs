//! What becomes of a conversation's key when `dm_scope`, `key_format` or the links change. Pure.

use super::encode::decode;
use super::key::{ResolveError, Resolver};
use crate::id::{OpaqueId, SessionKey, TenantId};
use crate::message::{ChatKind, Identity};

/// How many peers wrote in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// One, or nobody knows of any.
    One,
    /// Two or more.
    Several,
}

/// What a conversation that lies under an old key is called now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rekey {
    /// As before.
    Same,
    /// By this key: all that lies under the old one belongs there.
    Moves(SessionKey),
    /// Several peers, or one from several places, may have written under the old key, and the new ones would keep
    /// them apart. Nobody can tell whose words are whose, so it stays where it is.
    Shared,
    /// Its identity has no key any more.
    Unresolvable(ResolveError),
}

impl Resolver {
    /// Names a stored conversation anew. `identity` is that of its first message, `old` the key it lies under.
    ///
    /// Fails closed: it moves only when every id that the new key tells apart is shown by the old one, so that no
    /// other identity can have written under the old key and belong elsewhere now. Who wrote is the exception: that
    /// is not read from the key but known (`writers`).
    #[must_use]
    pub fn rekey(&self, old: &SessionKey, identity: &Identity, writers: Writers) -> Rekey {
        let new = match self.resolve(identity) {
            Ok(resolved) => resolved.session_key,
            Err(error) => return Rekey::Unresolvable(error),
        };
        if new == *old {
            return Rekey::Same;
        }
        if writers == Writers::Several && self.tells_apart(&new, identity, |identity| &mut identity.user) {
            return Rekey::Shared;
        }
        let places: [fn(&mut Identity) -> &mut Option<OpaqueId>; 5] = [
            |identity| &mut identity.account,
            |identity| &mut identity.workspace,
            |identity| &mut identity.server,
            |identity| &mut identity.room,
            |identity| &mut identity.thread,
        ];
        let mut shown = Shown::of(old, identity.tenant.as_ref());
        for place in places {
            let id = place(&mut identity.clone()).clone();
            if let Some(id) = id
                && self.tells_apart(&new, identity, place)
                && !shown.take(&id)
            {
                return Rekey::Shared;
            }
        }
        Rekey::Moves(new)
    }

    /// Would a direct message of somebody else at the same place belong to the same conversation? One person's
    /// linked ids are not somebody else.
    #[must_use]
    pub fn shares_peers(&self, identity: &Identity) -> bool {
        let resolved = self.resolve(identity);
        identity.parent == ChatKind::Direct
            && resolved
                .is_ok_and(|resolved| !self.tells_apart(&resolved.session_key, identity, |identity| &mut identity.user))
    }

    /// Would the same message with another id there have another key?
    fn tells_apart(
        &self,
        key: &SessionKey,
        identity: &Identity,
        place: impl Fn(&mut Identity) -> &mut Option<OpaqueId>,
    ) -> bool {
        let mut other = identity.clone();
        let Some(id) = place(&mut other) else { return false };
        // No configuration names an id with a control character.
        let Ok(different) = OpaqueId::new(format!("\u{1}{id}")) else { return true };
        *id = different;
        self.resolve(&other).map_or(true, |resolved| resolved.session_key != *key)
    }
}

/// The ids that a key shows in full, each as often as it does.
struct Shown(Vec<Option<String>>);

impl Shown {
    fn of(key: &SessionKey, tenant: Option<&TenantId>) -> Self {
        let text = key.as_str();
        // The tenant in front may show its own `-`, or escape them.
        let after = |tenant: &TenantId| {
            let rest = text.strip_prefix("tenant-")?;
            let at = rest
                .match_indices('-')
                .find(|(at, _)| rest.get(..*at).and_then(decode).is_some_and(|id| id == tenant.as_str()));
            at.and_then(|(at, _)| rest.get(at + 1..))
        };
        let text = tenant.and_then(after).unwrap_or(text);
        Self(text.split([':', '=']).map(decode).collect())
    }

    /// Takes an id out; false: it is not shown.
    fn take(&mut self, id: &OpaqueId) -> bool {
        let id = id.as_str();
        if let Some(whole) = self.0.iter_mut().find(|shown| shown.as_deref() == Some(id)) {
            *whole = None;
            return true;
        }
        // A federated id keeps its first `:`, so it is two segments.
        let Some((local, server)) = id.split_once(':').filter(|_| id.starts_with(['@', '!'])) else { return false };
        let at = self.0.windows(2).position(|pair| matches!(pair, [Some(a), Some(b)] if a == local && b == server));
        match at.and_then(|at| self.0.get_mut(at..at + 2)) {
            Some(pair) => {
                pair.fill(None);
                true
            }
            None => false,
        }
    }
}
