//! `models.providers` and the agents' models → `[[providers]]`: one for each model that is used.

use serde_json::Value;

use super::source::{Source, id, text, variable_name};
use super::toml::{Writer, quoted};
use super::{Agent, Making, name_of};

/// Providers, by the model as OpenClaw names it.
pub(super) struct Models(Vec<(String, Provider)>);

struct Provider {
    name: String,
    lines: Vec<String>,
}

impl Models {
    pub(super) fn provider(&self, agent: &Agent) -> Option<&str> {
        let wanted = agent.model.as_ref()?;
        self.0.iter().find(|(model, _)| model == wanted).map(|(_, provider)| provider.name.as_str())
    }

    pub(super) fn write(&self, out: &mut Writer) {
        for (_, provider) in &self.0 {
            out.blank();
            provider.lines.iter().for_each(|line| out.line(line));
        }
        if self.0.is_empty() {
            out.blank();
            out.comment("No model could be carried: the demo worker answers. Add a [[providers]] entry.");
        }
    }
}

pub(super) fn read(source: &Source, agents: &[Agent], making: &mut Making<'_>) -> Models {
    let mut models = Models(Vec::new());
    for wanted in agents.iter().filter_map(|agent| agent.model.as_ref()) {
        if models.0.iter().any(|(model, _)| model == wanted) {
            continue;
        }
        let made = wanted.split_once('/').and_then(|(vendor, model)| provider(source, vendor, model, making));
        match made {
            Some(provider) => {
                making.report.carried(format!("model {wanted:?}"));
                models.0.push((wanted.clone(), provider));
            }
            None => making
                .report
                .left(format!("model {wanted:?} is not carried: its provider speaks in a way that is not known here")),
        }
    }
    models
}

fn provider(source: &Source, vendor: &str, model: &str, making: &mut Making<'_>) -> Option<Provider> {
    let configured = source.at(&["models", "providers", vendor]);
    let kind = match (text(configured, "api"), vendor) {
        (Some("openai-completions"), _) | (None, "openai" | "openrouter" | "ollama" | "vllm" | "lmstudio") => "openai",
        (Some("anthropic-messages"), _) | (None, "anthropic") => "anthropic",
        // Its server speaks Chat Completions too.
        (Some("openai-responses"), "openai") => "openai",
        _ => return None,
    };
    let base_url = text(configured, "baseUrl").or(match vendor {
        "openrouter" => Some("https://openrouter.ai/api/v1"),
        "ollama" => Some("http://127.0.0.1:11434/v1"),
        _ => None,
    });
    // Without its address another vendor's words would go to the wrong place.
    if base_url.is_none() && !matches!(vendor, "openai" | "anthropic") {
        return None;
    }
    let name = name_of(&format!("{vendor}-{model}"));
    let mut lines = vec!["[[providers]]".to_owned()];
    lines.push(format!("name = {}", quoted(&name)));
    lines.push(format!("kind = {}", quoted(kind)));
    lines.push(format!("model = {}", quoted(model)));
    if let Some(base_url) = base_url {
        lines.push(format!("base_url = {}", quoted(base_url)));
    }
    let usual = variable_name(&[vendor, "api_key"]);
    let given = configured.get("apiKey").cloned();
    let from_file = source.at(&["env", "vars", &usual]);
    let given = given.or_else(|| id(from_file).or_else(|| id(source.at(&["env", &usual]))).map(Value::from));
    let given = given.or_else(|| making.around.has_variable(&usual).then(|| Value::from(format!("${{{usual}}}"))));
    match making.secret(&usual, given.as_ref()) {
        Some(api_key) => lines.push(format!("api_key = {}", quoted(&api_key))),
        None => {
            lines
                .push(format!("# Put the key into secrets/{usual} and take the # away, unless the server wants none."));
            lines.push(format!("# api_key = \"${{{usual}}}\""));
        }
    }
    Some(Provider { name, lines })
}
