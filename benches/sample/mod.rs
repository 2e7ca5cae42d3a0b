//! A message as peers write them.

use frontdesk::clock::Timestamp;
use frontdesk::id::{ChannelType, EntryId, OpaqueId};
use frontdesk::message::{Author, ChatKind, Identity, Inbound, ReplyAddress};

/// The first one of a user, in a room if one is named, through the entry `entry`.
pub(crate) fn message(entry: &str, room: Option<u64>, user: u64) -> Inbound {
    let entry = EntryId::new(entry).expect("a name");
    let identity = Identity {
        entry: entry.clone(),
        channel: ChannelType::new("webhook").expect("a name"),
        account: None,
        tenant: None,
        workspace: None,
        server: None,
        room: room.map(|room| id("room", room)),
        thread: None,
        user: Some(id("user", user)),
        kind: ChatKind::Direct,
        parent: ChatKind::Direct,
    };
    Inbound {
        identity,
        user_name: Some("A customer".to_owned()),
        agent: None,
        envelope_id: None,
        author: Author::Peer,
        mentions_bot: true,
        message_id: id("msg", user),
        received_at: Timestamp(1),
        text: "Do you have an appointment on Thursday afternoon?".to_owned(),
        attachments: Vec::new(),
        reply_to: ReplyAddress::new(entry, 0, format!("room_{user}")),
    }
}

fn id(kind: &str, n: u64) -> OpaqueId {
    OpaqueId::new(format!("{kind}_{n}")).expect("an id")
}
