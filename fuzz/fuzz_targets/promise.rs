//! What the key of an identity must tell, put together without the resolver.

use frontdesk::id::{OpaqueId, SessionKey};
use frontdesk::message::{ChatKind, Identity};
use frontdesk::session::{Body, DmScope, Field, IdentityLink, KeyFormat, Parsed, Resolver};

/// The people whom every resolver here knows under several ids.
pub fn links() -> Vec<IdentityLink> {
    let link = |name: &str, ids: &[&str]| IdentityLink {
        name: name.to_owned(),
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    vec![link("alice", &["slack:a", "wa:b", "slack:@u:s"]), link("@bob:home", &["slack:%", "main::"])]
}

/// Everything that a key must tell under one scope and format.
#[derive(Debug, PartialEq, Eq)]
pub struct Promise {
    tenant: Option<String>,
    workspace: Option<String>,
    thread: Option<String>,
    body: Told,
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Main,
    Peer(String),
    Chat { is_group: bool, ids: Vec<(&'static str, String)> },
}

/// The fields that tell chats apart; tenant, workspace and thread are told beside them.
const FIELDS: [Field; 5] = [Field::Channel, Field::Account, Field::Server, Field::Room, Field::User];

/// What the scope and the format promise to keep apart; `None` for an identity that must be refused.
pub fn promise(scope: DmScope, format: &KeyFormat, identity: &Identity) -> Option<Promise> {
    let own = |id: &Option<OpaqueId>| id.as_ref().map(|id| id.as_str().to_owned());
    let is_group = identity.parent == ChatKind::Group;
    let tenant = identity.tenant.as_ref().map(|tenant| tenant.as_str().to_owned());
    // A chat that is its own peer, as Telegram's.
    let is_lone = !is_group && identity.user.is_none() && own(&identity.room).is_some_and(|id| id.starts_with("chat_"));
    let (room, user) = if is_lone { (None, own(&identity.room)) } else { (own(&identity.room), own(&identity.user)) };
    let is_thread = identity.kind == ChatKind::Thread;
    let has_peer = user.is_some() || (scope != DmScope::PerPeer && room.is_some());
    let is_whole = if is_group { room.is_some() } else { has_peer };
    if is_thread != identity.thread.is_some() || !is_whole || (format.has(Field::Tenant) && tenant.is_none()) {
        return None;
    }
    let linked = || {
        let id = format!("{}:{}", identity.channel, user.as_deref().unwrap_or_default());
        links().into_iter().find(|link| link.ids.contains(&id)).map(|link| link.name)
    };
    let body = match (is_group, scope) {
        (false, DmScope::Main) => Told::Main,
        (false, DmScope::PerPeer) if linked().is_some() => Told::Peer(linked()?),
        _ => {
            let is_told = |field| match (is_group, scope) {
                (true, _) => field != Field::User,
                (false, DmScope::PerPeer) => matches!(field, Field::Channel | Field::User),
                (false, _) => format.has(field),
            };
            let channel = Some(identity.channel.as_str().to_owned());
            let all = FIELDS.into_iter().zip([channel, own(&identity.account), own(&identity.server), room, user]);
            let told = all.filter(|(field, _)| is_told(*field)).filter_map(|(field, id)| Some((field.name(), id?)));
            let ids: Vec<_> = told.collect();
            // A key without any id would be everybody's.
            if ids.is_empty() {
                return None;
            }
            Told::Chat { is_group, ids }
        }
    };
    Some(Promise { tenant, workspace: own(&identity.workspace), thread: own(&identity.thread), body })
}

/// The same of a key that was read back.
fn told(parsed: &Parsed) -> Promise {
    let body = match &parsed.body {
        Body::Main => Told::Main,
        Body::Peer(name) => Told::Peer(name.clone()),
        Body::Chat(chat) => {
            let ids = FIELDS.into_iter().filter_map(|field| Some((field.name(), chat.id(field)?.to_owned())));
            Told::Chat { is_group: chat.is_group, ids: ids.collect() }
        }
    };
    let (tenant, workspace, thread) = (parsed.tenant.clone(), parsed.workspace.clone(), parsed.thread.clone());
    Promise { tenant, workspace, thread, body }
}

/// The key says what it promises, reads back as that, and is the same again; or there is none, as it must be.
pub fn check_one(
    resolver: &Resolver,
    scope: DmScope,
    format: &KeyFormat,
    identity: &Identity,
) -> Option<(SessionKey, Promise)> {
    let resolved = resolver.resolve(identity);
    assert_eq!(resolver.resolve(identity), resolved);
    let Some(promise) = promise(scope, format, identity) else {
        assert!(!resolved.expect_err("an identity without a key").to_string().is_empty());
        return None;
    };
    let key = resolved.expect("an identity that has a key").session_key;
    assert_eq!(SessionKey::parse(&key.to_string()).as_ref(), Ok(&key), "printed and parsed");
    assert_eq!(told(&resolver.parse(&key).expect("a key that it made")), promise, "{key}");
    Some((key, promise))
}

/// Two identities have one key if and only if scope and format promise them the same.
pub fn check_two(resolver: &Resolver, scope: DmScope, format: &KeyFormat, pair: [&Identity; 2]) {
    let [first, second] = pair.map(|identity| check_one(resolver, scope, format, identity));
    if let (Some((first_key, first)), Some((second_key, second))) = (first, second) {
        assert_eq!(first_key == second_key, first == second, "{first_key} and {second_key}");
    }
}
