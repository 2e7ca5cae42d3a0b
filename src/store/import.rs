//! A conversation that was held elsewhere, filed whole.

use redb::ReadableTable;

use crate::clock::Timestamp;
use crate::id::{AgentId, OpaqueId, SessionKey};
use crate::message::{Author, Identity, Inbound, ReplyAddress};

use super::record::Speaker;
use super::scope::Scope;
use super::tables::{Change, Changes, Tables};
use super::tenant::TenantStore;
use super::versioned::Versioned;
use super::writer::Operation;
use super::{Error, disk, episodes};

/// A conversation to file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedSession {
    /// Its name, of the resolver that names live ones too.
    pub key: SessionKey,
    /// Where it was held.
    pub identity: Identity,
    /// The peer's name, for lists.
    pub user_name: Option<String>,
    /// Who answered last.
    pub agent: Option<AgentId>,
    /// What was said, oldest first.
    pub lines: Vec<ImportedLine>,
}

/// One line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedLine {
    /// When it was said.
    pub at: Timestamp,
    /// Who.
    pub speaker: Speaker,
    /// What.
    pub text: String,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It is on the disk.
    New,
    /// The conversation has lines already. Nothing was written: two pasts are not merged.
    Exists,
    /// There is no line in it. Nothing was written.
    Empty,
}

impl TenantStore {
    /// Files a whole conversation in one transaction: row, transcript and the index of who wrote where. The
    /// same again changes nothing. Its lines have no reply address: nothing is sent to anybody.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`]; [`Error::OtherTenant`] when the identity names another tenant,
    /// [`Error::Value`]. On an error nothing is filed.
    pub async fn import(&self, session: ImportedSession) -> Result<Imported, Error> {
        if session.identity.tenant.as_ref() != self.tenant() {
            return Err(Error::OtherTenant);
        }
        self.writer().write(Import { scope: self.scope(&session.key), session }).await
    }
}

/// See [`TenantStore::import`].
#[derive(Debug)]
struct Import {
    scope: Scope,
    session: ImportedSession,
}

impl Operation for Import {
    type Outcome = Imported;

    fn is_new(&self) -> bool {
        true
    }

    fn plan(self, tables: &Tables<'_>) -> Result<(Imported, Changes), Error> {
        let Self { scope, session: ImportedSession { identity, user_name, agent, lines, .. } } = self;
        let (tenant, key) = scope.parts();
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
            return Ok((Imported::Empty, Changes::None));
        };
        let address = ReplyAddress::new(identity.entry.clone(), 0, "");
        let live = episodes::live(tables, &scope)?;
        let has_lines = live.as_ref().is_some_and(|row| row.n_lines >= row.first_line);
        if has_lines || episodes::last_archived(tables, &scope)?.is_some() {
            return Ok((Imported::Exists, Changes::None));
        }
        let was_active_at = live.as_ref().map(|row| row.last_active_at);
        let mut row = match live {
            Some(row) => row,
            None => {
                let beginning = beginning(&identity, first.at, address.clone())?;
                episodes::begin(tables, &scope, disk::Session::beginning_with(&beginning))?
            }
        };
        row.created_at = row.created_at.min(first.at.0);
        row.last_active_at = row.last_active_at.max(last.at.0);
        row.user_name = row.user_name.or(user_name);
        row.agent = row.agent.or(agent.map(|agent| agent.to_string()));

        let mut changes = Vec::with_capacity(lines.len() + 2);
        let mut users = Vec::new();
        users.extend(identity.user.iter().map(ToString::to_string));
        for ImportedLine { at, speaker, text } in lines {
            let speaker = match speaker {
                Speaker::Agent(agent) => disk::Speaker::Agent(agent.to_string()),
                Speaker::Person(name) => disk::Speaker::Person(name),
                Speaker::Peer { user, name, message_id } => {
                    let user = user.map(|user| user.to_string());
                    users.extend(user.clone());
                    disk::Speaker::Peer { user, name, message_id: message_id.to_string() }
                }
            };
            row.n_lines += 1;
            let line = disk::Line { at: at.0, speaker, text, address: (&address).into() };
            changes.push(Change::Line(row.n_lines, Some(line.encode()?)));
        }
        users.sort_unstable();
        users.dedup();
        for user in users {
            if tables.users.get((tenant, identity.channel.as_str(), user.as_str(), key))?.is_none() {
                changes.push(Change::User { channel: identity.channel.to_string(), user, is_known: true });
            }
        }
        changes.push(Change::Session { from: was_active_at, to: Some(row) });
        Ok((Imported::New, Changes::Session(scope, changes)))
    }
}

/// A message that such a conversation could have begun with: rows are made in one place.
fn beginning(identity: &Identity, at: Timestamp, reply_to: ReplyAddress) -> Result<Inbound, Error> {
    Ok(Inbound {
        identity: identity.clone(),
        user_name: None,
        author: Author::Peer,
        mentions_bot: true,
        message_id: OpaqueId::new("imported").or(Err(Error::Value { what: "message id" }))?,
        envelope_id: None,
        received_at: at,
        agent: None,
        text: String::new(),
        attachments: Vec::new(),
        reply_to,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TenantId;
    use crate::store::{Filter, Life, Store};
    use crate::testing::inbound;

    fn session(key: &str, tenant: Option<&TenantId>, texts: &[&str]) -> ImportedSession {
        let identity = Identity { tenant: tenant.cloned(), ..inbound("hook", "u1", "x").identity };
        let line = |(n, text): (usize, &&str)| ImportedLine {
            at: Timestamp(1000 + n as u64),
            speaker: match n % 2 {
                0 => {
                    let message_id = OpaqueId::new(format!("m{n}")).unwrap();
                    Speaker::Peer { user: OpaqueId::new("u1").ok(), name: None, message_id }
                }
                _ => Speaker::Agent(AgentId::new("reception").unwrap()),
            },
            text: (*text).to_owned(),
        };
        ImportedSession {
            key: SessionKey::parse(key).unwrap(),
            identity,
            user_name: Some("Alice".into()),
            agent: AgentId::new("reception").ok(),
            lines: texts.iter().enumerate().map(line).collect(),
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s.redb"), 1024 * 1024, &[7; 32]).unwrap();
        (directory, store)
    }

    fn texts(store: &Store, tenant: Option<&TenantId>, key: &str) -> Vec<(u64, u64, String)> {
        let lines = store.tenant(tenant).session(&SessionKey::parse(key).unwrap()).lines_after(0, 100).unwrap();
        lines.into_iter().map(|line| (line.seq, line.at.0, line.text)).collect()
    }

    #[tokio::test]
    async fn a_conversation_is_filed_whole_with_its_times_and_found_by_its_peer() {
        let (_directory, store) = store();
        let tenant = TenantId::new("42").unwrap();
        let own = store.tenant(Some(&tenant));
        assert_eq!(own.import(session("webhook:u1", Some(&tenant), &["one", "two"])).await.unwrap(), Imported::New);
        let expected = [(1, 1000, "one".to_owned()), (2, 1001, "two".to_owned())];
        assert_eq!(texts(&store, Some(&tenant), "webhook:u1"), expected);
        let rows = own.sessions(&Filter { limit: 10, ..Filter::default() }).unwrap();
        let row = rows.first().unwrap();
        assert_eq!((row.n_messages, row.created_at.0, row.last_active_at.0), (2, 1000, 1001));
        assert_eq!(row.user_name.as_deref(), Some("Alice"));
        assert_eq!(own.find(&row.channel, &OpaqueId::new("u1").unwrap()).unwrap().live, rows);
        assert_eq!(texts(&store, None, "webhook:u1"), []);
    }

    #[tokio::test]
    async fn what_has_lines_is_left_alone() {
        let (_directory, store) = store();
        let own = store.tenant(None);
        own.import(session("webhook:u1", None, &["one"])).await.unwrap();
        let n_syncs = store.n_syncs();
        assert_eq!(own.import(session("webhook:u1", None, &["other", "more"])).await.unwrap(), Imported::Exists);
        assert_eq!(store.n_syncs(), n_syncs);
        assert_eq!(texts(&store, None, "webhook:u1"), [(1, 1000, "one".to_owned())]);
        assert_eq!(own.import(session("webhook:u2", None, &[])).await.unwrap(), Imported::Empty);
        assert!(!own.has_session(&SessionKey::parse("webhook:u2").unwrap()).unwrap());
    }

    #[tokio::test]
    async fn a_message_that_waits_keeps_its_turn_behind_what_was_said_before() {
        let (_directory, store) = store();
        let (own, key) = (store.tenant(None), SessionKey::parse("webhook:u1").unwrap());
        own.file(&key, &inbound("hook", "u1", "now"), Life::default()).await.unwrap();
        assert_eq!(own.import(session("webhook:u1", None, &["one"])).await.unwrap(), Imported::New);
        assert_eq!(own.session(&key).waiting(10).unwrap().len(), 1);
        let row = own.session(&key).row().unwrap().unwrap();
        assert_eq!((row.n_messages, row.created_at.0, row.last_active_at.0), (1, 1000, 1_700_000_000_000));
    }

    #[tokio::test]
    async fn another_tenants_conversation_is_refused() {
        let (_directory, store) = store();
        let tenant = TenantId::new("42").unwrap();
        let refused = store.tenant(None).import(session("webhook:u1", Some(&tenant), &["one"])).await;
        assert!(matches!(refused, Err(Error::OtherTenant)));
    }
}
