//! The values that the configuration calls `${NAME}`. They go in and never come out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Error;
use super::operation::{Body, MANAGE, Name, Operation, Sent};
use super::reach::Reached;
use crate::config::{self, Secrets};
use crate::document::{self, Source};
use crate::gateway::Gateway;

pub(super) fn operations() -> Vec<Operation> {
    let secret = "/api/v1/secrets/{name}";
    vec![
        Operation::get(
            "/api/v1/secrets",
            MANAGE,
            "Names of secrets, and where they are used; never their values",
            list,
        ),
        Operation::put(secret, MANAGE, "Keeps a secret, in the place of the one that was there", set),
        Operation::delete(secret, MANAGE, "Removes a secret that nothing uses", remove),
    ]
}

/// Secrets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretList {
    /// By name: those that are kept, and those that the configuration names.
    pub(crate) secrets: Vec<SecretRow>,
}

/// A secret, without its value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretRow {
    pub(crate) name: String,
    /// Has it a value?
    pub(crate) set: bool,
    /// Where the value that counts comes from: `secrets`, `environment` or `credentials`; null: there is none.
    pub(crate) source: Option<&'static str>,
    /// Is one kept here? It does not count where the environment or systemd has one.
    pub(crate) kept: bool,
    /// Paths in the configuration, as in `channels[0].secret`.
    pub(crate) used_in: Vec<String>,
}

/// Names and uses of the secrets there are.
///
/// # Errors
/// When the directory cannot be read, or somebody may not know.
pub(crate) async fn list(reached: Reached, (): ()) -> Result<SecretList, Error> {
    let gateway = reached.whole(MANAGE)?;
    let mut rows: BTreeMap<String, (bool, Vec<String>)> = BTreeMap::new();
    for name in Secrets::of(gateway.home()).names()? {
        rows.entry(name).or_default().0 = true;
    }
    for (name, path) in config::references(gateway.home()) {
        rows.entry(name).or_default().1.push(path);
    }
    let row = |(name, (kept, used_in)): (String, (bool, Vec<String>))| {
        let source = gateway.variables().source(&name).map(|source| match source {
            Source::Environment => "environment",
            Source::Credentials => "credentials",
            Source::Secrets => "secrets",
        });
        SecretRow { set: source.is_some(), source, kept, used_in, name }
    };
    Ok(SecretList { secrets: rows.into_iter().map(row).collect() })
}

/// A value to keep.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewSecret {
    /// Line ends at its end are not part of it.
    pub(crate) value: String,
}

impl Sent for NewSecret {
    // In JSON a byte may take six.
    const MAX_BYTES: usize = 512 * 1024;
}

/// A secret was kept or removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretChanged {
    pub(crate) name: String,
    /// Paths in the configuration that name it.
    pub(crate) used_in: Vec<String>,
    /// Is it in use now? Where the configuration names it and says otherwise what is in use, it is read again at once.
    pub(crate) in_use: bool,
    /// Why it is not in use although it is named.
    pub(crate) note: Option<String>,
}

/// Keeps a value.
///
/// # Errors
/// When the name or the value is none, or the disk refuses.
pub(crate) async fn set(
    reached: Reached,
    (Name(name), Body(secret)): (Name, Body<NewSecret>),
) -> Result<SecretChanged, Error> {
    keep(&reached, &name, &document::Secret::new(secret.value)).await
}

/// The same, for pages.
pub(crate) async fn keep(reached: &Reached, name: &str, value: &document::Secret) -> Result<SecretChanged, Error> {
    let gateway = reached.whole(MANAGE)?;
    Secrets::of(gateway.home()).set(name, value)?;
    reached.note_name("keep secret", name);
    let used_in = used_in(gateway, name);
    let (in_use, note) = match gateway.variables().source(name) {
        _ if used_in.is_empty() => (false, None),
        Some(Source::Environment | Source::Credentials) => {
            (false, Some("the environment has a value of this name, which comes first".to_owned()))
        }
        _ => use_now(gateway).await?,
    };
    Ok(SecretChanged { name: name.to_owned(), used_in, in_use, note })
}

/// Reads the configuration again where that changes nothing but values.
async fn use_now(gateway: &Gateway) -> Result<(bool, Option<String>), Error> {
    let in_file = gateway.config_text()?.map(|(_, _, digest)| digest);
    // In safe mode nothing is in use, and a value that was missing may be all that was wrong.
    if gateway.config_digest().is_some_and(|digest| Some(digest) != in_file) {
        return Ok((false, Some("the configuration was changed and not used yet; use it first".to_owned())));
    }
    match gateway.reload().await {
        Ok(_reloaded) => Ok((true, None)),
        Err(error) => Ok((false, Some(error.to_string()))),
    }
}

/// Removes one that nothing uses: without it the next start would find a configuration that cannot be used.
///
/// # Errors
/// When there is none, or the configuration names it.
pub(crate) async fn remove(reached: Reached, Name(name): Name) -> Result<SecretChanged, Error> {
    let gateway = reached.whole(MANAGE)?;
    let used_in = used_in(gateway, &name);
    let is_elsewhere = matches!(gateway.variables().source(&name), Some(Source::Environment | Source::Credentials));
    if !used_in.is_empty() && !is_elsewhere {
        let places = used_in.join(", ");
        return Err(Error::Conflict(format!("the configuration uses {name} in {places}; change that first")));
    }
    if !Secrets::of(gateway.home()).remove(&name)? {
        return Err(Error::NotFound(format!("no secret {name} is kept here; `secrets list` shows those that are")));
    }
    reached.note_name("remove secret", &name);
    Ok(SecretChanged { name, used_in, in_use: false, note: None })
}

fn used_in(gateway: &Gateway, name: &str) -> Vec<String> {
    let references = config::references(gateway.home()).into_iter();
    references.filter(|(other, _)| other == name).map(|(_, path)| path).collect()
}
