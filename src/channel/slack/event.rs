//! From a callback of Slack to an [`Event`]. Pure: the same bytes always name the same conversation.

use serde::{Deserialize, Serialize};

use super::text;
use super::wire::{Callback, File, Message};
use crate::channel::Event;
use crate::id::{self, OpaqueId};
use crate::message::{Attachment, Author, ChatKind};

/// What a callback says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Somebody wrote something.
    Message(Box<Event>),
    /// An event that no conversation is made of: its type, or the subtype of a message.
    Other(String),
}

/// A message that lacks what every message has.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("a message event that cannot be read")]
    Shape(#[from] serde_json::Error),
    #[error("a message event without {0}")]
    Missing(&'static str),
    #[error("a message event with a wrong id")]
    Id(#[from] id::Error),
}

/// Who the bot is, as `auth.test` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Me {
    pub(super) user_id: String,
    pub(super) bot_id: Option<String>,
}

/// Where an answer goes: a channel, and a thread when the message came from one.
///
/// Carried as JSON, so that no character of an id can be taken for a separator.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) channel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thread_ts: Option<String>,
}

/// Reads an `event_callback`. `me` is known once `auth.test` has answered; before that the
/// callback's own authorization says who the bot is.
///
/// # Errors
/// When nobody can tell which message it is. Sending it again would not help.
pub(super) fn read(callback: Callback, me: Option<&Me>) -> Result<Reading, Error> {
    let field = |name| callback.event.get(name).and_then(serde_json::Value::as_str);
    let is_mention = match field("type") {
        Some("message") => false,
        Some("app_mention") => true,
        other => return Ok(Reading::Other(other.unwrap_or("no type").to_owned())),
    };
    // Of the subtypes these are new words. The others say that something was changed, removed or arranged.
    match field("subtype") {
        None | Some("file_share" | "thread_broadcast" | "me_message" | "bot_message") => {}
        Some(subtype) => return Ok(Reading::Other(subtype.to_owned())),
    }
    let message = Message::deserialize(&callback.event)?;
    event(&callback, message, me, is_mention).map(|event| Reading::Message(Box::new(event)))
}

fn event(callback: &Callback, message: Message, me: Option<&Me>, is_mention: bool) -> Result<Event, Error> {
    let is_direct = match message.channel_type.as_deref() {
        Some("im" | "app_home") => true,
        Some(_) => false,
        None => message.channel.starts_with('D'),
    };
    let parent = if is_direct { ChatKind::Direct } else { ChatKind::Group };
    // The first message of a thread names itself as the thread: it still stands in the channel.
    let thread = message.thread_ts.clone().filter(|thread_ts| *thread_ts != message.ts);
    let kind = if thread.is_some() { ChatKind::Thread } else { parent };

    let bot_users = [me.map(|me| me.user_id.as_str()), authorized_bot(callback)];
    let raw = message.text.as_deref().unwrap_or_default();
    let is_named = bot_users.iter().flatten().any(|user| text::mentions(raw, user));

    let user = message.user.as_deref().or(message.bot_id.as_deref());
    let [team, user] = [team(callback), user].map(|id| id.filter(|id| !id.is_empty()));
    Ok(Event {
        kind,
        parent,
        account: None,
        server: team.map(OpaqueId::new).transpose()?,
        room: Some(OpaqueId::new(message.channel.as_str())?),
        thread: thread.as_deref().map(OpaqueId::new).transpose()?,
        user: user.map(OpaqueId::new).transpose()?,
        user_name: user_name(&message),
        author: author(callback, &message, me),
        mentions_bot: is_direct || is_mention || is_named,
        message_id: message_id(&message)?,
        envelope_id: None,
        text: words(&message, &bot_users),
        attachments: message.files.into_iter().flatten().filter_map(attachment).collect(),
        // Slack takes what we cannot place for delivered, so it is kept instead of refused.
        lacks: match (team, user) {
            (Some(_), Some(_)) => None,
            (None, _) => Some("a team"),
            (_, None) => Some("an author"),
        },
        reply_target: Target { channel: message.channel, thread_ts: thread }.print(),
    })
}

impl Target {
    fn print(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// The workspace that the app is installed in.
///
/// A channel shared between companies has messages from several teams, and the callback's `team_id` may
/// name any of them; one channel must stay one conversation. So the installation comes first, as in
/// Slack's own libraries, and `team_id` last. An installation for a whole organisation names no workspace.
fn team(callback: &Callback) -> Option<&str> {
    let installation = callback.authorizations.iter().flatten().next();
    let installed = installation.filter(|a| !a.is_enterprise_install).and_then(|a| a.team_id.as_deref());
    installed.or(callback.context_team_id.as_deref()).or(callback.team_id.as_deref())
}

fn authorized_bot(callback: &Callback) -> Option<&str> {
    let installation = callback.authorizations.iter().flatten().next();
    installation.filter(|a| a.is_bot).and_then(|a| a.user_id.as_deref())
}

fn author(callback: &Callback, message: &Message, me: Option<&Me>) -> Author {
    let user = message.user.as_deref();
    let bot = message.bot_id.as_deref();
    let app = message.app_id.as_deref().or(message.bot_profile.as_ref().and_then(|p| p.app_id.as_deref()));

    let is_own_user = user.is_some() && (user == me.map(|me| me.user_id.as_str()) || user == authorized_bot(callback));
    let is_own_bot = bot.is_some() && bot == me.and_then(|me| me.bot_id.as_deref());
    let is_own_app = bot.is_some() && app.is_some() && app == callback.api_app_id.as_deref();
    if is_own_user || is_own_bot || is_own_app {
        Author::Own
    } else if bot.is_some() || user == Some("USLACKBOT") {
        Author::Bot
    } else {
        Author::Peer
    }
}

/// `message` and `app_mention` tell of the same words with different event ids: channel and `ts` name them.
fn message_id(message: &Message) -> Result<OpaqueId, Error> {
    if message.ts.is_empty() {
        return Err(Error::Missing("a ts"));
    }
    Ok(OpaqueId::new(format!("{}:{}", message.channel, message.ts))?)
}

fn user_name(message: &Message) -> Option<String> {
    let profile = message.user_profile.as_ref();
    [
        profile.and_then(|profile| profile.display_name.as_ref()),
        profile.and_then(|profile| profile.real_name.as_ref()),
        message.username.as_ref(),
    ]
    .into_iter()
    .flatten()
    .find(|name| !name.is_empty())
    .cloned()
}

fn words(message: &Message, bot_users: &[Option<&str>]) -> String {
    let raw = message.text.as_deref().unwrap_or_default();
    let addressed = bot_users.iter().flatten().fold(raw, |text, user| text::without_leading_mention(text, user));
    // A mention alone still says something; a forwarded message says what it quotes.
    if !addressed.is_empty() {
        return text::render(addressed);
    }
    if !raw.is_empty() {
        return text::render(raw);
    }
    let quoted = message.attachments.iter().flatten();
    let lines: Vec<_> = quoted.filter_map(|q| q.text.as_deref().or(q.fallback.as_deref())).map(text::render).collect();
    lines.join("\n")
}

fn attachment(file: File) -> Option<Attachment> {
    let url = file.url_private.or(file.permalink)?;
    Some(Attachment { url, mime: file.mimetype, name: file.name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn callback(event: Value) -> Callback {
        serde_json::from_value(json!({
            "type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event": event,
            "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": true, "is_enterprise_install": false}],
        }))
        .unwrap()
    }

    /// A message in a channel with these fields changed.
    fn read_message(changes: &Value, me: Option<&Me>) -> Event {
        let mut event = json!({
            "type": "message", "channel": "C1", "channel_type": "channel", "user": "U1", "text": "hi", "ts": "1.1",
        });
        for (name, value) in changes.as_object().unwrap() {
            event[name] = value.clone();
        }
        match read(callback(event), me).unwrap() {
            Reading::Message(event) => *event,
            Reading::Other(name) => panic!("{name} is no message"),
        }
    }

    #[test]
    fn kind_thread_and_reply_follow_the_place() {
        #[track_caller]
        fn check(changes: Value, kind: ChatKind, parent: ChatKind, target: &str) {
            let event = read_message(&changes, None);
            assert_eq!((event.kind, event.parent, event.reply_target.as_str()), (kind, parent, target), "{changes}");
            assert_eq!(event.thread.is_some(), kind == Thread, "{changes}");
        }
        use ChatKind::{Direct, Group, Thread};
        check(json!({}), Group, Group, r#"{"channel":"C1"}"#);
        check(json!({"thread_ts": "1.1"}), Group, Group, r#"{"channel":"C1"}"#);
        check(json!({"thread_ts": "1.0"}), Thread, Group, r#"{"channel":"C1","thread_ts":"1.0"}"#);
        check(json!({"channel_type": "mpim"}), Group, Group, r#"{"channel":"C1"}"#);
        check(json!({"channel_type": "group"}), Group, Group, r#"{"channel":"C1"}"#);
        check(json!({"channel": "D1", "channel_type": "im"}), Direct, Direct, r#"{"channel":"D1"}"#);
        check(
            json!({"channel": "D1", "channel_type": "im", "thread_ts": "1.0"}),
            Thread,
            Direct,
            r#"{"channel":"D1","thread_ts":"1.0"}"#,
        );
        check(json!({"type": "app_mention", "channel_type": null}), Group, Group, r#"{"channel":"C1"}"#);
        check(json!({"channel": "D1", "channel_type": null}), Direct, Direct, r#"{"channel":"D1"}"#);
    }

    #[test]
    fn the_author_is_a_person_ourselves_or_another_bot() {
        let me = Me { user_id: "UME".to_owned(), bot_id: Some("BME".to_owned()) };
        let check = |changes: Value, expected| {
            assert_eq!(read_message(&changes, Some(&me)).author, expected, "{changes}");
        };
        check(json!({}), Author::Peer);
        check(json!({"user": "UME"}), Author::Own);
        check(json!({"user": "UBOT"}), Author::Own);
        check(json!({"bot_id": "BME"}), Author::Own);
        check(json!({"bot_id": "B2", "app_id": "A1"}), Author::Own);
        check(json!({"bot_id": "B2", "bot_profile": {"app_id": "A1"}}), Author::Own);
        check(json!({"bot_id": "B2", "app_id": "A2"}), Author::Bot);
        check(json!({"subtype": "bot_message", "user": null, "bot_id": "B2"}), Author::Bot);
        check(json!({"user": "USLACKBOT"}), Author::Bot);
        check(json!({"app_id": "A1"}), Author::Peer);
    }

    #[test]
    fn the_bot_is_addressed_by_name_or_in_private() {
        #[track_caller]
        fn check(changes: Value, expected: bool, text: &str) {
            let me = Me { user_id: "UME".to_owned(), bot_id: None };
            let event = read_message(&changes, Some(&me));
            assert_eq!((event.mentions_bot, event.text.as_str()), (expected, text), "{changes}");
        }
        check(json!({}), false, "hi");
        check(json!({"text": "<@UME> hi"}), true, "hi");
        check(json!({"text": "<@UBOT>, hi"}), true, "hi");
        check(json!({"text": "hi <@UME>"}), true, "hi @UME");
        check(json!({"text": "<@UME>"}), true, "@UME");
        check(json!({"text": "<@U2> hi"}), false, "@U2 hi");
        check(json!({"type": "app_mention", "text": "<@U2> hi"}), true, "@U2 hi");
        check(json!({"channel": "D1", "channel_type": "im"}), true, "hi");
        check(json!({"channel": "D1", "channel_type": "im", "thread_ts": "1.0"}), true, "hi");
    }

    #[test]
    fn message_and_mention_of_the_same_words_are_one_message() {
        let message = read_message(&json!({"text": "<@UBOT> hi"}), None);
        let mention = read_message(&json!({"type": "app_mention", "channel_type": null, "text": "<@UBOT> hi"}), None);
        assert_eq!(message, mention);
        assert_eq!(message.message_id.as_str(), "C1:1.1");
    }

    #[test]
    fn the_server_is_the_workspace_of_the_installation() {
        #[track_caller]
        fn check(changes: Value, expected: &str) {
            let mut envelope = json!({"type": "event_callback", "team_id": "THEIRS"});
            for (name, value) in changes.as_object().unwrap() {
                envelope[name] = value.clone();
            }
            assert_eq!(team(&serde_json::from_value(envelope).unwrap()), Some(expected), "{changes}");
        }
        let organisation = json!([{"team_id": "TONE", "user_id": "U", "is_enterprise_install": true}]);
        check(json!({}), "THEIRS");
        check(json!({"context_team_id": "OURS"}), "OURS");
        check(json!({"context_team_id": "CONTEXT", "authorizations": [{"team_id": "OURS"}]}), "OURS");
        check(json!({"context_team_id": null, "authorizations": []}), "THEIRS");
        check(json!({"context_team_id": "OURS", "authorizations": organisation}), "OURS");
    }

    #[test]
    fn a_message_that_cannot_be_told_from_others_is_an_error() {
        for field in ["channel", "ts"] {
            for value in [json!(null), json!("")] {
                let mut event = json!({"type": "message", "channel": "C1", "user": "U1", "text": "hi", "ts": "1.1"});
                event[field] = value.clone();
                assert!(read(callback(event), None).is_err(), "{field} {value}");
            }
        }
    }

    #[test]
    fn a_message_without_an_author_or_a_team_says_so() {
        let check = |event: Value, is_of_a_team: bool, lacks: Option<&'static str>| {
            let callback = if is_of_a_team {
                callback(event)
            } else {
                Callback { kind: "event_callback".into(), event, ..Callback::default() }
            };
            let Reading::Message(event) = read(callback, None).unwrap() else { panic!("a message") };
            assert_eq!((event.lacks, event.user.is_some()), (lacks, lacks != Some("an author")));
        };
        let event = |user: Value| json!({"type": "message", "channel": "C1", "user": user, "text": "hi", "ts": "1.1"});
        check(event(json!("U1")), true, None);
        check(event(json!(null)), true, Some("an author"));
        check(event(json!("")), true, Some("an author"));
        check(event(json!("U1")), false, Some("a team"));
    }

    #[test]
    fn a_forwarded_message_says_what_it_quotes() {
        let event =
            read_message(&json!({"text": "", "attachments": [{"text": "old &amp; wise"}, {"fallback": "f"}]}), None);
        assert_eq!(event.text, "old & wise\nf");
    }
    proptest::proptest! {
        #[test]
        fn two_places_never_share_a_reply_target(a: (String, Option<String>), b: (String, Option<String>)) {
            let target = |(channel, thread_ts): (String, Option<String>)| Target { channel, thread_ts };
            let (a, b) = (target(a), target(b));
            proptest::prop_assert_eq!(a.print() == b.print(), a == b);
            proptest::prop_assert_eq!(serde_json::from_str::<Target>(&a.print()).unwrap(), a);
        }

        #[test]
        fn ids_are_kept_byte_for_byte(channel in ".+", user in ".+", ts in ".+") {
            let changes = json!({"channel": channel, "user": user, "ts": ts});
            let event = read_message(&changes, None);
            proptest::prop_assert_eq!(event.room, Some(OpaqueId::new(channel.as_str()).unwrap()));
            proptest::prop_assert_eq!(event.user, Some(OpaqueId::new(user.as_str()).unwrap()));
            proptest::prop_assert!(event.message_id.as_str().starts_with(&channel));
            proptest::prop_assert!(event.message_id.as_str().ends_with(&ts));
        }
    }
}
