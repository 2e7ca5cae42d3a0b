//! The SQLite file in which OpenClaw keeps sessions since 2026.7.2: `agents/<agent>/agent/openclaw-agent.sqlite`.
//!
//! Of its tables two are read: `session_nodes` (a key, the id of its current session and what was noted, as
//! `sessions.json` had it) and `transcript_events` (an event as JSON, or compressed with Zstandard since
//! schema 23). It is read from a copy, with its write-ahead log, and never written to.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::transcript::{MAX_EVENT_BYTES, Reader, Transcript};

/// An open copy.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    has_compressed: bool,
    /// Goes with the last handle.
    _copy: Copy,
}

/// A directory that goes with this value.
#[derive(Debug)]
struct Copy(std::path::PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        // It lies in the system's place for such files; what stays is cleaned up with the rest there.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Why it cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("it cannot be copied")]
    Copy(#[source] io::Error),
    #[error("SQLite cannot read it")]
    Sqlite(#[from] rusqlite::Error),
    #[error(
        "it has an older or newer shape than is known here; `openclaw doctor --fix` brings an older one up to date"
    )]
    Shape,
    #[error("the system gives no random numbers")]
    Random,
}

impl Database {
    /// Opens a copy of the file.
    pub(super) fn open(file: &Path) -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt as _;
        let name = format!("frontdesk-import-{}", crate::id::random().ok_or(Error::Random)?);
        let copy = Copy(std::env::temp_dir().join(name));
        fs::DirBuilder::new().mode(0o700).create(&copy.0).map_err(Error::Copy)?;
        let target = copy.0.join("copy.sqlite");
        fs::copy(file, &target).map_err(Error::Copy)?;
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        // What was committed last may stand in the log only.
        if fs::symlink_metadata(&log).is_ok_and(|log| log.is_file()) {
            fs::copy(&log, copy.0.join("copy.sqlite-wal")).map_err(Error::Copy)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&target, flags)?;
        // A crafted file must not run anything.
        connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        let is_table = |name: &str| {
            let found = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
            connection.query_row(found, [name], |_| Ok(())).optional().map(|row| row.is_some())
        };
        if !is_table("session_nodes")? || !is_table("transcript_events")? {
            return Err(Error::Shape);
        }
        let columns = "SELECT 1 FROM pragma_table_info('transcript_events') WHERE name = 'event_zstd'";
        let has_compressed = connection.query_row(columns, [], |_| Ok(())).optional()?.is_some();
        Ok(Self { connection, has_compressed, _copy: copy })
    }

    /// Keys of its sessions.
    pub(super) fn keys(&self) -> Result<Vec<String>, Error> {
        let mut statement = self.connection.prepare("SELECT session_key FROM session_nodes ORDER BY session_key")?;
        let keys = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(keys)
    }

    /// What was noted about a session, as JSON, and the id of its transcript.
    pub(super) fn entry(&self, key: &str) -> Result<(String, String), Error> {
        let row = "SELECT entry_json, current_session_id FROM session_nodes WHERE session_key = ?1";
        Ok(self.connection.query_row(row, [key], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// What was said in a session.
    pub(super) fn transcript(&self, session_id: &str) -> Result<Transcript, Error> {
        let compressed = if self.has_compressed { "event_zstd" } else { "NULL" };
        let rows = format!("SELECT event_json, {compressed} FROM transcript_events WHERE session_id = ?1 ORDER BY seq");
        let mut statement = self.connection.prepare(&rows)?;
        let mut rows = statement.query([session_id])?;
        let mut reader = Reader::default();
        while let Some(row) = rows.next()? {
            match (row.get_ref(0)?.as_str_or_null(), row.get_ref(1)?.as_blob_or_null()) {
                (Ok(Some(json)), _) => reader.push(json.as_bytes()),
                (_, Ok(Some(bytes))) => match decompress(bytes) {
                    Ok(json) => reader.push(&json),
                    Err(_) => reader.leave("events that cannot be read are not carried"),
                },
                _ => reader.leave("events that cannot be read are not carried"),
            }
        }
        Ok(reader.finish())
    }
}

/// At most a little more than an event may have: what is longer is refused where all events are.
fn decompress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let decoder = ruzstd::decoding::StreamingDecoder::new(bytes).map_err(io::Error::other)?;
    let mut json = Vec::new();
    let limit = u64::try_from(MAX_EVENT_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(&mut json)?;
    Ok(json)
}
