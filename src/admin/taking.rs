//! A person answers a conversation instead of the worker.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use super::json::time;
use super::operation::{Body, CHANGE, Operation, Query, READ, Sent};
use super::place::{Episode, Named};
use super::reach::Reached;
use crate::gateway::PersonsWords;
use crate::store;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/sessions/taken", READ, "Conversations that people answer", list),
        Operation::post("/api/v1/sessions/take", CHANGE, "Takes a conversation over: the worker does not answer", take),
        Operation::post("/api/v1/sessions/say", CHANGE, "Says something in a conversation that was taken over", say),
        Operation::post("/api/v1/sessions/hand-back", CHANGE, "The worker answers the conversation again", hand_back),
    ]
}

/// A person has a conversation.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Taken {
    /// Name of the account.
    pub(crate) by: String,
    pub(crate) since: String,
    /// When they last took it or said something in it.
    pub(crate) spoke: String,
}

impl Taken {
    pub(crate) fn of(taken: &store::Taken) -> Self {
        Self { by: taken.by.clone(), since: time(taken.since), spoke: time(taken.spoke_at) }
    }
}

/// Conversations that people answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InHands {
    pub(crate) taken: Vec<InHand>,
}

/// One of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InHand {
    pub(crate) key: String,
    /// Null: the owner's own.
    pub(crate) tenant: Option<String>,
    pub(crate) taken: Taken,
}

pub(crate) async fn list(reached: Reached, (): ()) -> Result<InHands, Error> {
    let taken = reached.taken()?.into_iter();
    let taken = taken.map(|(tenant, key, taken)| InHand {
        key: key.to_string(),
        tenant: tenant.map(|tenant| tenant.to_string()),
        taken: Taken::of(&taken),
    });
    Ok(InHands { taken: taken.collect() })
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct FromOthers {
    /// Also when somebody else has it.
    #[serde(default)]
    pub(crate) from_others: bool,
}

/// Whose it is now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TakenSession {
    pub(crate) key: String,
    pub(crate) taken: Taken,
}

pub(crate) async fn take(
    reached: Reached,
    (Query(named), Query(insist)): (Query<Named>, Query<FromOthers>),
) -> Result<TakenSession, Error> {
    let place = named.place(&reached)?;
    if matches!(place.episode(named.episode)?, Episode::Archived(_)) {
        return Err(Error::Conflict(format!("{} is over; restore it first", place.key)));
    }
    let taken = place.of.take(&place.key, insist.from_others).await?;
    place.of.note("take", Some(&place.key));
    Ok(TakenSession { key: place.key.to_string(), taken: Taken::of(&taken) })
}

/// What a person says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Speech {
    pub(crate) text: String,
    /// Position of the last waiting message that was read: what came later is not answered. Absent: all that wait.
    pub(crate) seen: Option<u64>,
    /// The same text twice with the same mark is said once. At most 64 letters, digits, `-` and `_`.
    pub(crate) once: Option<String>,
}

impl Sent for Speech {}

/// What was said.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SaidInSession {
    pub(crate) key: String,
    /// Messages that it answers; 0: it answers none.
    pub(crate) answers: usize,
    /// It was said before, with the same mark.
    pub(crate) repeat: bool,
}

pub(crate) async fn say(
    reached: Reached,
    (Query(named), Body(speech)): (Query<Named>, Body<Speech>),
) -> Result<SaidInSession, Error> {
    let Speech { text, seen, once } = speech;
    let is_mark = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if once.as_ref().is_some_and(|once| once.is_empty() || once.len() > 64 || !once.chars().all(is_mark)) {
        return Err(Error::Query("once: 1 to 64 letters, digits, `-` and `_`".to_owned()));
    }
    let place = named.place(&reached)?;
    let said = place.of.say(&place.key, PersonsWords { text, seen, once }).await?;
    if !said.is_repeat {
        place.of.note("say", Some(&place.key));
    }
    Ok(SaidInSession { key: place.key.to_string(), answers: said.n_answered, repeat: said.is_repeat })
}

/// What the worker answers again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HandedBack {
    pub(crate) key: String,
    /// Messages that it answers first.
    pub(crate) waiting: usize,
}

/// Messages that are counted.
const MAX_COUNTED: usize = 1_000;

pub(crate) async fn hand_back(reached: Reached, Query(named): Query<Named>) -> Result<HandedBack, Error> {
    let place = named.place(&reached)?;
    let waiting = place.session.waiting(MAX_COUNTED)?.len();
    place.of.hand_back(&place.key).await?;
    place.of.note("hand back", Some(&place.key));
    Ok(HandedBack { key: place.key.to_string(), waiting })
}
