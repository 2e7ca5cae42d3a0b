//! What Slack sends, as far as we read it. Everything else in its JSON is ignored.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Body of an HTTP request, and payload of an `events_api` envelope.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Callback {
    /// `event_callback`, `url_verification` or `app_rate_limited`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Of `url_verification`: to be sent back.
    pub(super) challenge: Option<String>,
    /// The workspace an event happened in: in a channel shared between companies, not always ours.
    pub(super) team_id: Option<String>,
    /// The workspace that the app received it through. Some events lack it.
    pub(super) context_team_id: Option<String>,
    pub(super) api_app_id: Option<String>,
    /// At most one of the installations that the event is visible to.
    pub(super) authorizations: Option<Vec<Authorization>>,
    #[serde(default)]
    pub(super) event: Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct Authorization {
    pub(super) team_id: Option<String>,
    pub(super) user_id: Option<String>,
    #[serde(default)]
    pub(super) is_bot: bool,
    #[serde(default)]
    pub(super) is_enterprise_install: bool,
}

/// An event of type `message` or `app_mention`. What only decorates it may have any shape: nobody's
/// words are refused because of a preview.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) channel: String,
    /// `im`, `mpim`, `channel`, `group`; `app_mention` has none.
    pub(super) channel_type: Option<String>,
    /// Seconds and a counter, as text. Names the message within its channel.
    pub(super) ts: String,
    /// The `ts` of the thread's first message.
    pub(super) thread_ts: Option<String>,
    pub(super) user: Option<String>,
    #[serde(default, deserialize_with = "if_readable")]
    pub(super) user_profile: Option<UserProfile>,
    /// Display name of a `bot_message`.
    pub(super) username: Option<String>,
    pub(super) bot_id: Option<String>,
    pub(super) app_id: Option<String>,
    #[serde(default, deserialize_with = "if_readable")]
    pub(super) bot_profile: Option<BotProfile>,
    pub(super) text: Option<String>,
    #[serde(default, deserialize_with = "if_readable")]
    pub(super) files: Option<Vec<File>>,
    /// Previews and forwarded messages.
    #[serde(default, deserialize_with = "if_readable")]
    pub(super) attachments: Option<Vec<Quoted>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UserProfile {
    pub(super) display_name: Option<String>,
    pub(super) real_name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct BotProfile {
    pub(super) app_id: Option<String>,
}

/// A file. One that a plan's limit or an administrator hides has no addresses.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) url_private: Option<String>,
    pub(super) permalink: Option<String>,
    pub(super) mimetype: Option<String>,
    pub(super) name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Quoted {
    pub(super) text: Option<String>,
    pub(super) fallback: Option<String>,
}

/// One message on a Socket Mode connection.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Frame {
    /// The connection works.
    Hello,
    /// The connection is about to end.
    Disconnect { reason: Option<String> },
    /// What would be the body of an HTTP request.
    EventsApi { envelope_id: String, payload: Value },
    /// Buttons, slash commands and what may come: acknowledged, otherwise not ours.
    #[serde(untagged)]
    Other { envelope_id: Option<String> },
}

/// Answer of `auth.test`.
#[derive(Debug, Deserialize)]
pub(super) struct AuthTest {
    pub(super) user_id: String,
    pub(super) bot_id: Option<String>,
}

/// Answer of `apps.connections.open`.
#[derive(Debug, Deserialize)]
pub(super) struct ConnectionsOpen {
    /// Good for one connection; whoever has it can take our events.
    pub(super) url: String,
}

fn if_readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_by_type() {
        fn check(json: &str, expected: &str) {
            let frame: Frame = serde_json::from_str(json).unwrap();
            assert_eq!(format!("{frame:?}"), expected);
        }
        check(r#"{"type":"hello","num_connections":1,"connection_info":{"app_id":"A1"}}"#, "Hello");
        check(
            r#"{"type":"disconnect","reason":"refresh_requested","debug_info":{}}"#,
            r#"Disconnect { reason: Some("refresh_requested") }"#,
        );
        check(
            r#"{"type":"events_api","envelope_id":"e1","payload":{},"retry_attempt":1}"#,
            r#"EventsApi { envelope_id: "e1", payload: Object {} }"#,
        );
        check(r#"{"type":"slash_commands","envelope_id":"e2","payload":{}}"#, r#"Other { envelope_id: Some("e2") }"#);
        check(r#"{"type":"new"}"#, "Other { envelope_id: None }");
    }
    #[test]
    fn decoration_of_any_shape_leaves_the_words() {
        let json = r#"{"channel":"C1","ts":"1.1","text":"hi","files":7,"attachments":[{"text":[]}],"bot_profile":""}"#;
        let message: Message = serde_json::from_str(json).unwrap();
        assert_eq!(message.text.as_deref(), Some("hi"));
        assert!(message.files.is_none() && message.attachments.is_none() && message.bot_profile.is_none());
        assert!(message.user_profile.is_none());
    }
}
