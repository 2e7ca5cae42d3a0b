//! The keys of a `type = "slack"` entry.

use std::sync::Arc;

use reqwest::Url;

use super::{DESCRIPTOR, Slack};
use crate::channel::Channel;
use crate::channel::registry::{Settings, Setup, Type};
use crate::document::{Secret, Section, Severity};

/// The line in the registry.
pub(in crate::channel) static TYPE: Type = Type { descriptor: &DESCRIPTOR, read };

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
    let bot_token = section.take_secret("bot_token");
    let signing_secret = section.take_secret("signing_secret");
    let app_token = section.take_secret("app_token");
    let base_url = section.take_parsed("base_url", parse_base_url);

    if bot_token.is_none() {
        section
            .missing("bot_token", "copy the Bot User OAuth Token (xoxb-…) from OAuth & Permissions of the Slack app");
    }
    if signing_secret.is_none() && app_token.is_none() {
        section.problem(
            Severity::Error,
            "",
            "no way for messages to come in",
            Some(
                "give app_token (xapp-…, Socket Mode: no public address needed), \
                 or signing_secret (events sent to /hooks/<channel id>)"
                    .to_owned(),
            ),
        );
    }
    for (key, token) in [("bot_token", &bot_token), ("app_token", &app_token)] {
        if let Some(message) = token.as_ref().and_then(|token| misplaced(key, token)) {
            section.problem(
                Severity::Error,
                key,
                message,
                Some("bot tokens start with xoxb-, app tokens with xapp-".to_owned()),
            );
            return None;
        }
    }
    if signing_secret.is_none() && app_token.is_none() {
        return None;
    }
    let base_url = base_url.or_else(|| Url::parse("https://slack.com/api").ok())?;
    Some(Box::new(SlackSettings { bot_token: bot_token?, signing_secret, app_token, base_url }))
}

/// Slack gives out two tokens that look alike; each in the other's place is the commonest mistake.
fn misplaced(key: &str, token: &Secret) -> Option<&'static str> {
    match key {
        "bot_token" if token.expose().starts_with("xapp-") => Some("this is an app-level token, not a bot token"),
        "app_token" if token.expose().starts_with("xoxb-") => Some("this is a bot token, not an app-level token"),
        _ => None,
    }
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

    #[test]
    fn exchanged_tokens_are_noticed() {
        assert!(misplaced("bot_token", &Secret::new("xapp-1-A1-2-abc")).is_some());
        assert!(misplaced("app_token", &Secret::new("xoxb-1-abc")).is_some());
        assert!(misplaced("bot_token", &Secret::new("xoxb-1-abc")).is_none());
        assert!(misplaced("app_token", &Secret::new("xapp-1-A1-2-abc")).is_none());
        assert!(misplaced("bot_token", &Secret::new("xoxe.xoxb-1-abc")).is_none());
    }
}
