//! Why a message goes to the agent it goes to, and the rules that decide it.
//!
//! Who is bound to a tenant asks about messages of that tenant. Of the rules that match one they hear: such a rule is made
//! of their own address and `*`. Of the others they hear of those that are for their tenant alone.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Error;
use super::operation::{Body, MANAGE, Operation, READ, Sent};
use super::place::Named;
use super::reach::Reached;
use crate::account::Reach;
use crate::gateway::{Admission, Bundle, ExplainError, Explained, Gateway, Ground, Numbered};
use crate::id::{API_ENTRY, TenantId};
use crate::message::Identity;
use crate::session::Address;
use crate::store::Speaker;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/routes", READ, "The rules that say who answers, in their order", list),
        Operation::post(
            "/api/v1/routes/explain",
            READ,
            "Which conversation a message is of, whether it is let in and who answers it, and why",
            explain,
        ),
    ]
}

/// An identity bundle (SPEC §7.3). Tenant and workspace come from the entry; without `entry` its own count.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Message {
    /// Type of the channel.
    pub(crate) channel: Option<String>,
    /// Id of the channel entry.
    pub(crate) entry: Option<String>,
    pub(crate) account: Option<String>,
    /// `direct`, `group` or `thread`.
    pub(crate) kind: String,
    /// What a thread hangs on: `direct` or `group`.
    pub(crate) parent_kind: Option<String>,
    pub(crate) server_id: Option<String>,
    pub(crate) channel_id: Option<String>,
    pub(crate) thread_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) workspace_id: Option<String>,
}

impl From<Message> for Bundle {
    fn from(message: Message) -> Self {
        Self {
            channel: message.channel,
            entry: message.entry,
            account: message.account,
            kind: message.kind,
            parent_kind: message.parent_kind,
            server_id: message.server_id,
            channel_id: message.channel_id,
            thread_id: message.thread_id,
            user_id: message.user_id,
            tenant_id: message.tenant_id,
            workspace_id: message.workspace_id,
        }
    }
}

/// A message of a conversation that is kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    /// Session key.
    pub(crate) key: String,
    /// Whose; empty: the owner's own. Needed where several tenants have the key.
    pub(crate) tenant: Option<String>,
    /// Which one under the key; otherwise the live one, or without one the last that was archived.
    pub(crate) episode: Option<u64>,
    /// Position of the line; absent: as its first message.
    pub(crate) line: Option<u64>,
}

/// What is to be explained: one of `address`, `message` and `conversation`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// `channel:server:room[:thread]:user`, with or without `tenant-<id>-` in front.
    pub(crate) address: Option<String>,
    /// What kind of message the address is of; absent: thread with four ids, else direct.
    pub(crate) kind: Option<String>,
    pub(crate) message: Option<Message>,
    pub(crate) conversation: Option<Said>,
    /// Does the message mention the worker? Counts in groups; absent: yes.
    pub(crate) mentioned: Option<bool>,
    /// These rules instead of those in use. For administrators of everything.
    pub(crate) routing: Option<Vec<String>>,
}

impl Sent for Question {
    const MAX_BYTES: usize = 512 * 1024;
}

/// What becomes of a message, and why.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Explanation {
    /// With the tenant in front.
    pub(crate) address: String,
    /// `direct`, `group` or `thread`.
    pub(crate) kind: String,
    /// Its conversation; null: it has none, and is set aside.
    pub(crate) session_key: Option<String>,
    /// The rule that named the conversation.
    pub(crate) rule: Option<String>,
    /// Why it has no conversation.
    pub(crate) error: Option<String>,
    pub(crate) admission: Admitted,
    /// Who answers.
    pub(crate) agent: String,
    /// The rule that decides it; null: none matches, and a default agent answers.
    pub(crate) route: Option<RuleRow>,
    /// Those that match too and come later, in their order.
    pub(crate) later: Vec<RuleRow>,
}

/// Whether a message is let in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Admitted {
    pub(crate) verdict: AdmissionWord,
    /// Why not.
    pub(crate) reason: Option<&'static str>,
}

/// Whether a message is let in, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AdmissionWord {
    /// It is answered.
    Admitted,
    /// It is not for the worker, and nobody is told.
    Ignored,
    /// The channel's policy keeps it out.
    Refused,
    /// The one who writes must be approved first.
    Pairing,
    /// There is no such channel entry.
    Unknown,
}

/// A rule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleRow {
    /// Its place in the order, from 1; null for those who do not see all of them.
    pub(crate) number: Option<usize>,
    /// `pattern -> agent`.
    pub(crate) route: String,
    pub(crate) pattern: String,
    pub(crate) agent: String,
    /// Why it can never match, if so.
    pub(crate) idle: Option<String>,
}

/// The rules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rules {
    /// In their order: the first that matches decides.
    pub(crate) routes: Vec<RuleRow>,
    /// Who answers what none of them matches.
    pub(crate) default_agent: String,
    /// Tenants with another one.
    pub(crate) tenants: Vec<DefaultAgent>,
    /// For a change of the rules: digest of the configuration in use. Null: there is no file, or they may not change it.
    pub(crate) base: Option<String>,
}

/// Who answers a tenant where no rule matches.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DefaultAgent {
    pub(crate) tenant: String,
    pub(crate) agent: String,
}

pub(crate) async fn list(reached: Reached, (): ()) -> Result<Rules, Error> {
    let ground = reached.ground();
    let router = ground.router();
    let own = own(&reached);
    let front = own.as_ref().map(|own| Address::parse(&prefix(own)));
    let idle = reached.idle_routes();
    let routes = router.routes.iter().enumerate().filter(|(_, route)| match &front {
        None => true,
        Some(front) => front.as_ref().is_some_and(|front| route.is_only_for_tenant_of(front)),
    });
    let routes = routes.map(|(number, route)| {
        let idle = idle.iter().find(|(idle, _)| *idle == number).map(|(_, why)| why.clone());
        // The warning names the rule that is in its way, which may be another's.
        let idle = idle.filter(|_| own.is_none());
        RuleRow { idle, ..row(&reached, Numbered { number, route }) }
    });
    let mut tenants: Vec<DefaultAgent> = router
        .tenants
        .iter()
        .filter(|(tenant, _)| own.as_ref().is_none_or(|own| own == *tenant))
        .map(|(tenant, agent)| DefaultAgent { tenant: tenant.to_string(), agent: agent.to_string() })
        .collect();
    tenants.sort_by(|one, other| one.tenant.cmp(&other.tenant));
    let default_agent = router.default_of(own.as_ref()).to_string();
    let base = reached.whole(MANAGE).ok().and_then(Gateway::config_digest);
    Ok(Rules { routes: routes.collect(), default_agent, tenants, base })
}

pub(crate) async fn explain(reached: Reached, Body(question): Body<Question>) -> Result<Explanation, Error> {
    let ground = match &question.routing {
        None => reached.ground(),
        Some(routing) => {
            reached.whole(MANAGE)?;
            reached.ground().with_routes(routing).map_err(Error::from)?
        }
    };
    let mentioned = question.mentioned.unwrap_or(true);
    match (question.address, question.message, question.conversation) {
        (Some(text), None, None) => of_address(&reached, &ground, &text, question.kind, mentioned),
        (None, Some(message), None) => {
            let identity = ground.identity(message.into())?;
            of_identity(&reached, &ground, &identity, mentioned)
        }
        (None, None, Some(said)) => of_line(&reached, &ground, said, mentioned),
        _ => Err(Error::Query("name one of address, message and conversation".to_owned())),
    }
}

fn of_address(
    reached: &Reached,
    ground: &Ground,
    text: &str,
    kind: Option<String>,
    mentioned: bool,
) -> Result<Explanation, Error> {
    let text = match own(reached) {
        // They need not know how the gateway calls them.
        Some(own) if !text.starts_with("tenant-") => format!("{}{text}", prefix(&own)),
        _ => text.to_owned(),
    };
    let address = Address::parse(&text).ok_or_else(|| ExplainError::Address(text.clone()))?;
    let tenant = address.tenant().and_then(|tenant| TenantId::new(tenant).ok());
    check_reach(reached, tenant.as_ref())?;
    let bundle = ground.bundle(&address, kind);
    let kind = bundle.kind.clone();
    let identity = ground.identity(bundle);
    let admission = match &identity {
        Ok(identity) => admission(reached, ground, identity, mentioned)?,
        Err(_) => shown(&Admission::NoEntry),
    };
    let explained = ground.explain_address(&address, identity);
    Ok(explanation(reached, &kind, explained, admission))
}

fn of_identity(reached: &Reached, ground: &Ground, identity: &Identity, mentioned: bool) -> Result<Explanation, Error> {
    check_reach(reached, identity.tenant.as_ref())?;
    let admission = admission(reached, ground, identity, mentioned)?;
    Ok(explanation(reached, identity.kind.as_str(), ground.explain(identity), admission))
}

fn of_line(reached: &Reached, ground: &Ground, said: Said, mentioned: bool) -> Result<Explanation, Error> {
    let place = Named { key: said.key, tenant: said.tenant, episode: said.episode }.place(reached)?;
    let episode = place.episode(said.episode)?;
    let mut identity = episode.row().identity();
    if let Some(line) = said.line {
        let found = episode.lines_after(line.saturating_sub(1), 1)?.into_iter().find(|found| found.seq == line);
        let found = found.ok_or_else(|| Error::NotFound(format!("{} has no line {line}", place.key)))?;
        match found.speaker {
            Speaker::Peer { user, .. } => identity.user = user.or(identity.user),
            Speaker::Agent(_) | Speaker::Person(_) => {}
        }
    }
    place.of.note_look("explain", Some(&place.key));
    of_identity(reached, ground, &identity, mentioned)
}

/// The tenant that they are bound to.
fn own(reached: &Reached) -> Option<TenantId> {
    match &reached.who().reach {
        Reach::All => None,
        Reach::Tenant(own) => Some(own.clone()),
    }
}

/// What the addresses of a tenant begin with.
fn prefix(tenant: &TenantId) -> String {
    let api = crate::id::ChannelType::new(API_ENTRY).map(|api| Address::front(Some(tenant), &api));
    api.map(|front| front.tenant_prefix().to_owned()).unwrap_or_default()
}

/// Whatever there may be of others, the answer is this one.
fn check_reach(reached: &Reached, tenant: Option<&TenantId>) -> Result<(), Error> {
    if reached.who().reaches(tenant) {
        return Ok(());
    }
    Err(Error::NotFound("this is no address of your tenant; leave the tenant out, or write your own".to_owned()))
}

fn admission(reached: &Reached, ground: &Ground, identity: &Identity, mentioned: bool) -> Result<Admitted, Error> {
    let explained = ground.explain(identity);
    Ok(shown(&reached.admission(identity, explained.resolved.as_ref().ok(), mentioned)?))
}

fn shown(admission: &Admission) -> Admitted {
    let (verdict, reason) = match admission {
        Admission::Admitted => (AdmissionWord::Admitted, None),
        Admission::Ignored(why) => (AdmissionWord::Ignored, Some(*why)),
        Admission::Refused(why) => (AdmissionWord::Refused, Some(*why)),
        Admission::Pairing => (AdmissionWord::Pairing, Some("this peer or group must be approved first")),
        Admission::NoEntry => (AdmissionWord::Unknown, Some("there is no such channel entry")),
    };
    Admitted { verdict, reason }
}

fn explanation(reached: &Reached, kind: &str, explained: Explained<'_>, admission: Admitted) -> Explanation {
    let (resolved, error) = match explained.resolved {
        Ok(resolved) => (Some(resolved), None),
        Err(error) => (None, Some(error)),
    };
    Explanation {
        address: explained.address,
        kind: kind.to_owned(),
        session_key: resolved.as_ref().map(|resolved| resolved.session_key.to_string()),
        rule: resolved.map(|resolved| resolved.rule.to_string()),
        error,
        admission,
        agent: explained.agent.to_string(),
        route: explained.route.map(|route| row(reached, route)),
        later: explained.later.into_iter().map(|route| row(reached, route)).collect(),
    }
}

fn row(reached: &Reached, Numbered { number, route }: Numbered<'_>) -> RuleRow {
    RuleRow {
        number: matches!(reached.who().reach, Reach::All).then_some(number.saturating_add(1)),
        route: route.as_str().to_owned(),
        pattern: route.pattern().to_owned(),
        agent: route.agent().to_string(),
        idle: None,
    }
}

impl From<ExplainError> for Error {
    fn from(error: ExplainError) -> Self {
        match error {
            ExplainError::NoEntry(_) => Self::NotFound(error.to_string()),
            error => Self::Query(error.to_string()),
        }
    }
}
