//! Lanes: one turn at a time in each conversation.
//!
//! Only conversations with something to do have a lane; an idle one costs nothing. Messages do not
//! pass through here: they wait in the store, and a lane says who may take them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::id::{SessionKey, TenantId};

/// Which conversation.
pub type LaneId = (Option<TenantId>, SessionKey);

/// Will the worker look once more before it leaves?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Leave,
    LookAgain,
}

#[derive(Debug)]
struct Lane {
    next: Next,
    /// Ends the turn that runs.
    turn: CancellationToken,
}

/// All lanes that are in use.
#[derive(Debug, Default)]
pub struct Lanes(Mutex<HashMap<LaneId, Lane>>);

impl Lanes {
    /// Something waits in this conversation. True: the caller must start a worker for it.
    /// False: the worker that is at it will see it.
    pub fn wake(&self, id: &LaneId) -> bool {
        match self.lock().entry(id.clone()) {
            Entry::Occupied(mut lane) => {
                lane.get_mut().next = Next::LookAgain;
                false
            }
            Entry::Vacant(lane) => {
                lane.insert(Lane { next: Next::Leave, turn: CancellationToken::new() });
                true
            }
        }
    }

    /// The worker found nothing more to do. True: something came meanwhile, so look once more.
    pub fn finish(&self, id: &LaneId) -> bool {
        let mut lanes = self.lock();
        if let Some(Lane { next: next @ Next::LookAgain, .. }) = lanes.get_mut(id) {
            *next = Next::Leave;
            return true;
        }
        lanes.remove(id);
        false
    }

    /// A turn begins: what ends it early. For the worker of this lane.
    #[must_use]
    pub fn begin_turn(&self, id: &LaneId) -> CancellationToken {
        let turn = CancellationToken::new();
        if let Some(lane) = self.lock().get_mut(id) {
            lane.turn = turn.clone();
        }
        turn
    }

    /// Ends the turns that run in conversations of a tenant.
    pub fn interrupt_tenant(&self, tenant: Option<&TenantId>) {
        for (_, lane) in self.lock().iter().filter(|((of, _), _)| of.as_ref() == tenant) {
            lane.turn.cancel();
        }
    }

    /// Ends the turn that runs in this conversation, if one does.
    pub fn interrupt(&self, id: &LaneId) {
        if let Some(lane) = self.lock().get(id) {
            lane.turn.cancel();
        }
    }

    /// Lanes in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Is nothing going on?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// A panic elsewhere does not make the map wrong: every change is one assignment.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LaneId, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: &str) -> LaneId {
        (None, SessionKey::parse(key).unwrap())
    }

    #[test]
    fn one_worker_per_conversation() {
        let lanes = Lanes::default();
        assert!(lanes.wake(&id("a")));
        assert!(!lanes.wake(&id("a")));
        assert!(lanes.wake(&id("b")), "another conversation goes on in parallel");
    }

    #[test]
    fn what_comes_during_a_turn_is_seen_by_the_same_worker() {
        let lanes = Lanes::default();
        lanes.wake(&id("a"));
        lanes.wake(&id("a"));
        assert!(lanes.finish(&id("a")), "look once more");
        assert!(!lanes.finish(&id("a")));
        assert!(lanes.is_empty(), "an idle conversation costs nothing");
    }

    #[test]
    fn an_interruption_ends_the_turn_that_runs_and_no_later_one() {
        let lanes = Lanes::default();
        lanes.interrupt(&id("a"));
        lanes.wake(&id("a"));
        let first = lanes.begin_turn(&id("a"));
        lanes.interrupt(&id("b"));
        assert!(!first.is_cancelled());
        lanes.interrupt(&id("a"));
        let second = lanes.begin_turn(&id("a"));
        assert_eq!((first.is_cancelled(), second.is_cancelled()), (true, false));
    }

    #[test]
    fn an_interruption_of_a_tenant_ends_its_turns_alone() {
        let lanes = Lanes::default();
        let ids = [id("webhook:a"), id("webhook:b"), (Some(TenantId::new("42").unwrap()), id("webhook:a").1)];
        let turns = ids.clone().map(|id| {
            lanes.wake(&id);
            lanes.begin_turn(&id)
        });
        lanes.interrupt_tenant(None);
        assert_eq!(turns.each_ref().map(CancellationToken::is_cancelled), [true, true, false]);
        lanes.interrupt_tenant(ids[2].0.as_ref());
        assert!(turns[2].is_cancelled());
    }

    #[test]
    fn the_same_key_in_two_tenants_is_two_lanes() {
        let lanes = Lanes::default();
        let tenant = |id| Some(TenantId::new(id).unwrap());
        assert!(lanes.wake(&(tenant("1"), SessionKey::parse("a").unwrap())));
        assert!(lanes.wake(&(tenant("2"), SessionKey::parse("a").unwrap())));
    }
}
