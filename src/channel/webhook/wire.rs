//! The bodies of the webhook channel, in and out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::channel::{Event, Reply};
use crate::id::OpaqueId;
use crate::message::{Attachment, Author, ChatKind};

/// What is wrong with a body, and in which field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Error {
    pub(super) field: String,
    pub(super) message: String,
}

/// Where the answer goes: the ids that the peer needs to find its chat again; `null` for what it did not send.
#[derive(Debug, Serialize, Deserialize)]
struct Target {
    server_id: Option<String>,
    channel_id: Option<String>,
    thread_id: Option<String>,
    user_id: Option<String>,
}

/// Reads a body. Unknown fields are left alone: senders grow.
pub(super) fn event(body: &[u8], webhook_id: OpaqueId) -> Result<Event, Error> {
    let body: Value = serde_json::from_slice(body).map_err(|error| Error {
        field: String::new(),
        message: format!("the body is not JSON: line {}, column {}", error.line(), error.column()),
    })?;
    let Value::Object(body) = body else {
        return Err(Error { field: String::new(), message: "the body is not a JSON object".to_owned() });
    };
    let body = Body(body);
    let kind = body.kind("kind")?.ok_or_else(|| missing("kind", "one of direct, group, thread"))?;
    let (server, room) = (body.id("server_id")?, body.id("channel_id")?);
    let (thread, user) = (body.id("thread_id")?, body.id("user_id")?);
    let parent = match kind {
        ChatKind::Thread => match (body.kind("parent_kind")?, &room) {
            (Some(ChatKind::Thread), _) => return Err(missing("parent_kind", "direct or group")),
            (Some(parent), _) => parent,
            (None, Some(_)) => ChatKind::Group,
            (None, None) => return Err(missing("channel_id", "the room that the thread is in")),
        },
        ChatKind::Direct | ChatKind::Group => kind,
    };
    match kind {
        ChatKind::Thread if thread.is_none() => return Err(missing("thread_id", "the id of the thread")),
        ChatKind::Direct | ChatKind::Group if thread.is_some() => {
            let message = format!("a {} message has no thread; write kind \"thread\"", kind.as_str());
            return Err(Error { field: "thread_id".to_owned(), message });
        }
        _ => {}
    }
    match parent {
        ChatKind::Direct if user.is_none() => return Err(missing("user_id", "who writes")),
        ChatKind::Group if room.is_none() => return Err(missing("channel_id", "the id of the group")),
        _ => {}
    }
    let text = body.text("text")?.ok_or_else(|| missing("text", "what was written"))?;
    let own = |id: &Option<OpaqueId>| id.as_ref().map(|id| id.as_str().to_owned());
    let target =
        Target { server_id: own(&server), channel_id: own(&room), thread_id: own(&thread), user_id: own(&user) };
    let reply_target = serde_json::to_string(&target).unwrap_or_default();
    Ok(Event {
        kind,
        parent,
        // SPEC §7.1 has none: the secret is the account.
        account: None,
        server,
        room,
        thread,
        user,
        user_name: body.text("user_name")?.filter(|name| !name.is_empty()),
        author: Author::Peer,
        // Whoever posts here chose to: silence must be asked for.
        mentions_bot: body.flag("mentions_bot")?.unwrap_or(true) || parent == ChatKind::Direct,
        message_id: body.id("message_id")?.unwrap_or_else(|| webhook_id.clone()),
        envelope_id: Some(webhook_id),
        text,
        attachments: body.attachments()?,
        lacks: None,
        reply_target,
    })
}

struct Body(Map<String, Value>);

impl Body {
    /// `null` is the same as absent: many senders write all fields.
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn text(&self, field: &str) -> Result<Option<String>, Error> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(wrong(field, "a string")),
        }
    }

    /// A number is no id: JSON readers round large ones.
    fn id(&self, field: &str) -> Result<Option<OpaqueId>, Error> {
        let id =
            |text| OpaqueId::new(text).map_err(|error| Error { field: field.to_owned(), message: error.to_string() });
        self.text(field)?.map(id).transpose()
    }

    fn flag(&self, field: &str) -> Result<Option<bool>, Error> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(wrong(field, "true or false")),
        }
    }

    fn kind(&self, field: &str) -> Result<Option<ChatKind>, Error> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        let kind = ChatKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.map(Some).ok_or_else(|| wrong(field, "one of direct, group, thread"))
    }

    fn attachments(&self) -> Result<Vec<Attachment>, Error> {
        let list = match self.get("attachments") {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(wrong("attachments", "a list")),
        };
        let attachment = |(n, value): (usize, &Value)| {
            let Value::Object(object) = value else { return Err(wrong(&format!("attachments[{n}]"), "an object")) };
            let body = Self(object.clone());
            let within = |error: Error| Error { field: format!("attachments[{n}].{}", error.field), ..error };
            let url = body.text("url").map_err(within)?;
            Ok(Attachment {
                url: url.ok_or_else(|| within(missing("url", "where the file is")))?,
                mime: body.text("mime").map_err(within)?,
                name: body.text("name").map_err(within)?,
            })
        };
        list.iter().enumerate().map(attachment).collect()
    }
}

fn missing(field: &str, what: &str) -> Error {
    Error { field: field.to_owned(), message: format!("{field} is missing: {what}") }
}

fn wrong(field: &str, expected: &str) -> Error {
    Error { field: field.to_owned(), message: format!("{field} is not {expected}") }
}

/// Writes the body of a reply. `None` if the target is not one of ours.
pub(super) fn reply(reply: &Reply) -> Option<String> {
    #[derive(Serialize)]
    struct Body<'r> {
        session_key: Option<&'r str>,
        in_reply_to: &'r str,
        answers: Vec<&'r str>,
        #[serde(flatten)]
        target: Target,
        text: &'r str,
    }
    let target: Target = serde_json::from_str(&reply.target).ok()?;
    let answers = reply.answers.iter().map(OpaqueId::as_str).collect();
    let body = Body {
        session_key: reply.session_key.as_deref(),
        in_reply_to: reply.in_reply_to.as_str(),
        answers,
        target,
        text: &reply.text,
    };
    serde_json::to_string(&body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Event, Error> {
        event(body.as_bytes(), OpaqueId::new("msg_1").unwrap())
    }

    fn check_error(body: &str, field: &str) {
        assert_eq!(read(body).map_err(|error| error.field), Err(field.to_owned()), "{body}");
    }

    #[test]
    fn a_direct_message_needs_a_user_and_a_text() {
        let event = read(r#"{"kind":"direct","user_id":"u1","text":"hi","server_id":null,"new_field":1}"#).unwrap();
        assert_eq!((event.message_id.as_str(), event.text.as_str()), ("msg_1", "hi"));
        let target = r#"{"server_id":null,"channel_id":null,"thread_id":null,"user_id":"u1"}"#;
        assert_eq!(event.reply_target, target);
        check_error(r#"{"kind":"direct","text":"hi"}"#, "user_id");
        check_error(r#"{"kind":"direct","user_id":"u1"}"#, "text");
        check_error(r#"{"user_id":"u1","text":"hi"}"#, "kind");
    }

    #[test]
    fn wrong_fields_are_named() {
        check_error("{", "");
        check_error("[]", "");
        check_error(r#"{"kind":"dm","user_id":"u1","text":"hi"}"#, "kind");
        check_error(r#"{"kind":"direct","user_id":7,"text":"hi"}"#, "user_id");
        check_error(r#"{"kind":"direct","user_id":"","text":"hi"}"#, "user_id");
        check_error(r#"{"kind":"group","user_id":"u1","text":"hi"}"#, "channel_id");
        check_error(r#"{"kind":"thread","channel_id":"c","text":"hi"}"#, "thread_id");
        check_error(r#"{"kind":"direct","user_id":"u","thread_id":"t","text":"hi"}"#, "thread_id");
        check_error(r#"{"kind":"direct","user_id":"u","text":"hi","attachments":[{}]}"#, "attachments[0].url");
        check_error(r#"{"kind":"direct","user_id":"u","text":"hi","mentions_bot":"yes"}"#, "mentions_bot");
    }

    #[test]
    fn a_group_message_addresses_the_bot_unless_it_says_otherwise() {
        let mentions = |more: &str| {
            let body = format!(r#"{{"kind":"group","channel_id":"c","text":"hi"{more}}}"#);
            read(&body).unwrap().mentions_bot
        };
        assert!(mentions(""));
        assert!(mentions(r#","mentions_bot":true"#));
        assert!(!mentions(r#","mentions_bot":false"#));
    }

    #[test]
    fn a_reply_names_the_chat_again() {
        let event = read(r#"{"kind":"thread","server_id":"s","channel_id":"c","thread_id":"t","text":"hi"}"#).unwrap();
        let made = Reply {
            delivery_id: "dlv_1".into(),
            target: event.reply_target,
            session_key: Some("webhook:s:c:group:thread=t".into()),
            in_reply_to: OpaqueId::new("m2").unwrap(),
            answers: vec![OpaqueId::new("m1").unwrap(), OpaqueId::new("m2").unwrap()],
            text: "hello".into(),
            seq: 3,
        };
        let body: Value = serde_json::from_str(&reply(&made).unwrap()).unwrap();
        let expected = serde_json::json!({
            "session_key": "webhook:s:c:group:thread=t", "in_reply_to": "m2", "answers": ["m1", "m2"],
            "server_id": "s", "channel_id": "c", "thread_id": "t", "user_id": null, "text": "hello",
        });
        assert_eq!(body, expected);
        let outside = Reply { session_key: None, ..made };
        let body: Value = serde_json::from_str(&reply(&outside).unwrap()).unwrap();
        assert_eq!(body["session_key"], Value::Null, "said outside of every conversation");
    }
}
