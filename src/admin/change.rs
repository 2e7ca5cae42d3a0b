//! Changes of the configuration: of values in place, and of its whole text. Each goes the way of `gateway`: checked whole,
//! what it replaces kept as a revision, used whole or not at all.
//!
//! The text goes out and comes back with marks in place of what must not be shown.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use similar::TextDiff;
use utoipa::ToSchema;

use super::config::{Reloaded, named, syntax};
use super::error::Error;
use super::json::{Problem, Rekeyed};
use super::operation::{Body, MANAGE, Operation, Sent};
use super::reach::Reached;
use crate::config::edit::Value;
use crate::config::{self, Change, EditError, Hidden, Located, RestoreError, Revisions, Secrets, Syntax, edit};
use crate::document::{Secret, is_variable_name, toml_of_yaml};
use crate::gateway::{Gateway, ReloadError};

pub(crate) use crate::config::MARK;

/// What a home calls its configuration when there is none yet.
const NAME: &str = "config.toml";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::patch("/api/v1/config", MANAGE, "ConfigChanges values of config.toml in place, and uses it", patch),
        Operation::get("/api/v1/config/text", MANAGE, "The text of the configuration, without its secrets", text),
        Operation::post(
            "/api/v1/config/check",
            MANAGE,
            "What a change would do and what would be wrong, without making it",
            check,
        ),
        Operation::post(
            "/api/v1/config/hide",
            MANAGE,
            "Moves a secret that stands in config.toml to the secrets, and uses the result",
            move_secret,
        ),
        Operation::post(
            "/api/v1/config/convert",
            MANAGE,
            "Turns config.yml into config.toml with the same values and comments, and uses it",
            convert_file,
        ),
    ]
}

/// Changes values and uses the result. `base` is the digest of the text that the changes were made for, as [`base`] says it.
///
/// # Errors
/// When a change cannot be made, the result cannot be used, or the text is another one now. Then nothing has changed.
pub(crate) async fn change(reached: &Reached, base: Option<&str>, changes: &[Change]) -> Result<Reloaded, Error> {
    let (_, text) = Now::of(reached.whole(MANAGE)?, base)?.edited(changes)?;
    apply(reached, base, text, Some(Syntax::Toml)).await
}

/// Says what these changes would do, and makes none.
///
/// # Errors
/// When a change cannot be made, or the text is another one now. That the result could not be used is no error here.
pub(crate) async fn check_change(
    reached: &Reached,
    base: Option<&str>,
    changes: &[Change],
) -> Result<ConfigChecked, Error> {
    let gateway = reached.whole(MANAGE)?;
    let (now, text) = Now::of(gateway, base)?.edited(changes)?;
    now.checked(gateway, text, Syntax::Toml).await
}

/// Puts a text, which may have marks in it, in the place of the configuration, and uses it.
///
/// # Errors
/// As for [`change`].
pub(crate) async fn put(
    reached: &Reached,
    base: Option<&str>,
    text: String,
    syntax: Option<Syntax>,
) -> Result<Reloaded, Error> {
    let gateway = reached.whole(MANAGE)?;
    let now = Now::of(gateway, base)?;
    let text = now.restored(gateway, text, syntax)?;
    apply(reached, base, text, syntax).await
}

/// Says what such a text would do, and does nothing.
///
/// # Errors
/// As for [`check_change`].
pub(crate) async fn check_text(
    reached: &Reached,
    base: Option<&str>,
    text: String,
    syntax: Option<Syntax>,
) -> Result<ConfigChecked, Error> {
    let gateway = reached.whole(MANAGE)?;
    let now = Now::of(gateway, base)?;
    let text = now.restored(gateway, text, syntax)?;
    let syntax = syntax.unwrap_or(now.syntax());
    now.checked(gateway, text, syntax).await
}

/// Moves a secret that stands in the file to the secrets, and leaves its name there.
///
/// # Errors
/// When there is no secret at this path, or as for [`change`]. Then the file is as it was.
pub(crate) async fn hide(reached: &Reached, base: Option<&str>, path: &str) -> Result<String, Error> {
    let gateway = reached.whole(MANAGE)?;
    let now = Now::of(gateway, base)?;
    if now.syntax() == Syntax::Yaml {
        return Err(EditError::Yaml.into());
    }
    let loaded = gateway.check_config(now.text.clone(), Some(Syntax::Toml))?;
    let value = match edit::read(&now.text, path) {
        Some(Value::Text(value)) if loaded.clear_secrets.iter().any(|clear| clear == path) => Secret::new(value),
        _ => return Err(Error::NotFound(format!("no secret stands in the file at {path}"))),
    };
    let kept = Secrets::of(gateway.home());
    let taken = kept.names()?;
    let is_free = |name: &String| !taken.contains(name) && gateway.variables().get(name).is_none();
    let name = secret_name(&now.text, path);
    let name = std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}_{n}"))).find(is_free).unwrap_or(name);
    kept.set(&name, &value)?;
    match change(reached, base, &[Change::set(path, format!("${{{name}}}"))]).await {
        Ok(_reloaded) => Ok(name),
        Err(error) => {
            kept.remove(&name)?;
            Err(error)
        }
    }
}

/// Puts `config.toml` with the same values and comments in the place of `config.yml`, and uses it; with `is_check` it only says what
/// would become of it. What was there is a revision.
///
/// # Errors
/// When the configuration is no YAML or cannot be used, or as for [`change`]. Then nothing has changed.
pub(crate) async fn convert(reached: &Reached, base: Option<&str>, is_check: bool) -> Result<ConfigConverted, Error> {
    let gateway = reached.whole(MANAGE)?;
    let now = Now::of(gateway, base)?;
    let located = now.located.as_ref().filter(|located| located.syntax == Syntax::Yaml);
    let located =
        located.ok_or_else(|| Error::Conflict("there is no config.yml to turn into config.toml".to_owned()))?;
    let file = located.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let converted =
        toml_of_yaml(&file, &now.text).map_err(|problems| ReloadError::from(config::Error::Invalid(problems)))?;
    gateway.check_config(converted.text.clone(), Some(Syntax::Toml))?;
    let hidden =
        Hidden::default().hide(&named_file(Syntax::Toml)?, &converted.text, gateway.home(), gateway.variables());
    let text = hidden.ok().flatten();
    let reloaded = match is_check {
        true => None,
        false => Some(apply(reached, base, converted.text, Some(Syntax::Toml)).await?),
    };
    Ok(ConfigConverted { text, lost: converted.lost, reloaded })
}

/// What a secret at this path would be called: `channels[0].bot_token` of the entry `slack` is `SLACK_BOT_TOKEN`.
fn secret_name(text: &str, path: &str) -> String {
    let (list, key) = path.rsplit_once('.').unwrap_or(("", path));
    let said = |name: &str| match edit::read(text, &format!("{list}.{name}")) {
        Some(Value::Text(said)) => Some(said),
        _ => None,
    };
    let owner = ["id", "name", "type"].into_iter().find_map(said).unwrap_or_else(|| list.to_owned());
    let spelled = format!("{owner}_{key}");
    let mut name = String::new();
    for c in spelled.chars() {
        match c {
            'A'..='Z' if key.contains(c) && !name.ends_with('_') => name.extend(['_', c]),
            c if c.is_ascii_alphanumeric() => name.push(c.to_ascii_uppercase()),
            _ if name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    let name = name.trim_matches('_').to_owned();
    if is_variable_name(&name) { name } else { format!("SECRET_{name}") }
}

/// A digest of the configuration that is there now; `None`: there is none.
///
/// # Errors
/// When it cannot be read, or somebody may not know.
pub(crate) fn base(reached: &Reached) -> Result<Option<String>, Error> {
    Ok(reached.whole(MANAGE)?.config_text()?.map(|(_, _, digest)| digest))
}

async fn apply(reached: &Reached, base: Option<&str>, text: String, syntax: Option<Syntax>) -> Result<Reloaded, Error> {
    let gateway = reached.whole(MANAGE)?;
    let digest = config::digest(text.as_bytes());
    let reloaded = gateway.put_config(text, syntax, base).await?;
    if let Err(error) = Revisions::of(gateway.home()).sign(&digest, &reached.who().name) {
        tracing::warn!(%error, "who changed the configuration could not be kept");
    }
    reached.note_name("change configuration", "");
    Ok(Reloaded::of(&reloaded))
}

/// The text that is there now.
struct Now {
    located: Option<Located>,
    text: String,
}

impl Now {
    fn of(gateway: &Gateway, base: Option<&str>) -> Result<Self, Error> {
        let (located, text, digest) = match gateway.config_text()? {
            Some((located, text, digest)) => (Some(located), text, Some(digest)),
            None => (None, String::new(), None),
        };
        if digest.as_deref() != base {
            return Err(ReloadError::Changed.into());
        }
        Ok(Self { located, text })
    }

    fn syntax(&self) -> Syntax {
        self.located.as_ref().map_or(Syntax::Toml, |located| located.syntax)
    }

    fn edited(self, changes: &[Change]) -> Result<(Self, String), Error> {
        if self.syntax() == Syntax::Yaml {
            return Err(EditError::Yaml.into());
        }
        // Without a file conversations are kept apart; a file that says nothing of it would put them together.
        let first = self.located.is_none().then(|| Change::set("session.dm_scope", "per-channel-peer"));
        let changes: Vec<Change> = first.into_iter().chain(changes.iter().cloned()).collect();
        let text = edit(&self.text, &changes)?;
        Ok((self, text))
    }

    /// With marks; `None`: it cannot be shown.
    fn shown(&self, gateway: &Gateway, hidden: &mut Hidden) -> Option<String> {
        match &self.located {
            Some(located) => hidden.hide(located, &self.text, gateway.home(), gateway.variables()).ok()?,
            None => Some(String::new()),
        }
    }

    /// A text that somebody sent, with what its marks stand for.
    fn restored(&self, gateway: &Gateway, text: String, syntax: Option<Syntax>) -> Result<String, Error> {
        let mut hidden = Hidden::default();
        let _shown = self.shown(gateway, &mut hidden);
        let restored = hidden.restore(&text)?;
        if restored == text {
            return Ok(text);
        }
        let syntax = syntax.unwrap_or(self.syntax());
        let is_shown = match hidden.hide(&named_file(syntax)?, &restored, gateway.home(), gateway.variables()) {
            Ok(Some(shown)) => hidden.is_shown_in(&shown),
            // YAML with something to hide: marks are of TOML.
            Ok(None) => syntax == Syntax::Yaml,
            // What cannot be read shows nothing yet, and is refused anyway.
            Err(_) => false,
        };
        // Where a value does not belong, what is wrong with it would be said with its words.
        let is_told = problems(gateway, restored.clone(), syntax).iter().any(|text| hidden.is_shown_in(text));
        if is_shown || is_told { Err(RestoreError::Shown.into()) } else { Ok(restored) }
    }

    async fn checked(&self, gateway: &Gateway, text: String, syntax: Syntax) -> Result<ConfigChecked, Error> {
        let mut hidden = Hidden::default();
        let old = self.shown(gateway, &mut hidden);
        let new = hidden.hide(&named_file(syntax)?, &text, gateway.home(), gateway.variables()).ok().flatten();
        let difference = old.zip(new).map(|(old, new)| difference(&old, &new));
        match gateway.check_config(text, Some(syntax)) {
            Ok(loaded) => Ok(ConfigChecked {
                usable: true,
                error: None,
                problems: loaded.warnings.iter().map(Problem::of).collect(),
                difference,
                rekey: gateway.would_rekey(&loaded).await.as_ref().map(Rekeyed::of),
            }),
            Err(error) => {
                let (_, refusal) = Error::from(error).told();
                let problems = refusal.problems.unwrap_or_default();
                Ok(ConfigChecked { usable: false, error: Some(refusal.error), problems, difference, rekey: None })
            }
        }
    }
}

fn named_file(syntax: Syntax) -> Result<Located, Error> {
    let name = match syntax {
        Syntax::Toml => NAME,
        Syntax::Yaml => "config.yml",
    };
    Located::at(name.as_ref()).map_err(|error| config::Error::from(error).into())
}

/// Unified, without the names of files: both are the configuration.
pub(super) fn difference(old: &str, new: &str) -> String {
    TextDiff::from_lines(old, new).unified_diff().header("now", "then").to_string()
}

/// What a change would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigChecked {
    /// Could the result be used?
    pub(crate) usable: bool,
    /// Why not, in words.
    pub(crate) error: Option<String>,
    /// Errors and warnings, in the order of the file.
    pub(crate) problems: Vec<Problem>,
    /// From the text that is there now to the result, unified, with marks for hidden values. Null: one of both cannot be shown.
    pub(crate) difference: Option<String>,
    /// Conversations that would lie under old keys, if how they are named would change.
    pub(crate) rekey: Option<Rekeyed>,
}

/// The text of the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigText {
    /// Null: there is none.
    pub(crate) file: Option<String>,
    /// `toml` or `yaml`.
    pub(crate) syntax: &'static str,
    /// For `base` of a change; null: there is no file.
    pub(crate) digest: Option<String>,
    /// With a mark like `"‹hidden 1›"` for each value that must not be shown. Null: it cannot be shown, because it cannot be read, or
    /// because it is YAML with secrets in it.
    pub(crate) text: Option<String>,
    /// What is wrong with it.
    pub(crate) problems: Vec<Problem>,
    /// Paths of secrets that stand in the file itself.
    pub(crate) clear_secrets: Vec<String>,
}

/// All that would be said about a text.
fn problems(gateway: &Gateway, text: String, syntax: Syntax) -> Vec<String> {
    let (mut said, problems) = match gateway.check_config(text, Some(syntax)) {
        Ok(loaded) => (Vec::new(), loaded.warnings.iter().map(Problem::of).collect()),
        Err(error) => {
            let (_, refusal) = Error::from(error).told();
            (vec![refusal.error], refusal.problems.unwrap_or_default())
        }
    };
    said.extend(problems.into_iter().flat_map(|problem| [Some(problem.message), problem.help]).flatten());
    said
}

/// Takes channel entries out. `all` are the ids of those in the file, in its order: whoever has none written keeps the one
/// that it had, also while others go.
pub(crate) fn removal(text: &str, all: &[String], gone: &[&str]) -> Vec<Change> {
    let path = |id: &str| format!("channels[id={}]", edit::quoted(id));
    let n_entries = match edit::read(text, "channels") {
        Some(Value::List(entries)) => entries.len(),
        _ => 0,
    };
    let has_own = |id: &str| edit::read(text, &format!("{}.id", path(id))).is_some();
    let bare = all.iter().map(String::as_str).filter(|id| n_entries > 1 && !has_own(id));
    let pinned = bare.map(|id| Change::set(format!("{}.id", path(id)), id));
    pinned.chain(gone.iter().map(|id| Change::remove(path(id)))).collect()
}

pub(crate) async fn text(reached: Reached, (): ()) -> Result<ConfigText, Error> {
    let gateway = reached.whole(MANAGE)?;
    let Some((located, text, digest)) = gateway.config_text()? else {
        let (problems, clear_secrets) = Default::default();
        return Ok(ConfigText {
            file: None,
            syntax: syntax(Syntax::Toml),
            digest: None,
            text: Some(String::new()),
            problems,
            clear_secrets,
        });
    };
    let shown = Hidden::default().hide(&located, &text, gateway.home(), gateway.variables());
    let loaded = config::load_text(&located, &text, gateway.home(), gateway.variables());
    let (problems, clear_secrets) = match loaded {
        Ok(loaded) => (loaded.warnings, loaded.clear_secrets),
        Err(config::Error::Invalid(problems)) => (problems, Vec::new()),
        Err(error @ config::Error::File(_)) => return Err(error.into()),
    };
    Ok(ConfigText {
        file: Some(located.path.display().to_string()),
        syntax: syntax(located.syntax),
        digest: Some(digest),
        text: shown.ok().flatten(),
        problems: problems.iter().map(Problem::of).collect(),
        clear_secrets,
    })
}

/// One change of a value: exactly one of `set`, `append` and `remove`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigChange {
    /// As in `session.dm_scope`, `channels[id=hook42].secret`, `routing[0]` or `session.identity_links."alice"`.
    path: String,
    /// What it says from now on. Texts are as they stand in the file: `${NAME}` is a variable.
    #[schema(value_type = Option<serde_json::Value>)]
    set: Option<Given>,
    /// One more element of the list.
    #[schema(value_type = Option<serde_json::Value>)]
    append: Option<Given>,
    /// It is gone.
    #[serde(default)]
    remove: bool,
}

impl ConfigChange {
    fn change(self) -> Result<Change, Error> {
        match (self.set, self.append, self.remove) {
            (Some(Given(value)), None, false) => Ok(Change::set(self.path, value)),
            (None, Some(Given(value)), false) => Ok(Change::append(self.path, value)),
            (None, None, true) => Ok(Change::remove(self.path)),
            _ => Err(Error::Query("a change has exactly one of set, append and remove: true".to_owned())),
        }
    }
}

/// Changes of values.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ConfigChanges {
    /// Digest of the text that they were made for; absent: there was no file.
    base: Option<String>,
    /// One after the other.
    changes: Vec<ConfigChange>,
}

impl Sent for ConfigChanges {
    const MAX_BYTES: usize = 1024 * 1024;
}

/// A change that may be made: `changes`, or the whole `text`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ConfigProposal {
    /// Digest of the text that it was made for; absent: there was no file.
    base: Option<String>,
    /// Of values.
    changes: Option<Vec<ConfigChange>>,
    /// Marks of hidden values may stand in it.
    text: Option<String>,
    /// Of the text: `toml` or `yaml`; absent: as the file that is there.
    syntax: Option<String>,
}

impl Sent for ConfigProposal {
    const MAX_BYTES: usize = 2 * 1024 * 1024;
}

async fn patch(reached: Reached, Body(sent): Body<ConfigChanges>) -> Result<Reloaded, Error> {
    let changes: Vec<Change> = sent.changes.into_iter().map(ConfigChange::change).collect::<Result<_, _>>()?;
    change(&reached, sent.base.as_deref(), &changes).await
}

/// A secret that stands in the file.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ClearSecret {
    /// Digest of the text.
    base: Option<String>,
    /// As in `channels[0].bot_token`; see `clear_secrets` of the text.
    path: String,
}

impl Sent for ClearSecret {}

/// A secret that stood in the file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MovedSecret {
    /// What it is called now.
    name: String,
}

/// From `config.yml` to `config.toml`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigConvert {
    /// Digest of the text.
    base: Option<String>,
    /// Only say what would become of it.
    #[serde(default)]
    check: bool,
}

impl Sent for ConfigConvert {}

/// What became of `config.yml`, or would.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigConverted {
    /// What `config.toml` says, with marks for what must not be shown. Null: it cannot be shown.
    pub(crate) text: Option<String>,
    /// What could not come along, a sentence each.
    pub(crate) lost: Vec<String>,
    /// What the use of it did; null: it was not used.
    pub(crate) reloaded: Option<Reloaded>,
}

async fn convert_file(reached: Reached, Body(sent): Body<ConfigConvert>) -> Result<ConfigConverted, Error> {
    convert(&reached, sent.base.as_deref(), sent.check).await
}

async fn move_secret(reached: Reached, Body(sent): Body<ClearSecret>) -> Result<MovedSecret, Error> {
    Ok(MovedSecret { name: hide(&reached, sent.base.as_deref(), &sent.path).await? })
}

async fn check(reached: Reached, Body(sent): Body<ConfigProposal>) -> Result<ConfigChecked, Error> {
    let base = sent.base.as_deref();
    match (sent.changes, sent.text) {
        (Some(changes), None) => {
            let changes: Vec<Change> = changes.into_iter().map(ConfigChange::change).collect::<Result<_, _>>()?;
            check_change(&reached, base, &changes).await
        }
        (None, Some(text)) => check_text(&reached, base, text, named(sent.syntax.as_deref())?).await,
        _ => Err(Error::Query("send either changes or text".to_owned())),
    }
}

/// A value in JSON, with the keys of its tables in the order in which they were sent.
struct Given(Value);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value other than null")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Integer(n))
    }

    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Value, E> {
        i64::try_from(n).map(Value::Integer).map_err(|_large| E::custom("a number that large has no place here"))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(Value::Number(n))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Given(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        while let Some((key, Given(value))) = map.next_entry::<String, Given>()? {
            // Of two, the later one counts, as it does for readers of JSON.
            entries.retain(|(other, _)| *other != key);
            entries.push((key, value));
        }
        Ok(Value::Table(entries))
    }
}
