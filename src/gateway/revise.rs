//! From a configuration that was read to one that is in use, and back to one that was.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use super::live::Live;
use super::server::Server;
use super::{Gateway, Rekeyed, ReloadError, Reloaded, home};
use crate::config::{self, Candidate, Loaded, Located, Revisions, Syntax};
use crate::document::Variables;

/// Settings with everything that can fail behind them.
pub(super) struct Ready {
    loaded: Loaded,
    /// At another address than the running one.
    server: Option<Server>,
}

impl Gateway {
    /// Puts a revision in the place of the file and uses it: the one with this number, or the last good one that
    /// differs from what is there. What it replaces becomes a revision itself.
    ///
    /// # Errors
    /// [`ReloadError`]. Nothing has changed, but for [`ReloadError::StillBad`].
    pub async fn undo_config(&self, number: Option<u32>) -> Result<(Reloaded, Option<u32>), ReloadError> {
        let _one_at_a_time = self.0.reloading.lock().await;
        let candidate = Candidate::revision(self.home(), number)?;
        let number = candidate.revision.as_ref().map(|revision| revision.number);
        Ok((self.put(&candidate).await?, number))
    }

    /// Puts this text in the place of the file and uses it. `base` is the digest of the text that the editor
    /// started from; `None`: there was no file.
    ///
    /// # Errors
    /// [`ReloadError`]. Nothing has changed.
    pub async fn put_config(
        &self,
        text: String,
        syntax: Option<Syntax>,
        base: Option<&str>,
    ) -> Result<Reloaded, ReloadError> {
        let _one_at_a_time = self.0.reloading.lock().await;
        if self.file_digest()?.as_deref() != base {
            return Err(ReloadError::Changed);
        }
        self.put(&Candidate::text(self.home(), text, syntax)?).await
    }

    /// A digest of the configuration that is in use; `None`: the embedded defaults, or safe mode.
    #[must_use]
    pub fn config_digest(&self) -> Option<String> {
        self.0.live.load().text.as_ref().map(|text| config::digest(text.expose().as_bytes()))
    }

    /// Where `${NAME}` is looked up.
    #[must_use]
    pub fn variables(&self) -> &dyn Variables {
        &*self.0.variables
    }

    /// A digest of what the file says now; `None`: there is no file.
    fn file_digest(&self) -> Result<Option<String>, ReloadError> {
        let located = config::locate(self.home()).map_err(config::Error::from)?;
        let text = located.map(|located| located.read()).transpose().map_err(config::Error::from)?;
        Ok(text.map(|text| config::digest(text.as_bytes())))
    }

    async fn put(&self, candidate: &Candidate) -> Result<Reloaded, ReloadError> {
        let ready = match candidate.check(self.home(), self.variables()) {
            Ok(loaded) => self.prepare(loaded)?,
            Err(source) => match &candidate.revision {
                Some(revision) if candidate.is_known_bad() => {
                    candidate.put(self.home())?;
                    return Err(ReloadError::StillBad { number: revision.number, source });
                }
                _ => return Err(source.into()),
            },
        };
        candidate.put(self.home())?;
        Ok(self.swap(ready).await)
    }

    /// What the file says now, and a digest of it for `base` of a change; `None`: there is no file.
    ///
    /// # Errors
    /// When it cannot be read as a text.
    pub fn config_text(&self) -> Result<Option<(Located, String, String)>, ReloadError> {
        let located = config::locate(self.home()).map_err(config::Error::from)?;
        let Some(located) = located else { return Ok(None) };
        let text = located.read().map_err(config::Error::from)?;
        let digest = config::digest(text.as_bytes());
        Ok(Some((located, text, digest)))
    }

    /// Says what would be wrong with this text as the configuration, and changes nothing. That an address cannot be listened at
    /// shows only when it is used.
    ///
    /// # Errors
    /// [`ReloadError`], as [`Gateway::put_config`] would answer.
    pub fn check_config(&self, text: String, syntax: Option<Syntax>) -> Result<Loaded, ReloadError> {
        let loaded = Candidate::text(self.home(), text, syntax)?.check(self.home(), self.variables())?;
        self.may_use(&loaded)?;
        Ok(loaded)
    }

    /// Conversations that these settings would name differently than those in use; `None`: they name them alike.
    pub async fn would_rekey(&self, loaded: &Loaded) -> Option<Rekeyed> {
        let live = self.0.live.load_full();
        if live.safe_mode.is_some() || loaded.settings.session.names_alike(&live.settings.session) {
            return None;
        }
        self.count_rekeyed(&loaded.settings.session).await.ok().filter(|rekeyed| !rekeyed.is_nothing())
    }

    /// Does everything that may fail, and changes nothing.
    pub(super) fn prepare(&self, loaded: Loaded) -> Result<Ready, ReloadError> {
        let server = match self.may_use(&loaded)? {
            Some(address) => Some(Server::listen(address, self.clone())?),
            None => None,
        };
        Ok(Ready { loaded, server })
    }

    /// The address to move to, if these settings can be used while the process runs.
    fn may_use(&self, loaded: &Loaded) -> Result<Option<SocketAddr>, ReloadError> {
        if let Some(why) = self.0.store.why_unusable() {
            return Err(ReloadError::StoreUnusable(why));
        }
        if self.0.on_copy {
            return Err(ReloadError::StoreUnusable(super::ON_COPY.to_owned()));
        }
        let user_home = self.0.variables.get("HOME");
        if home::store_file(self.home(), Some(&loaded.settings.session), user_home.as_deref()) != self.0.store_file {
            return Err(ReloadError::StoreMoved);
        }
        let address = SocketAddr::new(loaded.settings.gateway.bind, loaded.settings.gateway.port);
        let now = self.address();
        // Port 0 is any: the one that was found stays.
        let is_moved =
            now.is_some_and(|now| now.ip() != address.ip() || (address.port() != 0 && now.port() != address.port()));
        if is_moved && now.is_some_and(|now| now.port() == address.port()) {
            return Err(ReloadError::Rebound);
        }
        Ok(is_moved.then_some(address))
    }

    /// Uses other settings from now on. Cannot fail.
    pub(super) async fn swap(&self, ready: Ready) -> Reloaded {
        let Ready { loaded, server } = ready;
        let old = self.0.live.load_full();
        let new = Live::new(loaded, Some(&old), self.now(), &self.0.home, &self.0.http);
        let mut reloaded = new.compare(&old);
        let names_differently = !new.settings.session.names_alike(&old.settings.session) || old.safe_mode.is_some();
        self.resize_turns(old.settings.gateway.max_turns, new.settings.gateway.max_turns);
        let new = Arc::new(new);
        self.0.live.store(new.clone());
        self.0.accounts.set_words(new.names.clone());
        self.0.models.forget_all_but(&new.agents);
        old.stop_all_but(&new);
        self.start_entries(&new);
        self.keep_revision(&new);
        if let Some(server) = server {
            self.replace_server(server);
        }
        self.announce();
        self.keep_certificate().await;
        self.renew_acme();
        if old.safe_mode.is_some() {
            match self.0.store.resume() {
                Ok(left) => self.take_up(left),
                Err(error) => tracing::error!(%error, "what was left cannot be taken up; restart the gateway"),
            }
        }
        // What failed under the old settings need not wait for its timer.
        self.0.try_again.notify_waiters();
        self.0.sweep_now.notify_one();
        if names_differently {
            reloaded.rekeyed = self.look_for_old_keys().await.filter(|rekeyed| !rekeyed.is_nothing());
        }
        if let Some(rekeyed) = reloaded.rekeyed {
            tracing::warn!("{rekeyed}; they stay under their old keys until `sessions rekey --apply`");
        }
        tracing::info!(started = ?reloaded.started, stopped = ?reloaded.stopped, "configuration reloaded");
        reloaded
    }

    /// Keeps the text of the configuration in use. It is used whether or not the disk takes it; `status` says so.
    pub(super) fn keep_revision(&self, live: &Live) {
        let kept = match (&live.file, &live.text) {
            (Some(file), Some(text)) => Revisions::of(self.home()).keep_used(file, text),
            _ => Ok(()),
        };
        let trouble = kept.err().map(|error| error.to_string());
        if let Some(trouble) = &trouble {
            tracing::error!(trouble, "the configuration in use could not be kept as a revision");
        }
        *self.0.revision_trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}
