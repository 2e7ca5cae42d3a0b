//! What values look like on the disk. Domain types know nothing of it.
//!
//! postcard writes fields in order and without names: never change a released shape, add the next one
//! (see `versioned`). `domain` turns shapes into domain types and back. The tenant, the session key and the position of a value are in its key only.

mod domain;

use serde::{Deserialize, Serialize};

use super::versioned::{Unborn, Versioned};

macro_rules! first_version {
    ($($shape:ty: $what:literal),+ $(,)?) => {
        $(impl Versioned for $shape {
            const WHAT: &'static str = $what;
            const VERSION: u8 = 1;
            type Previous = Unborn;

            fn migrate(previous: Unborn) -> Self {
                match previous {}
            }
        })+
    };
}

first_version! {
    Session1: "conversation",
    Archived: "archived conversation",
    Note: "note",
    File1: "working file",
    Line: "line of a transcript",
    Waiting1: "waiting message",
    Delivery1: "reply",
    Parked1: "item that was set aside",
    Pairing: "pairing code",
    Approval: "approval",
    Usage: "figures of use",
    Taken: "conversation that a person answers",
    Access: "record of the access log",
}

impl Versioned for File {
    const WHAT: &'static str = "working file";
    const VERSION: u8 = 2;
    type Previous = File1;

    /// The name was in the key of its row, where the upgrade of the file takes it from.
    fn migrate(previous: File1) -> Self {
        Self { at: previous.at, name: String::new(), bytes: previous.bytes }
    }
}

impl Versioned for Session {
    const WHAT: &'static str = "conversation";
    const VERSION: u8 = 2;
    type Previous = Session1;

    fn migrate(previous: Session1) -> Self {
        Self {
            // What a thread hung on was not kept; most hang on groups.
            parent: if previous.kind == Kind::Thread { Kind::Group } else { previous.kind },
            kind: previous.kind,
            entry: previous.entry,
            channel: previous.channel,
            account: None,
            workspace: None,
            server: previous.server,
            room: previous.room,
            thread: previous.thread,
            user: previous.user,
            user_name: previous.user_name,
            agent: previous.agent,
            episode: 1,
            first_line: 1,
            n_missing: 0,
            first_parked: 1,
            is_news: false,
            n_lines: previous.n_lines,
            n_filed: previous.n_filed,
            n_parked: previous.n_parked,
            created_at: previous.created_at,
            last_active_at: previous.last_active_at,
        }
    }
}

impl Versioned for Waiting {
    const WHAT: &'static str = "waiting message";
    const VERSION: u8 = 2;
    type Previous = Waiting1;

    fn migrate(previous: Waiting1) -> Self {
        let Waiting1 { inbound, n_tries, is_told } = previous;
        Self { inbound, n_tries, is_told, unparked_at: None }
    }
}

impl Versioned for Delivery {
    const WHAT: &'static str = "reply";
    const VERSION: u8 = 2;
    type Previous = Delivery1;

    fn migrate(previous: Delivery1) -> Self {
        let Delivery1 { line, created_at, is_started, address, in_reply_to, answers, text } = previous;
        Self { line, created_at, unparked_at: None, is_started, address, in_reply_to, answers, text }
    }
}

impl Versioned for Outgoing {
    const WHAT: &'static str = "reply";
    const VERSION: u8 = 3;
    type Previous = Delivery;

    fn migrate(previous: Delivery) -> Self {
        let Delivery { line, created_at, unparked_at, is_started, address, in_reply_to, answers, text } = previous;
        let (in_reply_to, text) = (Some(in_reply_to), Some(text));
        Self { line, created_at, unparked_at, is_started, address, in_reply_to, answers, text }
    }
}

impl Versioned for Parked {
    const WHAT: &'static str = "item that was set aside";
    const VERSION: u8 = 2;
    type Previous = Parked1;

    fn migrate(previous: Parked1) -> Self {
        let Parked1 { at, reason, what } = previous;
        let what = match what {
            ParkedItem1::Message(inbound) => ParkedItem::Message(inbound),
            ParkedItem1::Delivery(id, delivery) => ParkedItem::Delivery(id, Delivery::migrate(delivery)),
        };
        Self { at, reason, what }
    }
}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) kind: Kind,
    pub(super) parent: Kind,
    pub(super) entry: String,
    pub(super) channel: String,
    pub(super) account: Option<String>,
    pub(super) workspace: Option<String>,
    pub(super) server: Option<String>,
    pub(super) room: Option<String>,
    pub(super) thread: Option<String>,
    pub(super) user: Option<String>,
    pub(super) user_name: Option<String>,
    pub(super) agent: Option<String>,
    /// Which conversation under this key it is, from 1. Those before it are archived or erased.
    pub(super) episode: u64,
    /// Line of the transcript with which this episode begins, or will begin.
    pub(super) first_line: u64,
    /// Lines between the first and the last of this episode that were erased.
    pub(super) n_missing: u64,
    /// Position of the first item that was set aside in this episode, or will be.
    pub(super) first_parked: u64,
    /// Must the peer be told that this is a new conversation?
    pub(super) is_news: bool,
    /// Lines in the transcript over all episodes, so also the position of the last one.
    pub(super) n_lines: u64,
    /// Messages ever filed: the position of the last one in the inbox.
    pub(super) n_filed: u64,
    /// Items ever set aside: the position of the last one.
    pub(super) n_parked: u64,
    pub(super) created_at: u64,
    pub(super) last_active_at: u64,
}

/// An episode that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Archived {
    /// When.
    pub(super) at: u64,
    /// Did it end because nobody wrote for long?
    pub(super) is_expired: bool,
    /// Its row at that time.
    pub(super) session: Session,
}

/// Something to remember in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) at: u64,
    pub(super) text: String,
}

/// A working file of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct File {
    pub(super) at: u64,
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// A working file as the first version kept it, under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct File1 {
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
}

/// A conversation as the first version kept it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session1 {
    pub(super) kind: Kind,
    pub(super) entry: String,
    pub(super) channel: String,
    pub(super) server: Option<String>,
    pub(super) room: Option<String>,
    pub(super) thread: Option<String>,
    pub(super) user: Option<String>,
    pub(super) user_name: Option<String>,
    pub(super) agent: Option<String>,
    /// Lines in the transcript, so also the position of the last one.
    pub(super) n_lines: u64,
    /// Messages ever filed: the position of the last one in the inbox.
    pub(super) n_filed: u64,
    /// Items ever set aside: the position of the last one.
    pub(super) n_parked: u64,
    pub(super) created_at: u64,
    pub(super) last_active_at: u64,
}

/// The kind of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Direct,
    Group,
    Thread,
}

/// A message in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) inbound: Inbound,
    pub(super) n_tries: u32,
    pub(super) is_told: bool,
    /// When the operator put it back after it was set aside.
    pub(super) unparked_at: Option<u64>,
}

/// A message in the inbox as the first version kept it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting1 {
    pub(super) inbound: Inbound,
    pub(super) n_tries: u32,
    pub(super) is_told: bool,
}

/// A message as it was admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inbound {
    pub(super) identity: Identity,
    pub(super) user_name: Option<String>,
    pub(super) author: Author,
    /// Who was asked for by name.
    pub(super) agent: Option<String>,
    pub(super) mentions_bot: bool,
    pub(super) message_id: String,
    pub(super) received_at: u64,
    pub(super) text: String,
    pub(super) attachments: Vec<Attachment>,
    pub(super) reply_to: Address,
}

/// Where a message came from, but for its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) entry: String,
    pub(super) channel: String,
    pub(super) account: Option<String>,
    pub(super) workspace: Option<String>,
    pub(super) server: Option<String>,
    pub(super) room: Option<String>,
    pub(super) thread: Option<String>,
    pub(super) user: Option<String>,
    pub(super) kind: Kind,
    pub(super) parent: Kind,
}

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Author {
    Peer,
    Own,
    Bot,
}

/// The description of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attachment {
    pub(super) url: String,
    pub(super) mime: Option<String>,
    pub(super) name: Option<String>,
}

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Address<T = String> {
    pub(super) entry: T,
    pub(super) stamp: u64,
    pub(super) target: T,
}

/// A line of a transcript; with `&str`, one that is only looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line<T = String> {
    pub(super) at: u64,
    pub(super) speaker: Speaker<T>,
    pub(super) text: T,
    pub(super) address: Address<T>,
}

/// Who said a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Speaker<T = String> {
    Peer { user: Option<T>, name: Option<T>, message_id: T },
    Agent(T),
    Person(T),
}

/// A reply in the outbox: what its line of the transcript says too is not written twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outgoing {
    pub(super) line: u64,
    pub(super) created_at: u64,
    /// When the operator last put it back after it was set aside.
    pub(super) unparked_at: Option<u64>,
    pub(super) is_started: bool,
    pub(super) address: Address,
    /// `None`: the last of `answers`.
    pub(super) in_reply_to: Option<String>,
    pub(super) answers: Vec<String>,
    /// `None`: what the line says.
    pub(super) text: Option<String>,
}

/// A reply with all that it says, as it is set aside, and as the second version of the outbox kept it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivery {
    pub(super) line: u64,
    pub(super) created_at: u64,
    /// When the operator last put it back after it was set aside.
    pub(super) unparked_at: Option<u64>,
    pub(super) is_started: bool,
    pub(super) address: Address,
    pub(super) in_reply_to: String,
    pub(super) answers: Vec<String>,
    pub(super) text: String,
}

/// A reply in the outbox as the first version kept it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivery1 {
    pub(super) line: u64,
    pub(super) created_at: u64,
    pub(super) is_started: bool,
    pub(super) address: Address,
    pub(super) in_reply_to: String,
    pub(super) answers: Vec<String>,
    pub(super) text: String,
}

/// What was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parked {
    pub(super) at: u64,
    pub(super) reason: String,
    pub(super) what: ParkedItem,
}

/// A message or a reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ParkedItem {
    Message(Box<Inbound>),
    Delivery(u128, Delivery),
}

/// What was set aside as the first version kept it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parked1 {
    pub(super) at: u64,
    pub(super) reason: String,
    pub(super) what: ParkedItem1,
}

/// A message or a reply in [`Parked1`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ParkedItem1 {
    Message(Box<Inbound>),
    Delivery(u128, Delivery1),
}

/// A stranger who waits for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pairing {
    pub(super) stamp: u64,
    pub(super) code: String,
    pub(super) name: Option<String>,
    pub(super) expires_at: u64,
    /// Of the first message: where the stranger is told more.
    pub(super) address: Address,
    pub(super) message_id: String,
}

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Approval {
    pub(super) stamp: u64,
    pub(super) name: Option<String>,
    pub(super) at: u64,
}

/// A live conversation that a person answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    /// Name of the account.
    pub(super) by: String,
    pub(super) since: u64,
    /// When they last took it or said something.
    pub(super) spoke_at: u64,
}

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Access {
    pub(super) at: u64,
    pub(super) who: String,
    pub(super) from: Option<String>,
    pub(super) what: String,
    pub(super) about: About,
}

/// What it was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum About {
    Nothing,
    Key(String),
    /// Stands for the key of a conversation that was erased.
    Erased(String),
    Name(String),
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::clock::Timestamp;
    use crate::id::SessionKey;
    use crate::store::Error;
    use crate::store::record::NewDelivery;
    use crate::store::scope::Scope;

    /// These bytes are on disks: they must be read as this for ever, and while the version is the newest
    /// also be written like this.
    fn check<V: Versioned + PartialEq + Debug>(value: V, expected: &[u8]) {
        let bytes = value.encode().unwrap();
        assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!(V::decode(expected).unwrap(), value);
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    fn address() -> Address {
        Address { entry: text("e"), stamp: 5, target: text("t") }
    }

    fn inbound() -> Inbound {
        Inbound {
            identity: Identity {
                entry: text("e"),
                channel: text("c"),
                account: None,
                workspace: Some(text("w")),
                server: None,
                room: Some(text("r")),
                thread: None,
                user: Some(text("u")),
                kind: Kind::Group,
                parent: Kind::Direct,
            },
            user_name: Some(text("n")),
            author: Author::Bot,
            agent: Some(text("g")),
            mentions_bot: true,
            message_id: text("m"),
            received_at: 300,
            text: text("hi"),
            attachments: vec![Attachment { url: text("l"), mime: None, name: Some(text("f")) }],
            reply_to: address(),
        }
    }

    fn delivery() -> Delivery {
        Delivery {
            line: 2,
            created_at: 300,
            unparked_at: Some(301),
            is_started: true,
            address: address(),
            in_reply_to: text("m"),
            answers: vec![text("l"), text("m")],
            text: text("hi"),
        }
    }

    fn session() -> Session {
        Session {
            kind: Kind::Thread,
            parent: Kind::Direct,
            entry: text("e"),
            channel: text("c"),
            account: Some(text("b")),
            workspace: None,
            server: Some(text("s")),
            room: None,
            thread: Some(text("t")),
            user: None,
            user_name: Some(text("n")),
            agent: Some(text("a")),
            episode: 2,
            first_line: 3,
            n_missing: 1,
            first_parked: 2,
            is_news: true,
            n_lines: 4,
            n_filed: 3,
            n_parked: 1,
            created_at: 300,
            last_active_at: 301,
        }
    }

    #[test]
    fn a_conversation_keeps_its_shape() {
        check(session(), b"\x02\x02\x00\x01e\x01c\x01\x01b\x00\x01\x01s\x00\x01\x01t\x00\x01\x01n\x01\x01a\x02\x03\x01\x02\x01\x04\x03\x01\xac\x02\xad\x02");
        check(Archived { at: 302, is_expired: true, session: session() }, b"\x01\xae\x02\x01\x02\x00\x01e\x01c\x01\x01b\x00\x01\x01s\x00\x01\x01t\x00\x01\x01n\x01\x01a\x02\x03\x01\x02\x01\x04\x03\x01\xac\x02\xad\x02");
    }

    #[test]
    fn a_conversation_of_the_first_version_is_its_first_episode() {
        let first = b"\x01\x02\x01e\x01c\x01\x01s\x00\x01\x01t\x00\x01\x01n\x01\x01a\x04\x03\x01\xac\x02\xad\x02";
        let migrated = Session {
            parent: Kind::Group,
            account: None,
            episode: 1,
            first_line: 1,
            n_missing: 0,
            first_parked: 1,
            is_news: false,
            ..session()
        };
        assert_eq!(Session::decode(first).unwrap(), migrated);
    }

    #[test]
    fn memory_keeps_its_shape() {
        check(Note { at: 300, text: text("hi") }, b"\x01\xac\x02\x02hi");
        check(File1 { at: 300, bytes: vec![0, 255] }, b"\x01\xac\x02\x02\x00\xff");
        let file = File { at: 300, name: text("f"), bytes: vec![0, 255] };
        check(file.clone(), b"\x02\xac\x02\x01f\x02\x00\xff");
        assert_eq!(File::decode(b"\x01\xac\x02\x02\x00\xff").unwrap(), File { name: text(""), ..file });
    }

    #[test]
    fn a_waiting_message_keeps_its_shape() {
        let waiting = |unparked_at| Waiting { inbound: inbound(), n_tries: 2, is_told: true, unparked_at };
        check(waiting(Some(301)), b"\x02\x01e\x01c\x00\x01\x01w\x00\x01\x01r\x00\x01\x01u\x01\x00\x01\x01n\x02\x01\x01g\x01\x01m\xac\x02\x02hi\x01\x01l\x00\x01\x01f\x01e\x05\x01t\x02\x01\x01\xad\x02");
        let first = b"\x01\x01e\x01c\x00\x01\x01w\x00\x01\x01r\x00\x01\x01u\x01\x00\x01\x01n\x02\x01\x01g\x01\x01m\xac\x02\x02hi\x01\x01l\x00\x01\x01f\x01e\x05\x01t\x02\x01";
        assert_eq!(Waiting::decode(first).unwrap(), waiting(None));
    }

    #[test]
    fn a_line_keeps_its_shape() {
        let line = |speaker| Line { at: 300, speaker, text: text("hi"), address: address() };
        check(
            line(Speaker::Peer { user: None, name: Some(text("n")), message_id: text("m") }),
            b"\x01\xac\x02\x00\x00\x01\x01n\x01m\x02hi\x01e\x05\x01t",
        );
        check(line(Speaker::Agent(text("a"))), b"\x01\xac\x02\x01\x01a\x02hi\x01e\x05\x01t");
        check(line(Speaker::Person(text("p"))), b"\x01\xac\x02\x02\x01p\x02hi\x01e\x05\x01t");
    }

    #[test]
    fn what_people_do_keeps_its_shape() {
        check(Taken { by: text("a"), since: 300, spoke_at: 301 }, b"\x01\x01a\xac\x02\xad\x02");
        let access = |from, about| Access { at: 300, who: text("w"), from, what: text("x"), about };
        check(access(None, About::Nothing), b"\x01\xac\x02\x01w\x00\x01x\x00");
        check(access(Some(text("f")), About::Key(text("k"))), b"\x01\xac\x02\x01w\x01\x01f\x01x\x01\x01k");
        check(access(None, About::Erased(text("k"))), b"\x01\xac\x02\x01w\x00\x01x\x02\x01k");
        check(access(None, About::Name(text("n"))), b"\x01\xac\x02\x01w\x00\x01x\x03\x01n");
    }

    #[test]
    fn a_line_that_is_looked_at_says_the_same() {
        for speaker in [
            Speaker::Person(text("p")),
            Speaker::Agent(text("a")),
            Speaker::Peer { user: None, name: None, message_id: text("m") },
            Speaker::Peer { user: Some(text("u")), name: Some(text("n")), message_id: text("m") },
        ] {
            let line = Line { at: 300, speaker, text: text("hi"), address: address() };
            let bytes = line.encode().unwrap();
            let borrowed: Line<&str> = Line::<String>::borrow(&bytes).unwrap();
            assert_eq!(borrowed.words(), line.words());
            for n in 0..bytes.len() {
                assert!(Line::<String>::borrow::<Line<&str>>(&bytes[..n]).is_none(), "cut at {n}");
            }
        }
        assert!(Line::<String>::borrow::<Line<&str>>(b"\x02\xac\x02\x01\x01a\x02hi\x01e\x05\x01t").is_none());
    }

    #[test]
    fn a_reply_keeps_its_shape() {
        let outgoing = Outgoing::migrate(delivery());
        check(outgoing.clone(), b"\x03\x02\xac\x02\x01\xad\x02\x01\x01e\x05\x01t\x01\x01m\x02\x01l\x01m\x01\x02hi");
        let short = Outgoing { in_reply_to: None, text: None, ..outgoing.clone() };
        check(short, b"\x03\x02\xac\x02\x01\xad\x02\x01\x01e\x05\x01t\x00\x02\x01l\x01m\x00");
        let second = b"\x02\x02\xac\x02\x01\xad\x02\x01\x01e\x05\x01t\x01m\x02\x01l\x01m\x02hi";
        assert_eq!(Outgoing::decode(second).unwrap(), outgoing);
        let first = b"\x01\x02\xac\x02\x01\x01e\x05\x01t\x01m\x02\x01l\x01m\x02hi";
        assert_eq!(Outgoing::decode(first).unwrap(), Outgoing { unparked_at: None, ..outgoing });
    }

    #[test]
    fn a_reply_that_is_its_line_says_it_once() {
        let line = Line { at: 300, speaker: Speaker::Agent(text("a")), text: text("hi"), address: address() };
        let first = Delivery { unparked_at: None, is_started: false, ..delivery() };
        let scope = Scope { tenant: None, key: SessionKey::parse("a").unwrap() };
        let content = first.clone().restore(1, scope).unwrap().content;
        let outgoing = Outgoing::new(&content, 2, Timestamp(300), Some("hi"));
        assert_eq!((outgoing.in_reply_to.as_deref(), outgoing.text.as_deref()), (None, None));
        assert_eq!(outgoing.clone().whole(|| Ok(Some(line.clone()))).unwrap(), first);
        assert!(matches!(outgoing.whole(|| Ok(None)), Err(Error::Value { .. })));
        for said in [None, Some("hi there")] {
            let outgoing = Outgoing::new(&content, 2, Timestamp(300), said);
            assert_eq!(outgoing.whole(|| Ok(None)).unwrap(), first);
        }
        // What answers nothing stays when its line is erased.
        let notice = NewDelivery { answers: Vec::new(), ..content };
        assert!(Outgoing::new(&notice, 2, Timestamp(300), Some("hi")).text.is_some());
    }

    #[test]
    fn a_pairing_and_an_approval_keep_their_shape() {
        let pairing = Pairing {
            stamp: 5,
            code: text("ABCD2345"),
            name: Some(text("n")),
            expires_at: 300,
            address: address(),
            message_id: text("m"),
        };
        check(pairing, b"\x01\x05\x08ABCD2345\x01\x01n\xac\x02\x01e\x05\x01t\x01m");
        check(Approval { stamp: 300, name: None, at: 301 }, b"\x01\xac\x02\x00\xad\x02");
    }

    #[test]
    fn what_was_set_aside_keeps_its_shape() {
        let parked = |what| Parked { at: 300, reason: text("why"), what };
        check(parked(ParkedItem::Message(Box::new(inbound()))), b"\x02\xac\x02\x03why\x00\x01e\x01c\x00\x01\x01w\x00\x01\x01r\x00\x01\x01u\x01\x00\x01\x01n\x02\x01\x01g\x01\x01m\xac\x02\x02hi\x01\x01l\x00\x01\x01f\x01e\x05\x01t");
        check(parked(ParkedItem::Delivery(1 << 80, delivery())), b"\x02\xac\x02\x03why\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x08\x02\xac\x02\x01\xad\x02\x01\x01e\x05\x01t\x01m\x02\x01l\x01m\x02hi");
    }

    #[test]
    fn what_the_first_version_set_aside_was_never_put_back() {
        let check = |first: &[u8], what| {
            assert_eq!(Parked::decode(first).unwrap(), Parked { at: 300, reason: text("why"), what });
        };
        let message = b"\x01\xac\x02\x03why\x00\x01e\x01c\x00\x01\x01w\x00\x01\x01r\x00\x01\x01u\x01\x00\x01\x01n\x02\x01\x01g\x01\x01m\xac\x02\x02hi\x01\x01l\x00\x01\x01f\x01e\x05\x01t";
        check(message, ParkedItem::Message(Box::new(inbound())));
        let reply = b"\x01\xac\x02\x03why\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x08\x02\xac\x02\x01\x01e\x05\x01t\x01m\x02\x01l\x01m\x02hi";
        check(reply, ParkedItem::Delivery(1 << 80, Delivery { unparked_at: None, ..delivery() }));
    }
}

/// What was counted in an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage {
    pub(super) messages: u64,
    pub(super) answers: u64,
    /// By [`crate::usage::LATENCY_BOUNDS_MS`], without the empty ones at the end. Other bounds need another version.
    pub(super) latency: Vec<u64>,
    pub(super) latency_sum_ms: u64,
    pub(super) latency_max_ms: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) model_errors: u64,
    /// Currency, 10⁻¹² of its unit.
    pub(super) costs: Vec<([u8; 3], u64)>,
}
