//! Models: is there one at an address, and does it answer? For administrators of everything: the gateway asks in its own
//! network for them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Error;
use super::operation::{Body, MANAGE, Operation, Sent};
use super::reach::Reached;
use crate::document::Secret;
use crate::provider::probe::{Ask, Dialect, Found};

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::post("/api/v1/providers/probe", MANAGE, "Looks whether a model answers at an address", probe)]
}

/// Where to look: an address, or a provider of the configuration.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probe {
    /// A host, a host and a port, or an address of the web.
    pub(crate) address: Option<String>,
    /// `openai` or `anthropic`; absent: as the address says.
    pub(crate) kind: Option<ProviderKind>,
    /// What the server wants to see.
    pub(crate) key: Option<String>,
    /// The model to ask; absent: the first that chats.
    pub(crate) model: Option<String>,
    /// Instead of an address: the name of a provider of the configuration, with its key.
    pub(crate) provider: Option<String>,
}

impl Sent for Probe {}

/// How a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProviderKind {
    /// Chat Completions.
    #[serde(rename = "openai")]
    OpenAi,
    /// Messages.
    Anthropic,
}

/// What was found. Nothing is repeated that a server said which is no server of models.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Probed {
    /// Does a model answer?
    pub(crate) works: bool,
    /// How it went, in a word: `works`, `slow`, `no_address`, `unknown_name`, `refused`, `silent`, `tls`, `key_missing`,
    /// `key_wrong`, `other_server`, `no_model`, `unknown_model`, `no_answer`, `limited`.
    pub(crate) verdict: &'static str,
    /// What happened and what to do, for people.
    pub(crate) message: String,
    /// How the server speaks.
    pub(crate) kind: ProviderKind,
    /// What belongs into `base_url`; null: there is no server of models.
    pub(crate) base_url: Option<String>,
    /// Models that chat.
    pub(crate) models: Vec<String>,
    /// The one that was asked.
    pub(crate) model: Option<String>,
    /// Milliseconds until its first word.
    pub(crate) waited_ms: Option<u64>,
}

pub(crate) async fn probe(reached: Reached, Body(wanted): Body<Probe>) -> Result<Probed, Error> {
    let gateway = reached.whole(MANAGE)?;
    let Probe { address, kind, key, model, provider } = wanted;
    let model = model.filter(|model| !model.trim().is_empty());
    let ask = match (address, provider) {
        (Some(address), None) => Ask {
            address,
            dialect: kind.map(|kind| match kind {
                ProviderKind::OpenAi => Dialect::OpenAi,
                ProviderKind::Anthropic => Dialect::Anthropic,
            }),
            key: key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).map(Secret::new),
            model,
        },
        (None, Some(provider)) => {
            let missing = || Error::NotFound(format!("there is no provider {provider:?} that could be asked"));
            gateway.probe_of(&provider, model).ok_or_else(missing)?
        }
        _ => return Err(Error::Query("name either an address or a provider".to_owned())),
    };
    Ok(Probed::of(&gateway.probe(&ask).await))
}

impl Probed {
    fn of(found: &Found) -> Self {
        Self {
            works: found.verdict.works(),
            verdict: found.verdict.as_str(),
            message: found.verdict.to_string(),
            kind: match found.dialect {
                Dialect::OpenAi => ProviderKind::OpenAi,
                Dialect::Anthropic => ProviderKind::Anthropic,
            },
            base_url: found.base_url.clone(),
            models: found.models.clone(),
            model: found.model.clone(),
            waited_ms: found.waited.and_then(|waited| u64::try_from(waited.as_millis()).ok()),
        }
    }
}
