//! What naming a conversation and finding its agent may allocate, for every message: the key, the address, nothing else.

use std::collections::HashMap;

use allocation_counter::measure;
use frontdesk::id::{AgentId, ChannelType, EntryId, OpaqueId, TenantId};
use frontdesk::message::{ChatKind, Identity};
use frontdesk::route::{Route, Router};
use frontdesk::session::{Address, Config, DmScope, IdentityLink, KeyFormat, Resolver};

fn identity(kind: ChatKind, ids: [&str; 4]) -> Identity {
    let [server, room, thread, user] = ids.map(|id| OpaqueId::new(id).ok());
    Identity {
        entry: EntryId::new("slack").unwrap(),
        channel: ChannelType::new("slack").unwrap(),
        account: None,
        tenant: TenantId::new("acme-dental").ok(),
        workspace: None,
        server,
        room,
        thread,
        user,
        kind,
        parent: if kind == ChatKind::Direct { ChatKind::Direct } else { ChatKind::Group },
    }
}

fn identities() -> Vec<Identity> {
    vec![
        identity(ChatKind::Direct, ["T09ABC123", "C04XYZ789", "", "U07DEF456"]),
        identity(ChatKind::Direct, ["", "", "", "😀 / : % @ \0"]),
        identity(ChatKind::Direct, ["T1", "!room:server", "", "@user:server:8448"]),
        identity(ChatKind::Direct, ["T1", "D1", "", &":".repeat(3_000)]),
        identity(ChatKind::Group, ["T1", "C1", "", "U1"]),
        identity(ChatKind::Group, ["", "U1", "", "U1"]),
        identity(ChatKind::Thread, ["T1", "C1", "1712345678.123456", "U1"]),
    ]
}

#[test]
fn naming_a_conversation_allocates_its_key_and_nothing_else() {
    let ids = vec!["slack:U07DEF456".to_owned(), "wa:+15551234567".to_owned()];
    let links = vec![IdentityLink { name: "alice".into(), ids }];
    for (_, dm_scope) in DmScope::CHOICES {
        for format in [KeyFormat::DEFAULT, "{channel}:{user_id}", "tenant-{tenant_id}-{channel}_{account}.{channel_id}"]
        {
            let key_format = KeyFormat::parse(format).unwrap();
            let config = Config { dm_scope, key_format, identity_links: links.clone(), ..Config::embedded() };
            let resolver = Resolver::new(&config);
            for identity in identities() {
                let mut n_key = 0;
                let info = measure(|| n_key = resolver.resolve(&identity).unwrap().session_key.as_str().len());
                assert_eq!(
                    (info.count_total, info.bytes_total),
                    (1, n_key as u64),
                    "{dm_scope:?} {format} {identity:?}"
                );
            }
        }
    }
}

#[test]
fn an_address_allocates_nothing_unless_ids_are_very_long() {
    for identity in identities() {
        let mut n_address = 0;
        let info = measure(|| n_address = Address::of(&identity).qualified().len());
        assert_eq!(info.count_total == 0, n_address <= 160, "{identity:?}");
    }
}

#[test]
fn finding_the_agent_among_many_routes_allocates_nothing() {
    let pattern = |n: usize| match n % 3 {
        0 => format!("slack:T{n:03}*:*"),
        1 => format!("tenant-{n}-*"),
        _ => format!("tenant-*:C{n}:*a*b*"),
    };
    let route = |n| Route::parse(&format!("{} -> agent-{n}", pattern(n))).unwrap();
    let default_agent = AgentId::new("default").unwrap();
    let router = Router { routes: (0..100).map(route).collect(), tenants: HashMap::new(), default_agent };
    for identity in identities() {
        let address = Address::of(&identity);
        let mut is_default = false;
        let info = measure(|| is_default = router.route(&address, identity.tenant.as_ref()).route.is_none());
        assert!(is_default);
        assert_eq!(info.count_total, 0, "{identity:?}");
    }
}

#[test]
fn an_allocation_would_be_counted() {
    assert_eq!(measure(|| drop(std::hint::black_box(String::from("text")))).count_total, 1);
}
