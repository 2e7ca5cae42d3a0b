//! Where a session was held: what its key names, with the ids as the vendor writes them.
//!
//! OpenClaw folds the case of ids in its keys. The true ones stand in what it noted about the last message
//! (`deliveryContext` and `origin`, later `delivery`). Where they do not, the folded id is carried and said.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::key::{Key, Names};
use super::transcript::lenient;
use crate::channel::registry;
use crate::id::{self, API_ENTRY, ChannelType, EntryId, OpaqueId, TenantId};
use crate::message::{ChatKind, Identity};

/// What OpenClaw noted about a session, as much of it as says where it was.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Entry {
    #[serde(deserialize_with = "lenient")]
    pub(super) session_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) session_file: Option<String>,
    pub(super) updated_at: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    space: Option<String>,
    #[serde(deserialize_with = "lenient")]
    subject: Option<String>,
    #[serde(deserialize_with = "lenient")]
    group_channel: Option<String>,
    #[serde(deserialize_with = "lenient")]
    last_channel: Option<String>,
    #[serde(deserialize_with = "lenient")]
    last_to: Option<String>,
    #[serde(deserialize_with = "lenient")]
    last_account_id: Option<String>,
    delivery_context: Option<Context>,
    origin: Option<Origin>,
    delivery: Option<Delivery>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Delivery {
    context: Option<Context>,
    origin: Option<Origin>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Context {
    #[serde(deserialize_with = "lenient")]
    channel: Option<String>,
    #[serde(deserialize_with = "lenient")]
    to: Option<String>,
    #[serde(deserialize_with = "lenient")]
    account_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    thread_id: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Origin {
    #[serde(deserialize_with = "lenient")]
    label: Option<String>,
    #[serde(deserialize_with = "lenient")]
    provider: Option<String>,
    #[serde(deserialize_with = "lenient")]
    from: Option<String>,
    #[serde(deserialize_with = "lenient")]
    to: Option<String>,
    #[serde(deserialize_with = "lenient")]
    native_channel_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    native_direct_user_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    account_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    thread_id: Option<String>,
}

/// What the configuration says about places.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// `session.mainKey`.
    pub main_key: String,
    /// `session.identityLinks`.
    pub links: Vec<(String, Vec<String>)>,
    /// Teams and guilds that bindings name, by channel.
    pub servers: BTreeMap<String, Vec<String>>,
    /// Channels with more than one account: there the account tells conversations apart.
    pub with_accounts: Vec<String>,
}

/// Where a session was held. Ids are the vendor's; [`Place::identity`] writes them as our keys do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As OpenClaw calls the type of the channel.
    pub channel: String,
    /// Which of the bot's accounts, where the channel has several.
    pub account: Option<String>,
    server: Option<String>,
    room: Option<String>,
    thread: Option<String>,
    user: Option<String>,
    parent: ChatKind,
    /// The peer's name, or the room's.
    pub name: Option<String>,
    /// The conversation that all direct messages share: it may hold the words of several peers.
    pub is_shared: bool,
    /// What is different from what it was, in sentences.
    pub notes: Vec<&'static str>,
}

const FOLDED: &str = "the case of its id is not known: OpenClaw folds it; a new message may begin a new conversation";
const NO_SERVER: &str =
    "OpenClaw does not say in which Slack workspace it was; a new message begins a new conversation";

impl Place {
    /// Says where a session was held, or why nobody can tell.
    pub(super) fn of(key: &str, entry: &Entry, known: &Known) -> Result<Self, &'static str> {
        let key = Key::parse(key, &known.main_key);
        let noted = Noted::new(entry);
        let mut notes = Vec::new();
        let mut whole = |id: &str| {
            let (id, is_certain) = noted.whole(id);
            if !is_certain {
                notes.push(FOLDED);
            }
            id
        };
        let name = |is_room: bool| noted.name(is_room);
        let mut place = match key.names {
            Names::Job(reason) => return Err(reason),
            Names::Unknown => return Err("session keys of an unknown shape are not carried"),
            Names::Main if key.thread.is_some() => return Err("session keys of an unknown shape are not carried"),
            Names::Main => {
                let channel = noted.channel.unwrap_or("webchat").to_owned();
                let user = noted.ids.first().copied().unwrap_or("main").to_owned();
                Self { is_shared: true, user: Some(user), name: name(false), ..Self::new(channel, ChatKind::Direct) }
            }
            Names::Api { user } => {
                let user = format!("user_{}", whole(user));
                Self { user: Some(user), ..Self::new(API_ENTRY.to_owned(), ChatKind::Direct) }
            }
            Names::Direct { channel, account, peer } => {
                let channel =
                    channel.or(noted.channel).ok_or("direct messages of an unknown channel are not carried")?;
                let user = match linked(peer, channel, &noted, known) {
                    Some(user) => user?,
                    None => whole(peer),
                };
                let account = account.or(noted.account).map(str::to_owned);
                Self { account, user: Some(user), name: name(false), ..Self::new(channel.to_owned(), ChatKind::Direct) }
            }
            Names::Room { channel, room } => {
                let account = noted.account.map(str::to_owned);
                Self {
                    account,
                    room: Some(whole(room)),
                    name: name(true),
                    ..Self::new(channel.to_owned(), ChatKind::Group)
                }
            }
        };
        place.thread = key.thread.map(|thread| noted.whole_thread(thread));
        place.server = noted.server(&place.channel, known);
        if place.parent == ChatKind::Direct && has_rooms(&place.channel) {
            place.room = noted.direct_room(place.user.as_deref());
        }
        if !known.with_accounts.contains(&place.channel) {
            place.account = None;
        }
        if place.channel == "slack" && place.server.is_none() && !place.is_shared {
            notes.push(NO_SERVER);
        }
        notes.dedup();
        Ok(Self { notes, ..place })
    }

    fn new(channel: String, parent: ChatKind) -> Self {
        Self {
            channel,
            account: None,
            server: None,
            room: None,
            thread: None,
            user: None,
            parent,
            name: None,
            is_shared: false,
            notes: Vec::new(),
        }
    }

    /// The same as an adapter of ours would say it. `entry` is the one that serves the channel now.
    ///
    /// # Errors
    /// When an id is none: empty or endless.
    pub fn identity(&self, entry: EntryId, tenant: Option<TenantId>) -> Result<Identity, id::Error> {
        let id = |text: Option<String>| text.map(OpaqueId::new).transpose();
        let write = |role, text: &Option<String>| id(text.as_ref().map(|text| written(&self.channel, role, text)));
        let is_direct = self.parent == ChatKind::Direct;
        Ok(Identity {
            entry,
            channel: ChannelType::new(registry::key_tag(&self.channel))?,
            account: id(self.account.clone())?,
            tenant,
            workspace: None,
            server: write(Role::Server, &self.server)?,
            room: write(Role::Room, &self.room)?,
            thread: id(self.thread.clone())?,
            user: write(if is_direct { Role::Peer } else { Role::User }, &self.user)?,
            kind: if self.thread.is_some() { ChatKind::Thread } else { self.parent },
            parent: self.parent,
        })
    }

    /// The user of a line, as our adapters write it. In a direct chat there is only one.
    #[must_use]
    pub fn user(&self, sender: Option<&str>) -> Option<String> {
        match self.parent {
            ChatKind::Direct if self.is_shared => sender.map(|sender| written(&self.channel, Role::Peer, sender)),
            ChatKind::Direct => self.user.as_ref().map(|user| written(&self.channel, Role::Peer, user)),
            ChatKind::Group | ChatKind::Thread => sender.map(|sender| written(&self.channel, Role::User, sender)),
        }
    }
}

/// What an id is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Room,
    User,
    /// The one peer of a direct chat.
    Peer,
}

/// An id as our keys write it: with its kind in front where the bare one is a number (SPEC §3.1).
fn written(channel: &str, role: Role, id: &str) -> String {
    let is_number = id.strip_prefix('-').unwrap_or(id).bytes().all(|byte| byte.is_ascii_digit());
    let kind = match (channel, role) {
        _ if !is_number => None,
        // A private chat of Telegram has the number of its peer.
        ("telegram", Role::Room | Role::Peer) => Some("chat"),
        ("discord", Role::Server) => Some("guild"),
        ("discord", Role::Room) => Some("channel"),
        ("discord" | "telegram", Role::User | Role::Peer) => Some("user"),
        _ => None,
    };
    kind.map_or_else(|| id.to_owned(), |kind| format!("{kind}_{id}"))
}

/// An id of a peer as lists of ours write it, `None` for those that stand for everybody.
pub(super) fn written_peer(channel: &str, id: &str) -> Option<String> {
    let bare = bare(id, channel);
    (!bare.is_empty() && bare != "*").then(|| written(channel, Role::Peer, bare))
}

/// An id of a room, team or guild as routes of ours write it.
pub(super) fn written_room(channel: &str, id: &str) -> String {
    written(channel, Role::Room, bare(id, channel))
}

/// See [`written_room`].
pub(super) fn written_server(channel: &str, id: &str) -> String {
    written(channel, Role::Server, id)
}

/// Has a direct chat an id of its own there, beside the peer's?
fn has_rooms(channel: &str) -> bool {
    matches!(channel, "slack" | "discord" | "matrix")
}

/// What was noted about the last message.
struct Noted<'e> {
    entry: &'e Entry,
    origin: Option<&'e Origin>,
    channel: Option<&'e str>,
    account: Option<&'e str>,
    /// Ids in their true case, without what stands in front.
    ids: Vec<&'e str>,
}

impl<'e> Noted<'e> {
    fn new(entry: &'e Entry) -> Self {
        let delivery = entry.delivery.as_ref();
        let context = entry.delivery_context.as_ref().or_else(|| delivery?.context.as_ref());
        let origin = entry.origin.as_ref().or_else(|| delivery?.origin.as_ref());
        let channel = context.and_then(|c| c.channel.as_deref()).or(entry.last_channel.as_deref());
        let channel = channel.or_else(|| origin?.provider.as_deref());
        let account = context.and_then(|c| c.account_id.as_deref()).or(entry.last_account_id.as_deref());
        let account = account.or_else(|| origin?.account_id.as_deref());
        let texts = [
            origin.and_then(|o| o.native_direct_user_id.as_deref()),
            origin.and_then(|o| o.from.as_deref()),
            origin.and_then(|o| o.native_channel_id.as_deref()),
            origin.and_then(|o| o.to.as_deref()),
            context.and_then(|c| c.to.as_deref()),
            entry.last_to.as_deref(),
            origin.and_then(|o| o.thread_id.as_deref()),
            context.and_then(|c| c.thread_id.as_deref()),
        ];
        let ids = texts.into_iter().flatten().map(|text| bare(text, channel.unwrap_or_default()));
        Self { entry, origin, channel, account, ids: ids.collect() }
    }

    /// The id in its true case, and whether that is certain.
    fn whole(&self, folded: &str) -> (String, bool) {
        let is_it = |id: &&&str| id.to_lowercase() == folded.to_lowercase();
        match self.ids.iter().find(is_it) {
            Some(id) => ((*id).to_owned(), true),
            None => (folded.to_owned(), folded.to_lowercase() == folded.to_uppercase()),
        }
    }

    fn whole_thread(&self, folded: &str) -> String {
        self.whole(folded).0
    }

    fn server(&self, channel: &str, known: &Known) -> Option<String> {
        if !matches!(channel, "slack" | "discord") {
            return None;
        }
        let only = || match known.servers.get(channel).map(Vec::as_slice) {
            // Discord's direct chats lie in no guild, and a bot is in many.
            Some([server]) if channel == "slack" => Some(server.clone()),
            _ => None,
        };
        self.entry.space.clone().or_else(only)
    }

    fn direct_room(&self, user: Option<&str>) -> Option<String> {
        let native = self.origin.and_then(|origin| origin.native_channel_id.as_deref());
        native
            .map(|native| bare(native, self.channel.unwrap_or_default()))
            .filter(|room| Some(*room) != user)
            .map(str::to_owned)
    }

    fn name(&self, is_room: bool) -> Option<String> {
        if is_room {
            return self.entry.subject.clone().or_else(|| self.entry.group_channel.clone());
        }
        // Telegram's labels end in `(@name) id:42`.
        let label = self.origin?.label.as_deref()?;
        let label = label.split(" id:").next().unwrap_or(label);
        let label = label.split(" (@").next().unwrap_or(label).trim();
        (!label.is_empty()).then(|| label.to_owned())
    }
}

/// The id of a linked person in this channel: the key has their name instead. `None`: the peer is none.
fn linked(peer: &str, channel: &str, noted: &Noted<'_>, known: &Known) -> Option<Result<String, &'static str>> {
    let is_name = |(name, _): &&(String, Vec<String>)| name.trim().to_lowercase() == peer.to_lowercase();
    let (_, ids) = known.links.iter().find(is_name)?;
    let own = |id: &String| match id.split_once(':') {
        Some((of, id)) if of.eq_ignore_ascii_case(channel) => Some(id.to_owned()),
        _ => None,
    };
    let own: Vec<String> = ids.iter().filter_map(own).collect();
    let is_noted = |id: &&String| noted.ids.iter().any(|noted| noted.to_lowercase() == id.to_lowercase());
    let user = match (own.iter().find(is_noted), own.as_slice()) {
        (Some(id), _) => noted.whole(id).0,
        (None, [only]) => only.clone(),
        (None, _) => {
            return Some(Err(
                "sessions of linked people are not carried where it is not known which of their ids wrote",
            ));
        }
    };
    Some(Ok(user))
}

/// An id without what OpenClaw puts in front of it.
fn bare<'i>(text: &'i str, channel: &str) -> &'i str {
    let mut rest = text.trim();
    loop {
        let Some((front, after)) = rest.split_once(':') else { return rest };
        let is_known = matches!(front, "user" | "channel" | "group" | "room" | "chat" | "direct" | "dm" | "tg")
            || (!channel.is_empty() && front.eq_ignore_ascii_case(channel));
        if !is_known || after.is_empty() {
            return rest;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Config, Resolver};

    fn known() -> Known {
        Known {
            main_key: "main".into(),
            links: vec![("Alice".into(), vec!["telegram:5839201".into(), "whatsapp:+1555".into()])],
            servers: BTreeMap::from([("slack".into(), vec!["T09ABC123".into()])]),
            with_accounts: Vec::new(),
        }
    }

    /// The key under `per-channel-peer`, and the notes.
    fn keyed(key: &str, entry: &str, known: &Known) -> Result<(String, Vec<&'static str>), &'static str> {
        let place = Place::of(key, &serde_json::from_str(entry).unwrap(), known)?;
        let identity = place.identity(EntryId::new("e").unwrap(), None).unwrap();
        let resolved = Resolver::new(&Config::embedded()).resolve(&identity).unwrap();
        Ok((resolved.session_key.to_string(), place.notes))
    }

    #[track_caller]
    fn check(key: &str, entry: &str, expected: &str, notes: &[&'static str]) {
        assert_eq!(keyed(key, entry, &known()), Ok((expected.to_owned(), notes.to_vec())), "{key}");
    }

    #[test]
    fn keys_are_those_that_live_messages_will_have() {
        check("agent:a:telegram:direct:42", "{}", "telegram:chat_42", &[]);
        check("agent:a:whatsapp:default:direct:+15550001", "{}", "wa:+15550001", &[]);
        check("agent:a:whatsapp:group:1203@g.us", "{}", "wa:1203@g.us:group", &[FOLDED]);
        check(
            "agent:a:slack:direct:u07",
            r#"{"origin":{"from":"slack:U07","to":"user:U07","nativeChannelId":"D04"}}"#,
            "slack:T09ABC123:D04:U07",
            &[],
        );
        check(
            "agent:a:slack:channel:c04:thread:17.5",
            r#"{"space":"T1","deliveryContext":{"channel":"slack","to":"channel:C04","threadId":"17.5"}}"#,
            "slack:T1:C04:thread=17.5",
            &[],
        );
        check("agent:a:discord:channel:99", r#"{"space":"742"}"#, "discord:guild_742:channel_99", &[]);
        check("agent:a:telegram:group:-100:topic:42", "{}", "telegram:chat_-100:group:thread=42", &[]);
        check(
            "agent:a:matrix:direct:@eve:example.org",
            r#"{"delivery":{"context":{"channel":"matrix","to":"room:!Dm:example.org"},"origin":{"nativeDirectUserId":"@Eve:example.org","nativeChannelId":"!Dm:example.org"}}}"#,
            "matrix:!Dm:example.org:@Eve:example.org",
            &[],
        );
        check("agent:a:openai-user:42", "{}", "api:user_42", &[]);
    }

    #[test]
    fn a_folded_id_is_carried_and_said() {
        check("agent:a:signal:group:abc=", "{}", "signal:abc%3D:group", &[FOLDED]);
        check("agent:a:signal:group:abc=", r#"{"lastTo":"group:AbC="}"#, "signal:AbC%3D:group", &[]);
        // The noted id is another one: it does not count.
        check("agent:a:signal:group:abc=", r#"{"lastTo":"group:XyZ="}"#, "signal:abc%3D:group", &[FOLDED]);
    }

    #[test]
    fn a_linked_person_gets_their_own_id_back() {
        let noted = r#"{"deliveryContext":{"channel":"telegram","to":"telegram:5839201"}}"#;
        check("agent:a:telegram:default:direct:alice", noted, "telegram:chat_5839201", &[]);
        check("agent:a:direct:alice", noted, "telegram:chat_5839201", &[]);
        check("agent:a:whatsapp:direct:alice", "{}", "wa:+1555", &[]);
        assert!(keyed("agent:a:discord:direct:alice", "{}", &known()).is_err());
        assert!(keyed("agent:a:direct:alice", "{}", &known()).is_err(), "no channel is known");
    }

    #[test]
    fn accounts_count_where_a_channel_has_several() {
        let known = Known { with_accounts: vec!["telegram".into()], ..known() };
        let place = Place::of("agent:a:telegram:second:direct:42", &Entry::default(), &known).unwrap();
        assert_eq!(place.account.as_deref(), Some("second"));
        let identity = place.identity(EntryId::new("e").unwrap(), None).unwrap();
        assert_eq!(identity.account, OpaqueId::new("second").ok());
    }

    #[test]
    fn jobs_and_unknown_shapes_say_why() {
        for key in ["agent:a:cron:n", "agent:a:subagent:1", "global", "agent:a:x:y:z", "agent:a:main:thread:1"] {
            assert!(keyed(key, "{}", &known()).is_err(), "{key}");
        }
    }

    #[test]
    fn the_sender_of_a_line_counts_in_rooms_only() {
        let of = |key| Place::of(key, &Entry::default(), &known()).unwrap();
        assert_eq!(of("agent:a:telegram:group:-1").user(Some("42")).as_deref(), Some("user_42"));
        assert_eq!(of("agent:a:telegram:direct:7").user(Some("42")).as_deref(), Some("chat_7"));
        assert_eq!(of("agent:a:telegram:group:-1").user(None), None);
    }
}
