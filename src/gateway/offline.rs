//! What keeps a gateway from starting, or from taking anything, as far as it can be seen while none runs.

use std::error::Error as _;
use std::path::Path;

use super::device_key::{self, DeviceKey, Sources};
use crate::store::{self, Error};

/// What is wrong with the key, the store and its disk. Each says what to do behind the first `; `.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offline {
    /// The gateway does not start, or not with this store.
    pub device_key: Option<String>,
    /// The gateway starts in safe mode.
    pub store: Option<String>,
    /// Somebody should know.
    pub notes: Vec<String>,
    /// Nothing new is taken.
    pub disk: Option<String>,
}

impl Offline {
    /// Looks at the home and at the store, which [`super::find_store`] found. Nobody is asked for a passphrase: where none
    /// is given, whether a protected key is the store's is not looked at.
    #[must_use]
    pub fn look(home: &Path, store: &Path, sources: &Sources) -> Self {
        let mut found = Self::default();
        let mut key = None;
        match device_key::status(home, sources, store) {
            Ok(None) => {}
            Ok(Some(_)) => {
                let sources = Sources { ask: None, ..sources.clone() };
                match DeviceKey::load(home, &sources, store) {
                    Ok(opened) => key = Some(opened.wrapping_key()),
                    Err(device_key::Error::NoPassphrase { .. }) => {}
                    Err(error) => found.device_key = Some(error.to_string()),
                }
            }
            Err(error) => found.device_key = Some(missing(&error)),
        }
        match store::glance(store, key.as_ref()) {
            Ok(Some(seen)) => found.notes = notes(store, seen),
            Ok(None) => {}
            Err(Error::DataKey) => found.device_key = Some(not_the_stores(store)),
            Err(Error::Locked { path }) => {
                found.notes.push(format!("another process has the store {path} open; it was not looked at"));
            }
            Err(error) => found.store = Some(unusable(&error)),
        }
        found.disk = store::room(store).ok().and_then(store::Room::trouble);
        found
    }
}

/// A credential of systemd is seen by the service alone.
fn missing(error: &device_key::Error) -> String {
    match error {
        device_key::Error::Missing { .. } => {
            format!("{error}. If systemd gives the key to the service, only the service can see it")
        }
        error => error.to_string(),
    }
}

fn not_the_stores(store: &Path) -> String {
    format!(
        "the device key is not the one with which the store {} was written; put that one back, or restore a backup",
        store.display()
    )
}

fn notes(path: &Path, seen: store::Glance) -> Vec<String> {
    let (path, mut notes) = (path.display(), Vec::new());
    if !seen.is_current {
        notes.push(format!(
            "the store {path} has the format {} of an earlier version; the next start brings it to this one's and keeps \
             the file as it is for a week",
            seen.format
        ));
    }
    if seen.is_current && !seen.has_journal {
        notes.push(format!(
            "there is no journal beside the store {path}; that is so after a restore or a repair, otherwise put \
             {path}.journal back, or what was written last is lost"
        ));
    }
    notes
}

fn unusable(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    let fix = match error {
        Error::TooNew { .. } => "install that version, or go back with `frontdesk backup restore`",
        _ => {
            "run `frontdesk store check`, then `frontdesk store repair`, which keeps what can be read, or `frontdesk \
             backup restore`"
        }
    };
    format!("{}; {fix}", text.replace("; ", ", "))
}
