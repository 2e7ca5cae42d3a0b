//! The store through its own surface. What the fuzz target `store_ops` needs of it is there with the feature `testing` too.
#![cfg_attr(not(test), expect(dead_code, reason = "the fuzz target needs a part of it"))]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "no part of the program")]

#[cfg(test)]
mod access;
#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod context;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod damage;
mod disk;
#[cfg(test)]
mod entry;
#[cfg(test)]
mod files;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod life;
mod model;
#[cfg(test)]
mod rewrite;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod taking;
#[cfg(test)]
mod tenant;
#[cfg(test)]
mod unpark;
#[cfg(test)]
mod usage;

pub use model::compare_with_maps;

use crate::clock::Timestamp;
use crate::id::{AgentId, ChannelType, EntryId, OpaqueId, SessionKey, TenantId};
use crate::message::{Attachment, Author, ChatKind, Identity, Inbound, ReplyAddress};

#[cfg(test)]
use super::SessionStore;
use super::check::relations;
#[cfg(test)]
use super::place::InDirectory;
use super::salvage::Problems;
#[cfg(test)]
use super::seal::Keyring;
use super::{
    ArchivedRow, Delivery, FileRow, Life, Line, NewDelivery, Note, Parked, ParkedItem, SessionRow, Store, Taken, Turn,
    Waiting,
};

const CACHE_BYTES: usize = 1024 * 1024;
const FOR_EVER: Life = Life { ttl_ms: None, says_new: true };

fn key(text: &str) -> SessionKey {
    SessionKey::parse(text).unwrap()
}

fn id(text: &str) -> OpaqueId {
    OpaqueId::new(text).unwrap()
}

fn tenant(text: &str) -> Option<TenantId> {
    (!text.is_empty()).then(|| TenantId::new(text).unwrap())
}

/// Message `message_id` of `user`, with something in every field.
fn inbound(tenant_id: &str, user: &str, message_id: &str, at: u64) -> Inbound {
    let entry = EntryId::new("slack-2").unwrap();
    Inbound {
        identity: Identity {
            entry: entry.clone(),
            channel: ChannelType::new("slack").unwrap(),
            account: Some(id("A1")),
            tenant: tenant(tenant_id),
            workspace: Some(id("w")),
            server: Some(id("T1")),
            room: Some(id("C1")),
            thread: Some(id("17.5")),
            user: Some(id(user)),
            kind: ChatKind::Thread,
            parent: ChatKind::Group,
        },
        user_name: Some(format!("Name of {user}")),
        author: Author::Peer,
        agent: None,
        mentions_bot: true,
        message_id: id(message_id),
        envelope_id: None,
        received_at: Timestamp(at),
        text: format!("text of {message_id}"),
        attachments: vec![Attachment { url: "u".into(), mime: Some("image/png".into()), name: None }],
        reply_to: ReplyAddress::new(entry, 7, format!("target of {user}")),
    }
}

fn reply(message_id: &str, text: &str) -> NewDelivery {
    NewDelivery {
        address: ReplyAddress::new(EntryId::new("slack-2").unwrap(), 7, "target of u"),
        in_reply_to: id(message_id),
        answers: vec![id(message_id)],
        text: text.to_owned(),
    }
}

fn turn(answered: Vec<u64>, text: &str, deliveries: Vec<NewDelivery>, at: u64) -> Turn {
    let agent = AgentId::new("reception").unwrap();
    Turn {
        episode: 1,
        first_line: 1,
        answered,
        agent,
        text: text.to_owned(),
        deliveries,
        notes: vec![],
        files: vec![],
        at: Timestamp(at),
    }
}

#[cfg(test)]
fn open(directory: &tempfile::TempDir) -> Store {
    Store::open(&directory.path().join("store.redb"), CACHE_BYTES, &[7; 32]).unwrap()
}

#[cfg(test)]
/// With values as they are, so that words can be looked for in the file.
#[cfg(test)]
fn open_plain(directory: &tempfile::TempDir) -> Store {
    Store::open_at(InDirectory::new(&directory.path().join("store.redb")), Keyring::plain()).unwrap()
}

/// All that is known of a conversation. The ids of deliveries are random and left out.
#[derive(Debug, Clone, Default, PartialEq)]
struct View {
    row: Option<SessionRow>,
    taken: Option<Taken>,
    waiting: Vec<Waiting>,
    lines: Vec<Line>,
    undelivered: Vec<Delivery>,
    parked: Vec<Parked>,
    notes: Vec<Note>,
    files: Vec<(String, String)>,
    archived: Vec<(ArchivedRow, Vec<Line>)>,
}

fn view(store: &Store, tenant_id: &str, key_text: &str) -> View {
    let session = store.tenant(tenant(tenant_id).as_ref()).session(&key(key_text));
    let row = session.row().unwrap();
    let kept = session.context(row.as_ref().map_or(1, |row| row.episode));
    let text = |file: FileRow| (file.name.to_string(), kept.file(&file.name).unwrap().unwrap());
    let lines = |row: ArchivedRow| {
        let episode = session.episode(row.session.episode).unwrap().unwrap();
        (row, episode.lines_after(0, usize::MAX).unwrap())
    };
    let mut view = View {
        row,
        taken: session.taken().unwrap(),
        notes: kept.notes().unwrap(),
        files: kept.files().unwrap().into_iter().map(text).collect(),
        waiting: session.waiting(usize::MAX).unwrap(),
        lines: session.lines_after(0, usize::MAX).unwrap(),
        undelivered: session.undelivered().unwrap(),
        parked: session.parked(usize::MAX).unwrap(),
        archived: session.archives().unwrap().into_iter().map(lines).collect(),
    };
    let parked = view.parked.iter_mut().filter_map(|parked| match &mut parked.what {
        ParkedItem::Delivery(delivery) => Some(delivery),
        ParkedItem::Message(_) => None,
    });
    view.undelivered.iter_mut().chain(parked).for_each(|delivery| delivery.id.clear());
    view
}

/// Do all tables say the same?
fn assert_sound(store: &Store) {
    let view = store.shared.database.read().unwrap();
    let mut problems = Problems::default();
    relations(&view, view.keyring(), &mut problems).unwrap();
    assert_eq!(problems, Problems::default());
}
