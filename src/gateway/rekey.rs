//! Conversations that lie under another key than the settings would give them now.
//!
//! A change of `dm_scope`, `key_format` or the links names new messages differently; what was said before stays
//! under its old key, readable there, until the operator has it moved.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::PoisonError;

use super::Gateway;
use crate::id::{API_ENTRY, SessionKey, TenantId};
use crate::session::{self, Rekey, Resolver, Writers};
use crate::store::{self, Filter, SessionRow, Store};

/// Keys that are looked at in one step.
const PAGE: usize = 256;

/// How many conversations would be named differently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rekeyed {
    /// Keys whose conversations get a new one.
    pub n_moves: u64,
    /// Those of them whose new key has a conversation already, or gets another one too.
    pub n_joins: u64,
    /// Keys that cannot be split, so their conversations stay.
    pub n_shared: u64,
    /// Keys whose conversations have no key any more, and stay.
    pub n_unresolvable: u64,
}

impl Rekeyed {
    /// Is nothing named differently?
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Rekeyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = |n: u64| if n == 1 { "1 conversation".to_owned() } else { format!("{n} conversations") };
        write!(f, "{} would get new keys", many(self.n_moves))?;
        if self.n_joins > 0 {
            write!(f, ", {} of them join another one", self.n_joins)?;
        }
        if self.n_shared > 0 {
            write!(f, "; {} shared by several peers or places and cannot be split", be(self.n_shared))?;
        }
        if self.n_unresolvable > 0 {
            write!(f, "; {} without a key under these settings", be(self.n_unresolvable))?;
        }
        Ok(())
    }
}

fn be(n: u64) -> String {
    format!("{n} {}", if n == 1 { "is" } else { "are" })
}

/// A conversation that would be named differently, or was.
#[derive(Debug, Clone)]
pub struct RekeyRow {
    /// Whose.
    pub tenant: Option<TenantId>,
    /// The key it lies under, or lay.
    pub key: SessionKey,
    /// What becomes of it.
    pub becomes: Becomes,
}

/// What becomes of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Becomes {
    /// It belongs under this key.
    Moves {
        /// The new key.
        to: SessionKey,
        /// Does a conversation lie there already?
        joins: bool,
    },
    /// It was moved to this key.
    Moved {
        /// The new key.
        to: SessionKey,
    },
    /// Something in it waits for an answer or for a channel, so it was not moved now.
    Waits {
        /// The new key.
        to: SessionKey,
    },
    /// It stays: see [`Rekey::Shared`].
    Shared,
    /// It stays, for this reason.
    Unresolvable(String),
}

/// Where to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RekeyCursor {
    /// Live ones come first, then keys with archived ones only.
    pub is_archived: bool,
    /// In this tenant.
    pub tenant: Option<TenantId>,
    /// After this key.
    pub key: Option<SessionKey>,
}

/// Only look, or act too?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apply {
    /// Change nothing.
    DryRun,
    /// Move what can be moved.
    Move,
}

impl Gateway {
    /// Which conversations the settings in use would name differently: a page of them, which may be empty, and where to
    /// go on. Each is moved in a transaction of its own; asking again goes on with what is left.
    ///
    /// # Errors
    /// When the store cannot be read or written. What was moved before stays moved.
    pub async fn rekey(
        &self,
        after: Option<RekeyCursor>,
        apply: Apply,
    ) -> Result<(Vec<RekeyRow>, Option<RekeyCursor>), store::Error> {
        let live = self.0.live.load_full();
        let after = after.unwrap_or_default();
        let (rows, next) = page(&self.0.store, &after)?;
        let mut found = Vec::new();
        for row in rows {
            let Some(mut becomes) = judge(&self.0.store, &live.resolver, &row)? else { continue };
            if let (Apply::Move, Becomes::Moves { to, .. }) = (apply, &becomes) {
                let moved = self.0.store.tenant(row.tenant.as_ref()).move_session(&row.key, to, self.now()).await;
                let to = to.clone();
                becomes = match moved {
                    Ok(_) => {
                        tracing::info!(session.key = %row.key, to = %to, "a conversation was moved to its new key");
                        Becomes::Moved { to }
                    }
                    Err(store::Error::InUse) => Becomes::Waits { to },
                    Err(store::Error::Gone { .. }) => continue,
                    Err(error) => return Err(error),
                };
            }
            found.push(RekeyRow { tenant: row.tenant, key: row.key, becomes });
        }
        if apply == Apply::Move && next.is_none() {
            self.look_for_old_keys().await;
        }
        Ok((found, next))
    }

    /// Counts what these settings would name differently.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count_rekeyed(&self, session: &session::Config) -> Result<Rekeyed, store::Error> {
        let (store, resolver) = (self.0.store.clone(), self.0.live.load().resolver.with_settings(session));
        let counted = tokio::task::spawn_blocking(move || count(&store, &resolver)).await;
        counted.unwrap_or(Err(store::Error::Closed))
    }

    /// Counts for `status` what the settings in use would name differently.
    pub(super) async fn look_for_old_keys(&self) -> Option<Rekeyed> {
        let live = self.0.live.load_full();
        if live.safe_mode.is_some() {
            return None;
        }
        match self.count_rekeyed(&live.settings.session).await {
            Ok(rekeyed) => {
                *self.0.rekeyed.lock().unwrap_or_else(PoisonError::into_inner) = rekeyed;
                Some(rekeyed)
            }
            Err(error) => {
                tracing::error!(%error, "conversations under old keys cannot be counted");
                None
            }
        }
    }

    /// What `status` says about old keys, as long as something can be done about them.
    pub(super) fn old_keys_note(&self) -> Option<String> {
        let rekeyed = *self.0.rekeyed.lock().unwrap_or_else(PoisonError::into_inner);
        (rekeyed.n_moves > 0).then(|| {
            format!(
                "the session settings have changed: {rekeyed}; they stay readable under their old keys, and \
                 `sessions rekey --dry-run` lists them"
            )
        })
    }
}

fn count(store: &Store, resolver: &Resolver) -> Result<Rekeyed, store::Error> {
    let mut rekeyed = Rekeyed::default();
    // Eight bytes for each key that changes.
    let mut targets: HashSet<u64> = HashSet::new();
    let mut place = Some(RekeyCursor::default());
    while let Some(after) = place {
        let (rows, next) = page(store, &after)?;
        for row in rows {
            match judge(store, resolver, &row)? {
                None => {}
                Some(Becomes::Moves { to, joins }) => {
                    let mut hasher = DefaultHasher::new();
                    (&row.tenant, &to).hash(&mut hasher);
                    let is_new = targets.insert(hasher.finish());
                    rekeyed.n_moves += 1;
                    rekeyed.n_joins += u64::from(joins || !is_new);
                }
                Some(Becomes::Unresolvable(_)) => rekeyed.n_unresolvable += 1,
                Some(Becomes::Shared | Becomes::Moved { .. } | Becomes::Waits { .. }) => rekeyed.n_shared += 1,
            }
        }
        place = next;
    }
    Ok(rekeyed)
}

/// One row for each key of a page, and where the next page begins.
fn page(store: &Store, after: &RekeyCursor) -> Result<(Vec<SessionRow>, Option<RekeyCursor>), store::Error> {
    let RekeyCursor { is_archived, tenant: first, key } = after;
    for tenant in store.tenants()?.into_iter().filter(|tenant| tenant >= first) {
        let of_tenant = store.tenant(tenant.as_ref());
        let after = key.clone().filter(|_| tenant == *first);
        let filter = Filter { after, limit: PAGE, ..Filter::default() };
        let mut rows = match is_archived {
            false => of_tenant.sessions(&filter)?,
            true => of_tenant.archived(&filter)?.into_iter().map(|row| row.session).collect(),
        };
        let Some(last) = rows.last().map(|row| row.key.clone()) else { continue };
        if *is_archived {
            rows.dedup_by(|one, other| one.key == other.key);
            let mut only_archived = Vec::new();
            for row in rows {
                if !of_tenant.has_session(&row.key)? {
                    only_archived.push(row);
                }
            }
            rows = only_archived;
        }
        return Ok((rows, Some(RekeyCursor { is_archived: *is_archived, tenant, key: Some(last) })));
    }
    let next = (!is_archived).then(|| RekeyCursor { is_archived: true, ..RekeyCursor::default() });
    Ok((Vec::new(), next))
}

/// `None`: it is called as before.
fn judge(store: &Store, resolver: &Resolver, row: &SessionRow) -> Result<Option<Becomes>, store::Error> {
    // Conversations of the HTTP API are named by their callers and not by these settings.
    if row.entry.as_str() == API_ENTRY {
        return Ok(None);
    }
    let identity = row.identity();
    // Who wrote is another read, so only where it matters.
    if resolver.rekey(&row.key, &identity, Writers::One) == Rekey::Same {
        return Ok(None);
    }
    let of_tenant = store.tenant(row.tenant.as_ref());
    let writers = if of_tenant.peers_of(&row.key, 2)?.len() > 1 { Writers::Several } else { Writers::One };
    Ok(match resolver.rekey(&row.key, &identity, writers) {
        Rekey::Same => None,
        Rekey::Moves(to) => {
            let joins = of_tenant.has_session(&to)? || !of_tenant.session(&to).archives()?.is_empty();
            Some(Becomes::Moves { to, joins })
        }
        Rekey::Shared => Some(Becomes::Shared),
        Rekey::Unresolvable(error) => Some(Becomes::Unresolvable(error.to_string())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rekeyed: Rekeyed, expected: &str) {
        assert_eq!(rekeyed.to_string(), expected);
    }

    #[test]
    fn the_sentence_counts_what_moves_joins_and_stays() {
        let moves = Rekeyed { n_moves: 1, ..Rekeyed::default() };
        check(moves, "1 conversation would get new keys");
        let all = Rekeyed { n_moves: 12, n_joins: 3, n_shared: 1, n_unresolvable: 2 };
        check(
            all,
            "12 conversations would get new keys, 3 of them join another one; 1 is shared by several peers or places \
             and cannot be split; 2 are without a key under these settings",
        );
    }
}
