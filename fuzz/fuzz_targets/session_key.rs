//! Eats a text that may be a key, and two identities under a configuration.

#![no_main]

mod identity;
mod promise;

use frontdesk::id::SessionKey;
use frontdesk::session::{Config, DmScope, KeyFormat, Resolver};
use identity::Anybody;
use libfuzzer_sys::arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;

const FORMATS: [&str; 8] = [
    KeyFormat::DEFAULT,
    "tenant-{tenant_id}-{channel}:{server_id}:{channel_id}:{user_id}",
    "{channel}:{server_id}:{channel_id}",
    "kyra-user-{user_id}",
    "{user_id}@{channel}-{account}:x",
    "{channel}:{account}:{server_id}:{channel_id}:{thread_id}:{user_id}",
    "{channel}_{workspace_id}.{channel_id}",
    "p:{server_id}:{channel}:{tenant_id}",
];

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let scope = DmScope::CHOICES[usize::from(u8::arbitrary(&mut u).unwrap_or_default()) % 3].1;
    let format = FORMATS[usize::from(u8::arbitrary(&mut u).unwrap_or_default()) % FORMATS.len()];
    let key_format = KeyFormat::parse(format).unwrap();
    let config = Config {
        dm_scope: scope,
        key_format: key_format.clone(),
        identity_links: promise::links(),
        ..Config::embedded()
    };
    let resolver = Resolver::new(&config);

    if let Ok(text) = str::from_utf8(data)
        && let Ok(key) = SessionKey::parse(text)
    {
        assert_eq!(key.as_str(), text, "parsed and printed");
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"'\"\\/$`&;|<>()*?[]#{}".contains(&byte)));
        let _ = resolver.parse(&key);
    }
    if let (Ok(Anybody(first)), Ok(mut second)) = (Anybody::arbitrary(&mut u), Anybody::arbitrary(&mut u)) {
        // Half of the time both differ in one field at most.
        if let Ok(n @ 0..8) = u.int_in_range(0..=15) {
            let other = std::mem::replace(&mut second.0, first.clone());
            match n {
                0 => second.0.account = other.account,
                1 => second.0.tenant = other.tenant,
                2 => second.0.workspace = other.workspace,
                3 => second.0.server = other.server,
                4 => second.0.room = other.room,
                5 => second.0.user = other.user,
                6 => (second.0.kind, second.0.parent, second.0.thread) = (other.kind, other.parent, other.thread),
                _ => second.0.channel = other.channel,
            }
        }
        promise::check_two(&resolver, scope, &key_format, [&first, &second.0]);
    }
});
