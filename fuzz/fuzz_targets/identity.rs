//! Identities as people who attack would choose them.

use frontdesk::id::{ChannelType, EntryId, OpaqueId, TenantId};
use frontdesk::message::{ChatKind, Identity};
use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};

/// Ids that look like structure. Few, so that equal ones meet often.
const POOL: [&str; 48] = [
    "a",
    "b",
    "A",
    "a:b",
    ":",
    "%",
    "%3A",
    "%3a",
    "-",
    "x-y",
    "/",
    "{user_id}",
    " ",
    "\0",
    "😀",
    "=",
    "server=a",
    "channel=a",
    "user=a",
    "account=a",
    "type=a",
    "workspace=a",
    "thread=1",
    "group",
    ":group",
    "Group",
    "main",
    "peer",
    "peer:alice",
    "@u:s",
    "@u",
    "@",
    "@:s",
    "@u:",
    "!r:s",
    "!",
    "@u:s:9",
    "chat_1",
    "chat_",
    "user_1",
    "U1",
    "W1",
    "u1",
    "tenant-1-x",
    "_",
    ".",
    "api",
    "\u{301}",
];

const CHANNELS: [&str; 8] = ["slack", "wa", "main", "peer", "group", "a-b", "tenant-1-x", "api"];

/// An identity that may lack or have anything.
#[derive(Debug, Clone)]
pub struct Anybody(pub Identity);

impl<'a> Arbitrary<'a> for Anybody {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        use ChatKind::{Direct, Group, Thread};
        let (kind, parent) = *u.choose(&[(Direct, Direct), (Group, Group), (Thread, Group), (Thread, Direct)])?;
        // Seldom what no adapter may hand over: a thread id that does not fit the kind.
        let has_thread = (kind == Thread) != u.ratio(1, 32)?;
        Ok(Self(Identity {
            entry: EntryId::new("e").unwrap(),
            channel: ChannelType::new(*u.choose(&CHANNELS)?).unwrap(),
            account: maybe_id(u)?,
            tenant: maybe_text(u)?.map(|text| TenantId::new(text).unwrap()),
            workspace: maybe_id(u)?,
            server: maybe_id(u)?,
            room: maybe_id(u)?,
            thread: if has_thread { Some(id(u)?) } else { None },
            user: maybe_id(u)?,
            kind,
            parent,
        }))
    }
}

fn id(u: &mut Unstructured<'_>) -> Result<OpaqueId> {
    text(u).map(|text| OpaqueId::new(text).unwrap())
}

fn maybe_id(u: &mut Unstructured<'_>) -> Result<Option<OpaqueId>> {
    Ok(maybe_text(u)?.map(|text| OpaqueId::new(text).unwrap()))
}

fn maybe_text(u: &mut Unstructured<'_>) -> Result<Option<String>> {
    Ok(if u.ratio(2, 3)? { Some(text(u)?) } else { None })
}

/// One byte for an id of the pool; after another, a length and that many bytes of text; and once in a while a long one.
fn text(u: &mut Unstructured<'_>) -> Result<String> {
    let choice = usize::from(u8::arbitrary(u)?);
    if let Some(id) = POOL.get(choice) {
        return Ok((*id).to_owned());
    }
    let n_bytes = usize::from(u8::arbitrary(u)? % 24).min(u.len());
    let text = String::from_utf8_lossy(u.bytes(n_bytes)?).into_owned();
    Ok(match (text.is_empty(), choice) {
        (true, _) => "x".to_owned(),
        (false, 255) => text.repeat(10_000 / text.len()),
        (false, _) => text,
    })
}
