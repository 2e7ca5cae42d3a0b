//! What always holds of session keys (SPEC §3), tried with ids that people who attack would choose.

use proptest::prelude::*;

use super::*;
use crate::id::{ChannelType, EntryId, OpaqueId, SessionKey, TenantId};
use crate::message::{ChatKind, Identity};

const FORMATS: [&str; 10] = [
    KeyFormat::DEFAULT,
    "tenant-{tenant_id}-{channel}:{server_id}:{channel_id}:{user_id}",
    "{channel}:{server_id}:{channel_id}",
    "kyra-user-{user_id}",
    "{user_id}@{channel}-{account}:x",
    "{channel}:{account}:{server_id}:{channel_id}:{thread_id}:{user_id}",
    "{channel}_{workspace_id}.{channel_id}",
    "p:{server_id}:{channel}:{tenant_id}",
    "{channel}:{server_id}-{channel_id}:{user_id}",
    "{account}:{channel_id}:-{user_id}",
];

fn resolver(dm_scope: DmScope, format: &str) -> Resolver {
    Resolver::new(&Config { dm_scope, key_format: KeyFormat::parse(format).unwrap(), ..Config::embedded() })
}

fn identity(channel: &str, kind: ChatKind, ids: [&str; 4]) -> Identity {
    let [server, room, thread, user] = ids.map(|id| OpaqueId::new(id).ok());
    let parent = match (kind, &room) {
        (ChatKind::Thread, Some(_)) => ChatKind::Group,
        (ChatKind::Thread, None) => ChatKind::Direct,
        (kind, _) => kind,
    };
    Identity {
        entry: EntryId::new(channel).unwrap(),
        channel: ChannelType::new(channel).unwrap(),
        account: None,
        tenant: None,
        workspace: None,
        server,
        room,
        thread,
        user,
        kind,
        parent,
    }
}

fn check(resolver: &Resolver, identity: &Identity, expected: &str) {
    let resolved = resolver.resolve(identity).map_or_else(|error| error.to_string(), |r| r.session_key.to_string());
    assert_eq!(resolved, expected);
}

#[test]
fn what_an_entry_says_outside_of_conversations_is_in_none() {
    let notices = SessionKey::of_notices(&EntryId::new("slack").unwrap());
    assert_eq!(SessionKey::parse(notices.as_str()), Ok(notices.clone()));
    for format in FORMATS {
        for dm_scope in [DmScope::Main, DmScope::PerChannelPeer, DmScope::PerPeer] {
            assert!(resolver(dm_scope, format).parse(&notices).is_err(), "{format}");
        }
    }
}

#[test]
fn the_printed_examples_to_the_letter() {
    let resolver = Resolver::new(&Config::embedded());
    let direct = |channel, ids| identity(channel, ChatKind::Direct, ids);
    check(
        &resolver,
        &direct("slack", ["T09ABC123", "C04XYZ789", "", "U07DEF456"]),
        "slack:T09ABC123:C04XYZ789:U07DEF456",
    );
    check(
        &resolver,
        &direct("discord", ["guild_742", "channel_9981", "", "user_4412"]),
        "discord:guild_742:channel_9981:user_4412",
    );
    check(&resolver, &direct("wa", ["", "", "", "+15551234567"]), "wa:+15551234567");
    check(&resolver, &direct("telegram", ["", "chat_5839201", "", ""]), "telegram:chat_5839201");
    check(&resolver, &direct("telegram", ["", "", "", "chat_5839201"]), "telegram:chat_5839201");
    check(&resolver, &direct("webchat", ["", "", "", "anon_9d2f1c"]), "webchat:anon_9d2f1c");
    check(
        &resolver,
        &direct("matrix", ["", "!room_abc:server", "", "@user:server"]),
        "matrix:!room_abc:server:@user:server",
    );
}

#[test]
fn groups_and_threads_have_keys_of_their_own_under_every_scope() {
    for (_, scope) in DmScope::CHOICES {
        let resolver = resolver(scope, KeyFormat::DEFAULT);
        check(&resolver, &identity("slack", ChatKind::Group, ["T1", "C1", "", "U1"]), "slack:T1:C1");
        check(&resolver, &identity("slack", ChatKind::Thread, ["T1", "C1", "17.5", "U1"]), "slack:T1:C1:thread=17.5");
    }
}

#[test]
fn a_group_that_could_be_taken_for_a_direct_chat_says_what_it_is() {
    let resolver = Resolver::new(&Config::embedded());
    check(&resolver, &identity("x", ChatKind::Group, ["S1", "C1", "", "U1"]), "x:S1:C1");
    check(&resolver, &identity("x", ChatKind::Direct, ["", "S1", "", "C1"]), "x:C1:channel=S1");
    check(&resolver, &identity("x", ChatKind::Direct, ["", "S1", "", "U1"]), "x:S1:U1");
    check(&resolver, &identity("x", ChatKind::Group, ["S1", "U1", "", "U1"]), "x:S1:U1:group");
    check(&resolver, &identity("x", ChatKind::Group, ["", "C1", "", "U1"]), "x:C1:group");
    check(
        &resolver,
        &identity("x", ChatKind::Direct, ["", "channel_9981", "", "user_4412"]),
        "x:channel_9981:user_4412",
    );
}

#[test]
fn a_thread_under_a_direct_chat_hangs_on_its_scope() {
    let thread =
        Identity { parent: ChatKind::Direct, ..identity("slack", ChatKind::Thread, ["T1", "D1", "17.5", "U1"]) };
    let with = |scope| resolver(scope, KeyFormat::DEFAULT);
    check(&with(DmScope::PerChannelPeer), &thread, "slack:T1:D1:U1:thread=17.5");
    check(&with(DmScope::PerPeer), &thread, "slack:U1:thread=17.5");
    check(&with(DmScope::Main), &thread, "main:thread=17.5");
}

#[test]
fn main_does_not_merge_those_who_come_by() {
    let visitor = identity("webchat", ChatKind::Direct, ["", "", "", "anon_1"]);
    let public = resolver(DmScope::Main, KeyFormat::DEFAULT).with_public(visitor.entry.clone());
    check(&public, &visitor, "webchat:anon_1");
    let elsewhere = Identity { entry: EntryId::new("desk").unwrap(), ..visitor };
    check(&public, &elsewhere, "main");
}

#[test]
fn a_format_of_ids_that_are_not_there_names_nobody() {
    let stranger = identity("webhook", ChatKind::Direct, ["", "", "", "u1"]);
    for format in ["{channel_id}", "desk-{channel_id}", "{server_id}:{channel_id}"] {
        let resolved = resolver(DmScope::PerChannelPeer, format).resolve(&stranger);
        assert!(matches!(resolved, Err(ResolveError::Missing { .. })), "{format}: {resolved:?}");
    }
    let with_room = Identity { room: OpaqueId::new("D1").ok(), ..stranger };
    assert_eq!(
        resolver(DmScope::PerChannelPeer, "{channel_id}").resolve(&with_room).unwrap().session_key.as_str(),
        "D1"
    );
}

#[test]
fn a_tenant_is_always_in_front() {
    let tenant = Some(TenantId::new("42").unwrap());
    let direct = Identity { tenant, ..identity("slack", ChatKind::Direct, ["T09ABC", "C04XYZ", "", "U07DEF"]) };
    let scoped = |scope, format| resolver(scope, format);
    check(&scoped(DmScope::Main, FORMATS[0]), &direct, "tenant-42-main");
    check(&scoped(DmScope::PerPeer, FORMATS[0]), &direct, "tenant-42-slack:U07DEF");
    for format in [FORMATS[0], FORMATS[1]] {
        check(&scoped(DmScope::PerChannelPeer, format), &direct, "tenant-42-slack:T09ABC:C04XYZ:U07DEF");
    }
    let dashed = Identity { tenant: Some(TenantId::new("acme-dental").unwrap()), ..direct.clone() };
    check(&scoped(DmScope::PerPeer, FORMATS[0]), &dashed, "tenant-acme-dental-slack:U07DEF");
    let untenanted = Identity { tenant: None, ..direct };
    check(&scoped(DmScope::PerPeer, FORMATS[1]), &untenanted, &ResolveError::NoTenant.to_string());
}

#[test]
fn a_workspace_is_a_segment_behind_the_tenant() {
    let mut direct = identity("slack", ChatKind::Direct, ["T1", "D1", "", "U1"]);
    direct.workspace = Some(OpaqueId::new("w-1").unwrap());
    check(&resolver(DmScope::PerChannelPeer, FORMATS[0]), &direct, "workspace=w-1:slack:T1:D1:U1");
    direct.tenant = Some(TenantId::new("42").unwrap());
    check(&resolver(DmScope::Main, FORMATS[0]), &direct, "tenant-42-workspace=w-1:main");
}

#[test]
fn the_main_conversation_is_known_without_a_message() {
    let mut direct = identity("slack", ChatKind::Direct, ["T1", "D1", "", "U1"]);
    let main = resolver(DmScope::Main, FORMATS[0]);
    for (tenant, workspace) in [(None, None), (Some("42"), None), (None, Some("w-1")), (Some("42"), Some("w-1"))] {
        direct.tenant = tenant.map(|tenant| TenantId::new(tenant).unwrap());
        direct.workspace = workspace.map(|workspace| OpaqueId::new(workspace).unwrap());
        let key = main.resolve(&direct).unwrap().session_key;
        assert_eq!(main.main_key(direct.tenant.as_ref(), direct.workspace.as_ref()), Some(key));
    }
    assert_eq!(resolver(DmScope::PerPeer, FORMATS[0]).main_key(None, None), None);
}

#[test]
fn linked_people_share_one_conversation_under_per_peer() {
    let ids = vec!["slack:U07DEF456".to_owned(), "wa:+15551234567".to_owned()];
    let identity_links = vec![IdentityLink { name: "alice".into(), ids }];
    let resolver = Resolver::new(&Config { dm_scope: DmScope::PerPeer, identity_links, ..Config::embedded() });
    check(&resolver, &identity("slack", ChatKind::Direct, ["T1", "D1", "", "U07DEF456"]), "peer:alice");
    check(&resolver, &identity("wa", ChatKind::Direct, ["", "", "", "+15551234567"]), "peer:alice");
    check(&resolver, &identity("discord", ChatKind::Direct, ["", "", "", "U07DEF456"]), "discord:U07DEF456");
}

#[test]
fn no_peer_has_the_key_of_a_group_whatever_separates_its_ids() {
    let group = identity("slack", ChatKind::Group, ["T", "C", "", "U"]);
    let resolver_with = |format| resolver(DmScope::PerPeer, format);
    let dashed = resolver_with("{channel}:{server_id}-{channel_id}:{user_id}");
    check(&dashed, &group, "slack:T-C");
    check(&dashed, &identity("slack", ChatKind::Direct, ["", "", "", "T-C"]), "slack:T%2DC");
    let low = resolver_with("{channel}_{server_id}:{channel_id}:{user_id}");
    check(&low, &group, "slack_T:C");
    check(&low, &identity("slack_T", ChatKind::Direct, ["", "", "", "C"]), "slack%5FT:C");
}

#[test]
fn a_tenant_ends_where_it_ends_when_ids_drop_out() {
    let resolver = resolver(DmScope::PerChannelPeer, "{channel}:{server_id}-{channel_id}:{user_id}");
    let tenant = |id| TenantId::new(id).ok();
    let group = Identity { tenant: tenant("a"), ..identity("slack", ChatKind::Group, ["", "x", "", "U"]) };
    check(&resolver, &group, "tenant-a-slack-x:group");
    let dashed = Identity { tenant: tenant("a-slack"), ..identity("x", ChatKind::Group, ["", "C", "", "U"]) };
    check(&resolver, &dashed, "tenant-a%2Dslack-x-C:group");
}

#[test]
fn an_id_in_front_is_taken_for_nothing_else() {
    let resolver = resolver(DmScope::PerChannelPeer, "{account}:{channel_id}:{user_id}");
    let direct = |user| identity("x", ChatKind::Direct, ["", "", "", user]);
    check(&resolver, &direct("tenant-1-x"), "%74enant-1-x");
    check(&resolver, &Identity { tenant: TenantId::new("1").ok(), ..direct("x") }, "tenant-1-x");
    check(&resolver, &direct("main"), "%6Dain");
    check(
        &resolver,
        &Identity { account: OpaqueId::new("peer").ok(), ..identity("x", ChatKind::Direct, ["", "a", "", "U"]) },
        "%70eer:a:U",
    );
}

#[test]
fn a_group_is_marked_where_a_separator_could_begin_an_id() {
    let resolver = resolver(DmScope::PerChannelPeer, "{channel}:{server_id}:U{channel_id}:{user_id}");
    check(&resolver, &identity("x", ChatKind::Group, ["s", "1", "", "u"]), "x:s:U1:group");
    check(&resolver, &identity("x", ChatKind::Direct, ["", "s", "", "U1"]), "x:Us:U1");
}

#[test]
fn a_linked_person_has_the_key_of_no_group() {
    let link = IdentityLink { name: "slack-C".into(), ids: vec!["slack:U".to_owned()] };
    let key_format = KeyFormat::parse("{server_id}:{channel}-{channel_id}-{account}:{user_id}").unwrap();
    let config = Config { dm_scope: DmScope::PerPeer, key_format, identity_links: vec![link], ..Config::embedded() };
    check(&Resolver::new(&config), &identity("slack", ChatKind::Direct, ["", "", "", "U"]), "peer:slack%2DC");
}

#[test]
fn a_peer_is_not_read_back_as_a_group() {
    let resolver = resolver(DmScope::PerPeer, "{account}:{channel_id}:-{user_id}");
    let key = resolver.resolve(&identity("slack", ChatKind::Direct, ["", "", "", "x"])).unwrap().session_key;
    let Body::Chat(chat) = resolver.parse(&key).unwrap().body else { unreachable!() };
    assert_eq!((chat.is_group, chat.id(Field::User)), (false, Some("x")), "{key}");
}

#[test]
fn a_format_cannot_merge_two_groups() {
    let resolver = resolver(DmScope::PerChannelPeer, "{channel}:{user_id}");
    let group = |room| identity("slack", ChatKind::Group, ["T1", room, "", "U1"]);
    check(&resolver, &group("C1"), "slack:group:server=T1:channel=C1");
    check(&resolver, &group("C2"), "slack:group:server=T1:channel=C2");
}

#[test]
fn groups_of_two_accounts_stay_apart() {
    let group = |account| Identity {
        account: OpaqueId::new(account).ok(),
        ..identity("irc", ChatKind::Group, ["", "#general", "", "nick"])
    };
    let resolver = Resolver::new(&Config::embedded());
    check(&resolver, &group("net-a"), "irc:%23general:group:account=net-a");
    check(&resolver, &group("net-b"), "irc:%23general:group:account=net-b");
}

#[test]
fn a_gap_in_the_middle_is_named() {
    let resolver = Resolver::new(&Config::embedded());
    let direct = |ids| identity("x", ChatKind::Direct, ids);
    check(&resolver, &direct(["S", "", "", "U"]), "x:U:server=S");
    check(&resolver, &direct(["", "C", "", "U1"]), "x:C:U1");
    check(&resolver, &direct(["", "S", "", ""]), "x:channel=S");
}

#[test]
fn what_cannot_be_resolved_fails_closed() {
    let resolver = Resolver::new(&Config::embedded());
    check(&resolver, &identity("x", ChatKind::Direct, ["S", "", "", ""]), "a direct message needs a user_id");
    check(&resolver, &identity("x", ChatKind::Group, ["S", "", "", "U"]), "a group message needs a channel_id");
    check(&resolver, &identity("x", ChatKind::Thread, ["", "C", "", "U"]), "a thread message needs a thread_id");
    let stray = identity("x", ChatKind::Direct, ["", "C", "T", "U"]);
    check(&resolver, &stray, "a direct message has a thread_id; its kind must be thread");
}

/// Ids that look like structure, from a pool so small that equal ones meet often.
fn hostile_id() -> impl Strategy<Value = String> {
    let pool = [
        "a",
        "b",
        "a:b",
        ":",
        "%",
        "%3A",
        "-",
        "x-y",
        "/",
        "{user_id}",
        " ",
        "\0",
        "😀",
        "=",
        "server=a",
        "thread=1",
        "group",
        ":group",
        "main",
        "peer",
        "@u:s",
        "@u",
        "!r:s",
        "@u:s:9",
        "chat_1",
        "tenant-1-x",
        "workspace=w",
        "_",
        ".",
    ];
    prop_oneof![20 => proptest::sample::select(pool.to_vec()).prop_map(str::to_owned), 2 => "\\PC{1,8}", 1 => Just("x".repeat(10_000))]
}

fn hostile_identity() -> impl Strategy<Value = Identity> {
    let some = || proptest::option::weighted(0.7, hostile_id());
    let channel = proptest::sample::select(&["slack", "wa", "main", "peer", "group", "a-b", "tenant-1-x"][..]);
    let kinds = [
        (ChatKind::Direct, ChatKind::Direct),
        (ChatKind::Group, ChatKind::Group),
        (ChatKind::Thread, ChatKind::Group),
        (ChatKind::Thread, ChatKind::Direct),
    ];
    let kinds = proptest::sample::select(kinds.to_vec());
    ((channel, kinds, some(), some()), (some(), some(), some(), hostile_id(), some())).prop_map(
        |((channel, (kind, parent), account, tenant), (workspace, server, room, thread, user))| {
            let id = |text: Option<String>| text.map(|text| OpaqueId::new(text).unwrap());
            Identity {
                entry: EntryId::new("e").unwrap(),
                channel: ChannelType::new(channel).unwrap(),
                account: id(account),
                tenant: tenant.map(|text| TenantId::new(text).unwrap()),
                workspace: id(workspace),
                server: id(server),
                room: id(room),
                thread: id((kind == ChatKind::Thread).then_some(thread)),
                user: id(user),
                kind,
                parent,
            }
        },
    )
}

/// Identities of a channel whose messages all have the same ids, as those of a vendor do, from so small a pool that two
/// of them often share a key.
fn plain_identity() -> impl Strategy<Value = Identity> {
    let id = |ids: [&'static str; 2]| proptest::sample::select(ids.to_vec());
    let channel = proptest::sample::select(vec!["slack", "wa"]);
    let kinds = [
        (ChatKind::Direct, ChatKind::Direct),
        (ChatKind::Group, ChatKind::Group),
        (ChatKind::Thread, ChatKind::Group),
        (ChatKind::Thread, ChatKind::Direct),
    ];
    let kinds = proptest::sample::select(kinds.to_vec());
    let ids = (id(["A1", "A2"]), id(["S1", "S2"]), id(["!r:s", "C2"]), id(["17.5", "a:b"]), id(["U1", "@u:s"]));
    (channel, kinds, ids, id(["W1", "W2"]), any::<bool>()).prop_map(
        |(channel, (kind, parent), (account, server, room, thread, user), workspace, has_tenant)| {
            let id = |text: &str| OpaqueId::new(text).ok();
            Identity {
                account: id(account),
                tenant: has_tenant.then(|| TenantId::new("a-b").unwrap()),
                workspace: id(workspace).filter(|_| channel == "slack"),
                server: id(server),
                room: id(room),
                thread: id(thread).filter(|_| kind == ChatKind::Thread),
                user: id(user),
                kind,
                parent,
                ..identity(channel, kind, ["", "", "", ""])
            }
        },
    )
}

/// What the scope and the format promise to keep apart: everything that a key must tell.
fn promised(scope: DmScope, format: &KeyFormat, identity: &Identity) -> Parsed {
    let own = |id: &Option<OpaqueId>| id.as_ref().map(|id| id.as_str().to_owned());
    let is_group = identity.parent == ChatKind::Group;
    let lone_chat = identity.user.is_none() && own(&identity.room).is_some_and(|room| room.starts_with("chat_"));
    let (room, user) = match lone_chat && !is_group {
        true => (None, own(&identity.room)),
        false => (own(&identity.room), own(&identity.user)),
    };
    let tenant = identity.tenant.as_ref().map(|t| t.as_str().to_owned());
    let all = [
        (Field::Channel, Some(identity.channel.as_str().to_owned())),
        (Field::Account, own(&identity.account)),
        (Field::Server, own(&identity.server)),
        (Field::Room, room),
        (Field::User, user),
    ];
    let is_shown = |field| match (is_group, scope) {
        (true, _) => field != Field::User,
        (false, DmScope::PerPeer) => matches!(field, Field::Channel | Field::User),
        (false, _) => format.has(field),
    };
    let ids = all.into_iter().filter(|(field, _)| is_shown(*field)).filter_map(|(field, id)| Some((field, id?)));
    let body = match (is_group, scope) {
        (false, DmScope::Main) => Body::Main,
        _ => Body::Chat(Chat::of(is_group, ids)),
    };
    Parsed { tenant, workspace: own(&identity.workspace), body, thread: own(&identity.thread) }
}

/// Tenant and workspace are told by the prefix already; a format may show them once more.
fn without_repeats(mut parsed: Parsed) -> Parsed {
    if let Body::Chat(chat) = parsed.body {
        parsed.body = Body::Chat(chat.without(Field::Workspace).without(Field::Tenant));
    }
    parsed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn a_key_reads_back_as_what_it_was_made_of(identity in hostile_identity(), scope in 0..3_usize, format in 0..FORMATS.len()) {
        let (_, scope) = DmScope::CHOICES[scope];
        let resolver = resolver(scope, FORMATS[format]);
        if let Ok(resolved) = resolver.resolve(&identity) {
            let printed = resolved.session_key.to_string();
            prop_assert_eq!(SessionKey::parse(&printed), Ok(resolved.session_key.clone()));
            let parsed = resolver.parse(&resolved.session_key).map(without_repeats);
            let expected = promised(scope, &KeyFormat::parse(FORMATS[format]).unwrap(), &identity);
            prop_assert_eq!(parsed, Ok(expected), "{}", printed);
            prop_assert_eq!(resolver.resolve(&identity), Ok(resolved));
        }
    }

    #[test]
    fn a_format_is_refused_or_used_and_never_a_panic(text in "\\PC{0,40}|[{}a-z_:@-]{0,40}") {
        let _ = KeyFormat::parse(&text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z0-9:=@!%A-F-]{1,60}", format in 0..FORMATS.len()) {
        if let Ok(key) = SessionKey::parse(&text) {
            let _ = resolver(DmScope::PerChannelPeer, FORMATS[format]).parse(&key);
        }
    }
}

/// What becomes of a conversation of `identity` that was named by `old`, under `new`.
fn check_rekey(old: &Resolver, identity: &Identity, writers: Writers, new: &Resolver, expected: &str) {
    let key = old.resolve(identity).unwrap().session_key;
    let said = match new.rekey(&key, identity, writers) {
        Rekey::Same => "same".to_owned(),
        Rekey::Moves(key) => key.to_string(),
        Rekey::Shared => "shared".to_owned(),
        Rekey::Unresolvable(error) => error.to_string(),
    };
    assert_eq!(said, expected, "{key}");
}

#[test]
fn a_change_of_scope_or_format_moves_what_belongs_to_one() {
    let format = |format| resolver(DmScope::PerChannelPeer, format);
    let scope = |scope| resolver(scope, FORMATS[0]);
    let (main, apart, peer) = (scope(DmScope::Main), scope(DmScope::PerChannelPeer), scope(DmScope::PerPeer));
    let direct = identity("slack", ChatKind::Direct, ["T1", "D1", "", "U1"]);
    let plain = identity("webhook", ChatKind::Direct, ["", "", "", "u1"]);
    let group = identity("slack", ChatKind::Group, ["T1", "C1", "", "U1"]);
    let thread = identity("slack", ChatKind::Thread, ["T1", "C1", "17.5", "U1"]);
    let (one, several) = (Writers::One, Writers::Several);

    check_rekey(&apart, &direct, one, &apart, "same");
    check_rekey(&apart, &direct, one, &peer, "slack:U1");
    check_rekey(&apart, &direct, one, &main, "main");
    check_rekey(&apart, &direct, several, &main, "main");
    check_rekey(&apart, &direct, one, &format("{user_id}.{server_id}"), "U1.T1");
    check_rekey(&apart, &group, several, &main, "same");
    check_rekey(
        &apart,
        &thread,
        several,
        &format("kyra-user-{user_id}"),
        "kyra-user-:group:type=slack:server=T1:channel=C1:thread=17.5",
    );
    check_rekey(&peer, &plain, one, &apart, "same");
}

#[test]
fn what_several_may_have_written_cannot_be_split() {
    let scope = |scope| resolver(scope, FORMATS[0]);
    let (main, apart, peer) = (scope(DmScope::Main), scope(DmScope::PerChannelPeer), scope(DmScope::PerPeer));
    let direct = identity("slack", ChatKind::Direct, ["T1", "D1", "", "U1"]);
    let plain = identity("webhook", ChatKind::Direct, ["", "", "", "u1"]);
    let federated = identity("matrix", ChatKind::Direct, ["", "!r:s", "", "@u:s"]);
    let without_user = resolver(DmScope::PerChannelPeer, FORMATS[2]);
    let (one, several) = (Writers::One, Writers::Several);

    check_rekey(&main, &plain, one, &apart, "webhook:u1");
    check_rekey(&main, &plain, several, &apart, "shared");
    check_rekey(&main, &direct, one, &peer, "slack:U1");
    check_rekey(&main, &direct, one, &apart, "shared");
    check_rekey(&peer, &direct, one, &apart, "shared");
    check_rekey(&without_user, &direct, one, &apart, "slack:T1:D1:U1");
    check_rekey(&without_user, &direct, several, &apart, "shared");
    check_rekey(
        &apart,
        &federated,
        one,
        &resolver(DmScope::PerChannelPeer, "p:{channel}:{channel_id}"),
        "p:matrix:!r:s",
    );
    let tenant = Identity { tenant: Some(TenantId::new("a-b").unwrap()), ..direct.clone() };
    check_rekey(
        &apart,
        &tenant,
        one,
        &resolver(DmScope::PerChannelPeer, "{server_id}:{channel_id}:{user_id}"),
        "tenant-a%2Db-T1:D1:U1",
    );
    check_rekey(
        &apart,
        &direct,
        one,
        &resolver(DmScope::PerChannelPeer, FORMATS[1]),
        &ResolveError::NoTenant.to_string(),
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    /// Two who shared a key and have two now: neither is told what the other said.
    #[test]
    fn a_new_key_never_splits_what_two_have_written(
        one in plain_identity(), other in plain_identity(), scopes in (0..3_usize, 0..3_usize), formats in (0..FORMATS.len(), 0..FORMATS.len()),
    ) {
        let resolver = |scope: usize, format: usize| resolver(DmScope::CHOICES[scope].1, FORMATS[format]);
        let (old, new) = (resolver(scopes.0, formats.0), resolver(scopes.1, formats.1));
        let (Ok(key), Ok(of_other)) = (old.resolve(&one), old.resolve(&other)) else { return Ok(()) };
        let writers = if (&one.channel, &one.user) == (&other.channel, &other.user) { Writers::One } else { Writers::Several };
        prop_assert_eq!(old.rekey(&key.session_key, &one, writers), Rekey::Same);
        let becomes = new.rekey(&key.session_key, &one, if key == of_other { writers } else { Writers::One });
        match new.resolve(&one) {
            Err(error) => prop_assert_eq!(becomes, Rekey::Unresolvable(error)),
            Ok(now) if now.session_key == key.session_key => prop_assert_eq!(becomes, Rekey::Same),
            Ok(now) => {
                let is_split = key == of_other && new.resolve(&other).map(|other| other.session_key) != Ok(now.session_key.clone());
                prop_assert!(becomes == Rekey::Shared || (!is_split && becomes == Rekey::Moves(now.session_key)), "{:?}", becomes);
            }
        }
    }
}
