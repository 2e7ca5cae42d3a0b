//! The keys of a `type = "slack"` entry.

use std::sync::Arc;

use reqwest::Url;

use super::{DESCRIPTOR, Slack};
use crate::channel::Channel;
use crate::channel::registry::{Settings, Setup, Type};
use crate::document::{Secret, Section, Severity};

/// The line in the registry.
pub(in crate::channel) static TYPE: Type = Type { descriptor: &DESCRIPTOR, read, form: &super::form::FORM };

/// Settings of one entry.
#[derive(Debug, Clone)]
pub(super) struct SlackSettings {
    /// `xoxb-…`: answers with it.
    pub(super) bot_token: Secret,
    /// Accepts signed events on `/hooks/<entry id>`.
    pub(super) signing_secret: Option<Secret>,
    /// `xapp-…`: fetches events through a connection of ours (Socket Mode).
    pub(super) app_token: Option<Secret>,
    /// Of the Web API.
    pub(super) base_url: Url,
}

impl Settings for SlackSettings {
    fn open(&self, setup: Setup) -> Arc<dyn Channel> {
        Arc::new(Slack::new(self.clone(), setup))
    }
}

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    section
        .missing("bot_token", "bot_token = \"${SLACK_BOT_TOKEN}\", the Bot User OAuth Token (xoxb-…) of the Slack app");
    if !section.has("app_token") && !section.has("signing_secret") {
        let help = "app_token = \"${SLACK_APP_TOKEN}\" (xapp-…, Socket Mode: works without a public address), or \
                    signing_secret = \"${SLACK_SIGNING_SECRET}\" (Slack sends its events to /hooks/<channel id>)";
        section.problem(Severity::Error, "", "messages have no way in", Some(help.to_owned()));
    }
    let bot_token = take_token(section, "bot_token", "xapp-");
    let app_token = take_token(section, "app_token", "xoxb-");
    let signing_secret = section.take_secret("signing_secret");
    let base_url = match section.has("base_url") {
        true => section.take_parsed("base_url", parse_base_url),
        false => Url::parse("https://slack.com/api").ok(),
    };
    if app_token.is_none() && signing_secret.is_none() {
        return None;
    }
    Some(Box::new(SlackSettings { bot_token: bot_token?, signing_secret, app_token, base_url: base_url? }))
}

/// Slack gives out two tokens that look alike; each in the other's place is the commonest mistake.
fn take_token(section: &mut Section<'_>, key: &str, wrong_prefix: &str) -> Option<Secret> {
    let token = section.take_secret(key)?;
    if token.expose().starts_with(wrong_prefix) {
        let help = "a bot token starts with xoxb-, an app-level token with xapp-".to_owned();
        section.problem(Severity::Error, key, "this is Slack's other token", Some(help));
        return None;
    }
    Some(token)
}

/// `https`, or `http` to this machine: tokens go there.
fn parse_base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("not an address: {e}"))?;
    let is_loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback => Ok(url),
        "http" => Err("http would show the tokens to the network; write https".to_owned()),
        scheme => Err(format!("{scheme} is no scheme for this; write https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, NoVariables};

    #[test]
    fn tokens_go_over_https_or_stay_on_this_machine() {
        fn check(text: &str, is_ok: bool) {
            assert_eq!(parse_base_url(text).is_ok(), is_ok, "{text}");
        }
        check("https://slack.com/api", true);
        check("http://127.0.0.1:4003/api", true);
        check("http://localhost:4003/api/", true);
        check("http://[::1]:4003", true);
        check("http://slack.example.com/api", false);
        check("http://127.0.0.1.example.com", false);
        check("ftp://127.0.0.1", false);
        check("slack.com/api", false);
    }

    #[track_caller]
    fn check(toml: &str, expected: &[&str]) {
        let document = Document::parse_toml("t", toml).unwrap();
        let mut section = document.root(&NoVariables);
        let settings = read(&mut section);
        section.finish();
        let problems = document.problems();
        let described: Vec<_> = problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
        assert_eq!(described, expected, "{toml}");
        assert_eq!(settings.is_some(), expected.is_empty(), "{toml}");
        assert!(problems.iter().all(|p| p.help.is_some()), "every problem says what to do: {problems:?}");
    }

    #[test]
    fn an_entry_needs_a_bot_token_and_a_way_in() {
        check("bot_token = 'xoxb-1'\napp_token = 'xapp-1'", &[]);
        check("botToken = 'xoxb-1'\nsigningSecret = 's'", &[]);
        check("bot_token = 'xoxb-1'\nsigning_secret = 's'\nbase_url = 'http://127.0.0.1:4003/api'", &[]);
        check("bot_token = 'xoxb-1'", &[": messages have no way in"]);
        check("app_token = 'xapp-1'", &[": \"bot_token\" is missing"]);
    }

    #[test]
    fn exchanged_tokens_are_noticed_and_not_shown() {
        check(
            "bot_token = 'xapp-1'\napp_token = 'xoxb-1'",
            &["bot_token: this is Slack's other token", "app_token: this is Slack's other token"],
        );
    }
}
