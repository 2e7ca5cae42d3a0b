//! Updates: which version runs, what there is, and what the updater is asked for. It is another program, often of another
//! user: it says how it is in a file, and is asked in a file. Nothing is installed here.

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Error;
use super::json::time;
use super::operation::{INSPECT, MANAGE, Operation, OptionalBody, Sent};
use super::reach::Reached;
use crate::clock::Timestamp;
use crate::gateway::Gateway;
use crate::update::{
    Cause, Doing, Event, Installation, Known, Progress, Request, STATE_VARIABLE, Severity, Version, Want, Why,
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/updates", INSPECT, "Which version runs, and what the updater does", show),
        Operation::post("/api/v1/updates/check", MANAGE, "Asks the updater to look for a newer version", check),
        Operation::post("/api/v1/updates/install", MANAGE, "Asks the updater to install what there is, now", install),
        Operation::post("/api/v1/updates/rollback", MANAGE, "Asks the updater for the previous version", rollback),
    ]
}

/// How updates are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Updates {
    /// Of this program.
    pub(crate) running: String,
    /// Since when, if the updater brought it.
    pub(crate) since: Option<String>,
    /// `sd-boot` and `uboot`: two slots; `program`: a file that is replaced; `package`: the system's packages bring it.
    pub(crate) installation: String,
    /// Is there an updater? Without one nobody takes what is asked for.
    pub(crate) set_up: bool,
    /// All of it in one sentence.
    pub(crate) text: String,
    /// What the updater does or waits for, in a word.
    pub(crate) state: String,
    /// Does that change by itself in a moment?
    pub(crate) busy: bool,
    /// The version that this is about.
    pub(crate) version: Option<String>,
    /// Bytes that are downloaded.
    pub(crate) have: Option<u64>,
    /// Of so many.
    pub(crate) of: Option<u64>,
    /// What could be installed.
    pub(crate) offer: Option<UpdateOffer>,
    /// When the repository was last asked; null: never.
    pub(crate) checked: Option<String>,
    /// Why that did not work.
    pub(crate) problem: Option<String>,
    /// How updates ended, the latest first.
    pub(crate) outcomes: Vec<UpdateOutcome>,
    /// What was asked for last.
    pub(crate) request: Option<UpdateRequest>,
    /// The version that `rollback` would bring back.
    pub(crate) previous: Option<String>,
    /// Are updates installed without asking?
    pub(crate) auto: bool,
    /// Then when, on the clock of the business; null: at any time.
    pub(crate) window: Option<String>,
}

/// A version that can be had.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UpdateOffer {
    pub(crate) version: String,
    /// What is downloaded.
    pub(crate) bytes: u64,
    /// `normal`, or `security`: it closes a hole.
    pub(crate) severity: &'static str,
    /// What is new, as the release says it.
    pub(crate) notes: String,
}

/// How an update ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UpdateOutcome {
    pub(crate) at: String,
    /// `installed`, `fell_back`, `interrupted`, `not_installed`, `went_back`, or what a newer updater calls it.
    pub(crate) event: String,
    /// In one sentence.
    pub(crate) text: String,
}

/// What the updater was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UpdateRequest {
    pub(crate) id: String,
    /// `check`, `install` or `rollback`.
    pub(crate) want: &'static str,
    /// `asked`: the updater has not answered; `taken`, `done` or `refused`.
    pub(crate) state: &'static str,
    /// Why it was refused.
    pub(crate) why: Option<String>,
}

/// What is to be installed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateWanted {
    /// Only this version; absent: the newest.
    version: Option<String>,
}

impl Sent for UpdateWanted {}

/// The updater was asked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UpdateAsked {
    /// `request.id` of the answer.
    pub(crate) id: String,
}

/// What is known of updates here.
///
/// # Errors
/// When they may not know.
pub(crate) fn known(reached: &Reached) -> Result<Known, Error> {
    Ok(look(reached.whole(INSPECT)?))
}

fn look(gateway: &Gateway) -> Known {
    Known::look(gateway.home(), gateway.variables().get(STATE_VARIABLE).as_deref())
}

/// One sentence for `status`; `None`: there is no updater.
pub(super) fn sentence(gateway: &Gateway) -> Option<String> {
    let known = look(gateway);
    known.is_set_up.then(|| known.report.to_string())
}

/// Since when this version runs, as far as the updater brought it.
pub(crate) fn since(known: &Known) -> Option<Timestamp> {
    let own = Version::of_program();
    let outcome = known.report.outcomes.iter().find(|outcome| match outcome.event {
        Event::Installed { to, .. } | Event::WentBack { to, .. } => to == own,
        _ => false,
    });
    outcome.map(|outcome| Timestamp(outcome.at_ms))
}

pub(crate) async fn show(reached: Reached, (): ()) -> Result<Updates, Error> {
    let gateway = reached.whole(INSPECT)?;
    let known = look(gateway);
    let (auto, window) = gateway.settings(|settings| (settings.updates.auto, settings.updates.window));
    let report = &known.report;
    let (version, have, of) = match &report.state {
        Doing::Downloading { version, have, of } => (Some(*version), Some(*have), Some(*of)),
        Doing::Failed { version, .. } => (*version, None, None),
        Doing::Available { version }
        | Doing::Later { version, .. }
        | Doing::WaitingForWindow { version, .. }
        | Doing::Installing { version }
        | Doing::RestartPending { version }
        | Doing::Trial { version, .. }
        | Doing::GoingBack { version } => (Some(*version), None, None),
        Doing::Unknown | Doing::UpToDate | Doing::Checking | Doing::Other { .. } => (None, None, None),
    };
    Ok(Updates {
        running: env!("CARGO_PKG_VERSION").to_owned(),
        since: since(&known).map(time),
        installation: word(&report.installation),
        set_up: known.is_set_up,
        text: if known.is_set_up { report.to_string() } else { NO_UPDATER.to_owned() },
        state: code(&report.state),
        busy: report.is_busy(),
        version: version.map(|version| version.to_string()),
        have,
        of,
        offer: report.offer.as_ref().map(|offer| UpdateOffer {
            version: offer.version.to_string(),
            bytes: offer.bytes,
            severity: match offer.severity {
                Severity::Normal => "normal",
                Severity::Security => "security",
            },
            notes: offer.notes.clone(),
        }),
        checked: report.checked.as_ref().map(|checked| time(Timestamp(checked.at_ms))),
        problem: report.checked.as_ref().and_then(|checked| checked.problem.as_ref()).map(Why::to_string),
        outcomes: report
            .outcomes
            .iter()
            .map(|outcome| UpdateOutcome {
                at: time(Timestamp(outcome.at_ms)),
                event: code(&outcome.event),
                text: outcome.to_string(),
            })
            .collect(),
        request: request(&known),
        previous: report.way_back.map(|version| version.to_string()),
        auto,
        window: window.map(|window| window.to_string()),
    })
}

const NO_UPDATER: &str = "no updater is set up here, so nothing looks for newer versions; see docs/updates.md";

/// How the files spell a word without more to it.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// How the files spell what there is more to.
fn code(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.get("code").and_then(|code| code.as_str()).unwrap_or_default().to_owned()
}

fn request(known: &Known) -> Option<UpdateRequest> {
    let want = |want| match want {
        Want::Check => "check",
        Want::Install => "install",
        Want::Rollback => "rollback",
    };
    if let Some(asked) = &known.unanswered {
        return Some(UpdateRequest { id: asked.id.clone(), want: want(asked.want), state: "asked", why: None });
    }
    known.report.request.as_ref().map(|answer| UpdateRequest {
        id: answer.id.clone(),
        want: want(answer.want),
        state: match answer.state {
            Progress::Taken => "taken",
            Progress::Done => "done",
            Progress::Refused => "refused",
        },
        why: answer.why.as_ref().map(Why::to_string),
    })
}

pub(crate) async fn check(reached: Reached, (): ()) -> Result<UpdateAsked, Error> {
    ask(&reached, Want::Check, None)
}

pub(crate) async fn install(
    reached: Reached,
    OptionalBody(wanted): OptionalBody<UpdateWanted>,
) -> Result<UpdateAsked, Error> {
    let version = wanted.and_then(|wanted| wanted.version);
    let version = version.map(|version| version.parse::<Version>()).transpose().map_err(Error::Query)?;
    ask(&reached, Want::Install, version)
}

/// Only this version, which somebody saw on a page: another one may be there by now.
pub(crate) async fn install_version(reached: Reached, version: Version) -> Result<UpdateAsked, Error> {
    ask(&reached, Want::Install, Some(version))
}

pub(crate) async fn rollback(reached: Reached, (): ()) -> Result<UpdateAsked, Error> {
    ask(&reached, Want::Rollback, None)
}

/// Leaves the request where the updater finds it. What is certainly in vain is refused here, with what to do instead.
fn ask(reached: &Reached, want: Want, version: Option<Version>) -> Result<UpdateAsked, Error> {
    let gateway = reached.whole(MANAGE)?;
    let known = look(gateway);
    if let Some(why) = in_vain(&known, want) {
        return Err(Error::Conflict(why));
    }
    let unavailable = |what: String| Error::Unavailable(format!("the updater could not be asked: {what}; try again"));
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_unspecified| unavailable("there are no random numbers".to_owned()))?;
    let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let by = reached.who().name.clone();
    let request = Request { id: id.clone(), want, version, by, at_ms: gateway.now().0 };
    request.write(gateway.home()).map_err(|error| unavailable(error.to_string()))?;
    let action = match want {
        Want::Check => "check for updates",
        Want::Install => "install update",
        Want::Rollback => "roll back update",
    };
    reached.note_name(action, &version.map(|version| version.to_string()).unwrap_or_default());
    Ok(UpdateAsked { id })
}

fn in_vain(known: &Known, want: Want) -> Option<String> {
    let report = &known.report;
    let why = match want {
        _ if !known.is_set_up => NO_UPDATER.to_owned(),
        _ if report.is_busy() => format!("{}; wait until that is over", Why::of(Cause::Busy)),
        Want::Install if report.installation == Installation::Package => {
            "this is a package of the system, which brings new versions; install them as those of other packages"
                .to_owned()
        }
        Want::Install if report.offer.is_none() => {
            "there is no newer version to install; look for one first".to_owned()
        }
        Want::Rollback if report.way_back.is_none() => format!("{}", Why::of(Cause::NoWayBack)),
        Want::Check | Want::Install | Want::Rollback => return None,
    };
    Some(why)
}
