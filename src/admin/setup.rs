//! The setup: six questions, each saved at once, in the configuration. What was asked is noted beside it, so that whoever
//! leaves comes back to the next one, from any browser.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::agents;
use super::change::{base, change};
use super::error::Error;
use super::operation::{Body, MANAGE, Name, Operation, Sent};
use super::providers::{self, Probe, Probed, ProviderKind};
use super::reach::Reached;
use super::secrets;
use crate::account::Who;
use crate::browser::Language;
use crate::business::{Business, Days, Hours, Kind, Span, WEEK, Zone, is_persona, persona};
use crate::channel::registry;
use crate::config::Change;
use crate::config::edit::Value;
use crate::document::Secret;
use crate::gateway::{Gateway, Question, SetupState};
use crate::provider::probe::Dialect;

/// What the setup calls the provider that it makes.
const PROVIDER: &str = "main";
/// Where the key of the model is kept.
const MODEL_KEY: &str = "MODEL_KEY";
/// Where the password of the mailbox is kept.
const SMTP_PASSWORD: &str = "SMTP_PASSWORD";
/// The servers of the vendors with keys.
const OPENAI: &str = "https://api.openai.com/v1";
const ANTHROPIC: &str = "https://api.anthropic.com";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/setup", MANAGE, "How far the setup is, and what was answered", show),
        Operation::put("/api/v1/setup/business", MANAGE, "Answers what the business is called and does", business),
        Operation::put("/api/v1/setup/hours", MANAGE, "Answers whose clock it goes by and when it is open", hours),
        Operation::put("/api/v1/setup/model", MANAGE, "Answers what thinks, if it answers", model),
        Operation::put("/api/v1/setup/channel", MANAGE, "Answers where people write first: in the web chat", channel),
        Operation::put("/api/v1/setup/alerts", MANAGE, "Answers who is told by e-mail when something is wrong", alerts),
        Operation::put(
            "/api/v1/setup/updates",
            MANAGE,
            "Answers whether updates may be installed by themselves",
            updates,
        ),
        Operation::post("/api/v1/setup/skip/{name}", MANAGE, "Leaves a question of the setup as it is", skip),
        Operation::post("/api/v1/setup/over", MANAGE, "Ends the setup, or puts it off", over),
    ]
}

/// How far the setup is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SetupShown {
    /// Is whoever logs in asked to go on with it?
    pub(crate) wanted: bool,
    /// Questions that were answered or skipped.
    pub(crate) asked: Vec<&'static str>,
    /// The next one; null: all were asked.
    pub(crate) next: Option<&'static str>,
    pub(crate) business: BusinessAnswer,
    pub(crate) hours: HoursAnswer,
    pub(crate) model: ModelShown,
    /// Web chats, as paths.
    pub(crate) chats: Vec<String>,
    pub(crate) alerts: AlertsShown,
    pub(crate) updates: UpdatesAnswer,
}

/// What the business is called, and what it does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BusinessAnswer {
    pub(crate) name: Option<String>,
    /// `blank`, `dental_practice` or `estate_agency`. The worker gets a persona for it, unless somebody has written one.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// `en` or `de`.
    pub(crate) language: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) phone: Option<String>,
}

impl Sent for BusinessAnswer {}

/// Whose clock it goes by, and when it is open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoursAnswer {
    /// Of the IANA database.
    pub(crate) time_zone: Option<String>,
    /// Seven days from Monday on, each with spans like `08:00-12:30`; absent: nothing is known.
    pub(crate) week: Option<Vec<Vec<String>>>,
    /// Days on which it is closed, as in `2026-12-24` or `2026-12-24/2027-01-01`.
    #[serde(default)]
    pub(crate) closed: Vec<String>,
}

impl Sent for HoursAnswer {}

/// What shall think.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelAnswer {
    pub(crate) source: ModelSource,
    /// Of a server: a host, a host and a port, or an address of the web.
    pub(crate) address: Option<String>,
    /// Absent: the one that is kept, where the server stays the same.
    pub(crate) key: Option<String>,
    /// Absent: the first that chats.
    pub(crate) model: Option<String>,
}

impl Sent for ModelAnswer {}

/// Where a model is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ModelSource {
    /// At `OpenAI`.
    #[serde(rename = "openai")]
    OpenAi,
    /// At Anthropic.
    Anthropic,
    /// On a server, often in the same network.
    Server,
    /// Nowhere: answers come from rules.
    #[default]
    Demo,
}

/// What thinks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelShown {
    pub(crate) source: ModelSource,
    pub(crate) address: Option<String>,
    pub(crate) model: Option<String>,
    /// Is a key kept?
    pub(crate) has_key: bool,
    /// What the server had when it was looked.
    pub(crate) models: Vec<String>,
}

/// A web chat.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelAnswer {
    /// The name above the conversation; absent: as it is.
    pub(crate) title: Option<String>,
}

impl Sent for ChannelAnswer {}

/// Who is told by e-mail. Without an address nobody is.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertsAnswer {
    pub(crate) email: Option<String>,
    /// The server that takes e-mails; absent: the one that the provider of the mailbox is known to have.
    pub(crate) server: Option<String>,
    pub(crate) port: Option<u16>,
    /// `tls`, `starttls` or `none`.
    pub(crate) security: Option<String>,
    /// Who logs in; absent: the address.
    pub(crate) user: Option<String>,
    /// Absent: the one that is kept.
    pub(crate) password: Option<String>,
}

impl Sent for AlertsAnswer {}

/// Who is told by e-mail.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct AlertsShown {
    pub(crate) email: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) security: Option<&'static str>,
    pub(crate) user: Option<String>,
    /// Is a password kept?
    pub(crate) has_password: bool,
}

/// What the owner wants of updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdatesAnswer {
    pub(crate) auto: bool,
    /// Like `03:00-05:00`; absent: at any time.
    pub(crate) window: Option<String>,
}

impl Sent for UpdatesAnswer {}

/// Is the setup done, or put off?
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetupOver {
    /// False: it is asked for again.
    pub(crate) over: bool,
}

impl Sent for SetupOver {}

/// An answer was kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answered {
    /// The next question; null: all were asked.
    pub(crate) next: Option<&'static str>,
}

/// An answer was kept, or not, as the model says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelAnswered {
    /// Only a model that answers is kept.
    pub(crate) kept: bool,
    /// What was found; null: the demo was chosen.
    pub(crate) found: Option<Probed>,
}

pub(crate) async fn show(reached: Reached, (): ()) -> Result<SetupShown, Error> {
    let gateway = reached.whole(MANAGE)?;
    let state = gateway.setup().unwrap_or_default();
    let asked = state.asked.iter().map(|question| question.as_str()).collect();
    let known = gateway.settings(|settings| settings.business.clone()).unwrap_or_default();
    let (alerts, updates) = gateway.settings(|settings| (settings.alerts.clone(), settings.updates.clone()));
    let email = alerts.email.as_ref();
    Ok(SetupShown {
        wanted: gateway.wants_setup(),
        asked,
        next: next(&state),
        business: BusinessAnswer {
            name: known.name.clone(),
            kind: gateway.settings(|settings| settings.business.is_some()).then(|| known.kind.as_str().to_owned()),
            language: known.language.map(|language| language.code().to_owned()),
            address: known.address.clone(),
            phone: known.phone.clone(),
        },
        hours: hours_of(&known),
        model: model_of(gateway, state.models),
        chats: gateway.chat_pages(),
        alerts: AlertsShown {
            email: email.and_then(|email| email.to.first()).map(ToString::to_string),
            server: email.map(|email| email.host.clone()),
            port: email.map(|email| email.port),
            security: email.map(|email| email.security.as_str()),
            user: email.and_then(|email| email.login.as_ref()).map(|(user, _)| user.clone()),
            has_password: email.is_some_and(|email| email.login.is_some()),
        },
        updates: UpdatesAnswer { auto: updates.auto, window: updates.window.map(|window| window.to_string()) },
    })
}

fn hours_of(business: &Business) -> HoursAnswer {
    let day = |hours: &Hours, day| hours.of_weekday(day).iter().map(Span::to_string).collect();
    HoursAnswer {
        time_zone: business.time_zone.as_ref().map(|zone| zone.name().to_owned()),
        week: business.hours.as_ref().map(|hours| WEEK.into_iter().map(|weekday| day(hours, weekday)).collect()),
        closed: business.hours.iter().flat_map(Hours::closed).map(Days::to_string).collect(),
    }
}

/// The provider of the worker that answers what nobody else does.
fn provider_of(gateway: &Gateway) -> Option<String> {
    let agent = gateway.agents().into_iter().find(|agent| agent.is_default);
    agent.map(|agent| agent.provider)
}

fn model_of(gateway: &Gateway, models: Vec<String>) -> ModelShown {
    let asked = provider_of(gateway).and_then(|provider| gateway.probe_of(&provider, None));
    let Some(asked) = asked else {
        return ModelShown {
            source: ModelSource::Demo,
            address: None,
            model: None,
            has_key: false,
            models: Vec::new(),
        };
    };
    let address = asked.address.trim_end_matches('/');
    ModelShown {
        source: match (asked.dialect, address) {
            (_, OPENAI) => ModelSource::OpenAi,
            (Some(Dialect::Anthropic), ANTHROPIC) => ModelSource::Anthropic,
            _ => ModelSource::Server,
        },
        address: Some(address.to_owned()),
        model: asked.model,
        has_key: asked.key.is_some(),
        models,
    }
}

fn next(state: &SetupState) -> Option<&'static str> {
    let open = Question::ALL.into_iter().find(|(_, question)| !state.asked.contains(question));
    open.map(|(word, _)| word)
}

/// Makes the changes of an answer and notes that it was given. With every one, people are kept apart.
async fn keep(reached: &Reached, question: Question, mut changes: Vec<Change>) -> Result<Answered, Error> {
    changes.insert(0, Change::set("session.dm_scope", "per-channel-peer"));
    change(reached, base(reached)?.as_deref(), &changes).await?;
    asked(reached, question)
}

fn asked(reached: &Reached, question: Question) -> Result<Answered, Error> {
    let gateway = reached.whole(MANAGE)?;
    note(gateway, |state| {
        state.asked.insert(question);
    })?;
    Ok(Answered { next: next(&gateway.setup().unwrap_or_default()) })
}

fn note(gateway: &Gateway, change: impl FnOnce(&mut SetupState)) -> Result<(), Error> {
    gateway.change_setup(change).map_err(|error| {
        Error::Unavailable(format!("it cannot be noted how far the setup is: {error}; make room on the disk"))
    })
}

/// An absent or empty text takes the key out.
fn set_or_remove(path: &str, text: Option<&str>) -> Change {
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => Change::set(path, Value::literal(text)),
        None => Change::remove(path),
    }
}

pub(crate) async fn business(reached: Reached, Body(answer): Body<BusinessAnswer>) -> Result<Answered, Error> {
    let BusinessAnswer { name, kind, language, address, phone } = answer;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let known = Kind::ALL.into_iter().find(|(word, _)| *word == text(&kind)).map(|(_, kind)| kind);
    let changes = vec![
        set_or_remove("business.name", name.as_deref()),
        Change::set("business.type", kind.as_deref().unwrap_or("blank")),
        set_or_remove("business.language", language.as_deref()),
        set_or_remove("business.address", address.as_deref()),
        set_or_remove("business.phone", phone.as_deref()),
    ];
    let answered = keep(&reached, Question::Business, changes).await?;
    let spoken = Language::ALL.into_iter().find(|known| known.code() == text(&language)).unwrap_or(Language::English);
    write_persona(&reached, known.unwrap_or_default(), spoken).await?;
    Ok(answered)
}

/// Gives the worker that answers a persona for this kind of business, unless somebody has written in the one that it has.
async fn write_persona(reached: &Reached, kind: Kind, language: Language) -> Result<(), Error> {
    let gateway = reached.whole(MANAGE)?;
    let Some(agent) = gateway.agents().into_iter().find(|agent| agent.is_default) else { return Ok(()) };
    let name = agent.config.name.to_string();
    let Some(text) = agents::persona_of(reached, &name)? else {
        return agents::put_persona(reached, &name, persona(kind, language)).await;
    };
    match is_persona(&text) && text != persona(kind, language) {
        true => agents::put_persona(reached, &name, persona(kind, language)).await,
        false => Ok(()),
    }
}

pub(crate) async fn hours(reached: Reached, Body(answer): Body<HoursAnswer>) -> Result<Answered, Error> {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let HoursAnswer { time_zone, week, closed } = answer;
    if let Some(name) = &time_zone {
        Zone::new(name).map_err(Error::Unusable)?;
    }
    let texts = |texts: Vec<String>| Value::List(texts.iter().map(|text| Value::literal(text)).collect());
    let mut changes = vec![set_or_remove("business.time_zone", time_zone.as_deref())];
    changes.push(match closed.is_empty() {
        true => Change::remove("business.closed"),
        false => Change::set("business.closed", texts(closed)),
    });
    match week {
        Some(week) if week.len() == DAYS.len() => {
            let days = DAYS.into_iter().zip(week);
            changes.extend(days.map(|(day, spans)| Change::set(format!("business.hours.{day}"), texts(spans))));
        }
        Some(_) => return Err(Error::Query("week has seven days, from Monday on".to_owned())),
        None => changes.push(Change::remove("business.hours")),
    }
    keep(&reached, Question::Hours, changes).await
}

pub(crate) async fn model(reached: Reached, Body(answer): Body<ModelAnswer>) -> Result<ModelAnswered, Error> {
    let gateway = reached.whole(MANAGE)?;
    let ModelAnswer { source, address, key, model } = answer;
    let key = key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
    let before = model_of(gateway, Vec::new());
    let (address, kind) = match source {
        ModelSource::Demo => {
            let changes = match before.source {
                ModelSource::Demo => Vec::new(),
                _ => provider_changes(gateway, vec![("kind", Some(Value::from("demo")))]),
            };
            keep(&reached, Question::Model, changes).await?;
            note(gateway, |state| state.models.clear())?;
            return Ok(ModelAnswered { kept: true, found: None });
        }
        ModelSource::OpenAi => (OPENAI.to_owned(), Some(ProviderKind::OpenAi)),
        ModelSource::Anthropic => (ANTHROPIC.to_owned(), Some(ProviderKind::Anthropic)),
        ModelSource::Server => (address.unwrap_or_default(), None),
    };
    // A key goes to no other server than the one that it was given for.
    let is_same = before.address.as_deref() == Some(address.trim_end_matches('/')) && before.has_key && key.is_none();
    let probe = match provider_of(gateway).filter(|_| is_same) {
        Some(provider) => Probe { provider: Some(provider), model, ..Probe::default() },
        None => Probe { address: Some(address), kind, key: key.clone(), model, provider: None },
    };
    let found = providers::probe(reached.clone(), Body(probe)).await?;
    let (Some(base_url), Some(model), true) = (&found.base_url, &found.model, found.works) else {
        return Ok(ModelAnswered { kept: false, found: Some(found) });
    };
    if let Some(key) = &key {
        secrets::keep(&reached, MODEL_KEY, &Secret::new(key.clone())).await?;
    }
    let kind = match found.kind {
        ProviderKind::OpenAi => "openai",
        ProviderKind::Anthropic => "anthropic",
    };
    let mut keys = vec![
        ("kind", Some(Value::from(kind))),
        ("base_url", Some(Value::literal(base_url))),
        ("model", Some(Value::literal(model))),
    ];
    match (key.is_some(), is_same) {
        (true, _) => keys.push(("api_key", Some(Value::from(format!("${{{MODEL_KEY}}}"))))),
        (false, true) => {}
        (false, false) => keys.push(("api_key", None)),
    }
    let changes = provider_changes(gateway, keys);
    keep(&reached, Question::Model, changes).await?;
    note(gateway, |state| state.models.clone_from(&found.models))?;
    Ok(ModelAnswered { kept: true, found: Some(found) })
}

/// Changes the provider of the worker that answers, or makes one. A key without a value is taken out.
fn provider_changes(gateway: &Gateway, keys: Vec<(&str, Option<Value>)>) -> Vec<Change> {
    let has_any = gateway.settings(crate::config::Settings::has_providers);
    match provider_of(gateway).filter(|_| has_any) {
        Some(provider) => {
            let provider = crate::config::edit::quoted(&provider);
            let change = |(key, value): (&str, Option<Value>)| {
                let path = format!("providers[name={provider}].{key}");
                match value {
                    Some(value) => Change::set(path, value),
                    None => Change::remove(path),
                }
            };
            keys.into_iter().map(change).collect()
        }
        None => {
            let name = [("name", Some(Value::from(PROVIDER)))];
            vec![Change::append("providers", Value::table(name.into_iter().chain(keys)))]
        }
    }
}

pub(crate) async fn channel(reached: Reached, Body(answer): Body<ChannelAnswer>) -> Result<Answered, Error> {
    let gateway = reached.whole(MANAGE)?;
    let page = registry::TYPES.iter().find(|kind| kind.descriptor.has_page);
    let Some(page) = page.map(|kind| kind.descriptor.type_name) else { return asked(&reached, Question::Channel) };
    let title = answer.title.as_deref().map(str::trim).filter(|title| !title.is_empty());
    let own = gateway.channels(&Who::console())?;
    let own = own.into_iter().find(|entry| entry.path.starts_with("/chat/") && entry.tenant.is_none());
    if let Some(entry) = own {
        let key = |key: &str| format!("channels[id={}].{key}", crate::config::edit::quoted(&entry.id));
        let mut changes = vec![Change::set(key("type"), page)];
        changes.extend(title.map(|title| Change::set(key("title"), Value::literal(title))));
        match keep(&reached, Question::Channel, changes).await {
            // It is the one that is in no file.
            Err(Error::NotFound(_)) => {}
            answered => return answered,
        }
    }
    let entry = [("type", Some(Value::from(page))), ("title", title.map(Value::literal))];
    keep(&reached, Question::Channel, vec![Change::append("channels", Value::table(entry))]).await
}

pub(crate) async fn alerts(reached: Reached, Body(answer): Body<AlertsAnswer>) -> Result<Answered, Error> {
    let AlertsAnswer { email, server, port, security, user, password } = answer;
    let text = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let Some(email) = text(email) else {
        let keys = ["email", "smtp_host", "smtp_port", "smtp_security", "smtp_user", "smtp_password", "from"];
        let changes = keys.map(|key| Change::remove(format!("alerts.{key}")));
        return keep(&reached, Question::Alerts, changes.into()).await;
    };
    let guessed = crate::alert::server_of(&email);
    let (host, guessed_port) = match text(server) {
        Some(server) => (Some(server), None),
        None => guessed.map_or((None, None), |(host, port)| (Some(host), Some(port))),
    };
    let gateway = reached.whole(MANAGE)?;
    let has_login =
        gateway.settings(|settings| settings.alerts.email.as_ref().is_some_and(|email| email.login.is_some()));
    let password = text(password);
    let before = gateway.settings(|settings| settings.alerts.email.as_ref().map(|email| email.host.clone()));
    // A password goes to no other server than the one that it was given for.
    if has_login && password.is_none() && before != host {
        return Err(Error::Query("the server is another one: type its password again".to_owned()));
    }
    let mut changes = vec![
        Change::set("alerts.email", vec![Value::literal(&email)]),
        set_or_remove("alerts.smtp_host", host.as_deref()),
        set_or_remove("alerts.smtp_security", text(security).as_deref()),
    ];
    changes.push(match port.or(guessed_port) {
        Some(port) => Change::set("alerts.smtp_port", i64::from(port)),
        None => Change::remove("alerts.smtp_port"),
    });
    if let Some(password) = &password {
        secrets::keep(&reached, SMTP_PASSWORD, &Secret::new(password.clone())).await?;
        changes.push(Change::set("alerts.smtp_password", format!("${{{SMTP_PASSWORD}}}")));
    }
    if password.is_some() || has_login {
        let user = text(user).unwrap_or(email);
        changes.push(Change::set("alerts.smtp_user", Value::literal(&user)));
    }
    keep(&reached, Question::Alerts, changes).await
}

pub(crate) async fn updates(reached: Reached, Body(answer): Body<UpdatesAnswer>) -> Result<Answered, Error> {
    let changes = vec![
        Change::set("updates.auto", answer.auto),
        set_or_remove("updates.window", answer.window.as_deref().filter(|_| answer.auto)),
    ];
    keep(&reached, Question::Updates, changes).await
}

pub(crate) async fn skip(reached: Reached, Name(name): Name) -> Result<Answered, Error> {
    let question = Question::ALL.into_iter().find(|(word, _)| *word == name).map(|(_, question)| question);
    asked(&reached, question.ok_or_else(|| Error::NotFound(format!("the setup does not ask {name:?}")))?)
}

pub(crate) async fn over(reached: Reached, Body(answer): Body<SetupOver>) -> Result<Answered, Error> {
    let gateway = reached.whole(MANAGE)?;
    note(gateway, |state| state.is_over = answer.over)?;
    Ok(Answered { next: next(&gateway.setup().unwrap_or_default()) })
}
