//! The file and who has its claim; what everything else here changes it through.

use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::ceremony::Ceremonies;
use super::code::{ClaimCode, Digest};
use super::file::{self, FILE};
use super::login::{Begun, NewSession};
use super::name::Name;
use super::network::{is_local, network};
use super::password::Hashing;
use super::state::{State, User};
use super::throttle::Throttle;
use super::{Error, Reach, Role};
use crate::clock::{Clock, Timestamp};
use crate::document::{Secret, read_at_most, sync_directory, write_whole};

/// Where the claim code is for whoever may read the home.
const CODE: &str = "claim.code";
/// Somebody who may write into the home wants to get in again.
const RESET: &str = "reset-access";

/// Everybody who may use the admin API and the page. A handle; the file is one.
#[derive(Clone)]
pub struct Accounts(pub(super) Arc<Inner>);

pub(super) struct Inner {
    home: PathBuf,
    clock: Arc<dyn Clock>,
    state: ArcSwap<State>,
    /// Why nobody is let in, if the file cannot be used.
    shut: ArcSwapOption<String>,
    /// Held while something is changed.
    changing: Mutex<()>,
    pub(super) hashing: Hashing,
    pub(super) logins: Throttle,
    claims: Throttle,
    pub(super) ceremonies: Ceremonies,
    /// What no password may be made of, besides the name of its account.
    words: ArcSwap<Vec<String>>,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("home", &self.0.home).finish_non_exhaustive()
    }
}

/// Why a claim was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Whoever claims a box is near it.
    #[error("this can be done from the local network only")]
    NotLocal,
    /// There is an administrator already.
    #[error("this box is claimed already; log in, or make a new code on it with `frontdesk users reset`")]
    Claimed,
    /// It is not the code.
    #[error("this is not the claim code; it is printed at the start, and stands in the file claim.code of the home")]
    Wrong,
    /// Wrong codes were tried.
    #[error("too many wrong codes; try again in {} seconds", .retry_after.as_secs().max(1))]
    TooMany {
        /// When the next one may be tried.
        retry_after: Duration,
    },
    /// Something else.
    #[error(transparent)]
    Account(#[from] Error),
}

impl Accounts {
    /// Reads the file in the home, which needs to be there. While nobody may do everything, there is a claim code.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or cannot be made. Then [`Self::shut`] stands in for it.
    pub fn open(home: &Path, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Self::open_with(home, clock, None)
    }

    /// The same; `claim` is the SHA-256 of a claim code, in hex, that somebody made beforehand: it counts instead of a new one while
    /// nobody ever claimed the box.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(home: &Path, clock: Arc<dyn Clock>, claim: Option<&str>) -> Result<Self, Error> {
        let accounts = Self::new(home, clock, None);
        let is_reset = fs::symlink_metadata(home.join(RESET)).is_ok();
        match file::read(&accounts.file()) {
            Ok(state) => accounts.0.state.store(Arc::new(state.unwrap_or_default())),
            Err(error) if is_reset => accounts.0.shut.store(Some(Arc::new(error.to_string()))),
            Err(error) => return Err(error),
        }
        let state = accounts.state();
        let ready = if is_reset {
            accounts.reset()
        } else if state.is_owned() && state.claim.is_none() {
            // One that was used just before the power went.
            accounts.remove_code();
            Ok(())
        } else if accounts.claim_code().is_none() {
            match claim.and_then(Digest::from_hex).filter(|_| !state.is_owned()) {
                Some(made) if state.claim.is_some_and(|claim| claim.is(made)) => Ok(()),
                Some(made) => accounts.keep_claim(made),
                None => accounts.recode(),
            }
        } else {
            Ok(())
        };
        match ready {
            // Who has an account gets in also when the disk is full.
            Err(error) if state.is_owned() => tracing::error!(%error, "there is no claim code, though there should be"),
            ready => ready?,
        }
        Ok(accounts)
    }

    /// Does what the file in the home asks for, and removes it.
    fn reset(&self) -> Result<(), Error> {
        self.recover_now()?;
        tracing::warn!("{RESET} is in the home: administrators are logged out, and a new claim code is made");
        if let Err(error) = fs::remove_file(self.0.home.join(RESET)).and_then(|()| sync_directory(&self.0.home)) {
            tracing::error!(%error, "{RESET} in the home cannot be removed, and will do so again; remove it");
        }
        Ok(())
    }

    /// Makes a claim code where there should be one.
    fn recode(&self) -> Result<(), Error> {
        let claim = self.new_code()?.digest();
        self.keep_claim(claim)
    }

    fn keep_claim(&self, claim: Digest) -> Result<(), Error> {
        let state = State { claim: Some(claim), ..(*self.state()).clone() };
        file::write(&self.file(), &state)?;
        self.0.state.store(Arc::new(state));
        Ok(())
    }

    /// Lets nobody in, because of this, until [`Self::recover`].
    #[must_use]
    pub fn shut(home: &Path, clock: Arc<dyn Clock>, why: &Error) -> Self {
        Self::new(home, clock, Some(why.to_string()))
    }

    fn new(home: &Path, clock: Arc<dyn Clock>, shut: Option<String>) -> Self {
        Self(Arc::new(Inner {
            home: home.to_owned(),
            clock,
            state: ArcSwap::default(),
            shut: ArcSwapOption::new(shut.map(Arc::new)),
            changing: Mutex::default(),
            hashing: Hashing::new(),
            logins: Throttle::default(),
            claims: Throttle::default(),
            ceremonies: Ceremonies::default(),
            words: ArcSwap::default(),
        }))
    }

    /// Why nobody is let in.
    #[must_use]
    pub fn why_shut(&self) -> Option<String> {
        self.0.shut.load().as_deref().cloned()
    }

    /// Is there an administrator of everything?
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        self.state().is_owned()
    }

    /// Does a claim code work now? So it does before there is an administrator of everything, and after [`Self::recover`].
    #[must_use]
    pub fn is_claimable(&self) -> bool {
        self.why_shut().is_none() && self.state().claim.is_some()
    }

    /// The code with which [`Self::claim`] works now: before there is an administrator, and after [`Self::recover`].
    #[must_use]
    pub fn claim_code(&self) -> Option<Secret> {
        let expected = self.state().claim?;
        let text = read_at_most(&self.0.home.join(CODE), 64).ok()?;
        let code = ClaimCode::parse(&String::from_utf8(text).ok()?)?;
        code.digest().is(expected).then(|| code.shown())
    }

    /// Words that passwords may not be made of, besides the name of their account: the names of the business.
    pub fn set_words(&self, words: Vec<String>) {
        self.0.words.store(Arc::new(words));
    }

    /// Makes whoever has the code an administrator of everything, and logs them in. After [`Self::recover`] it also gives
    /// an administrator of everything another password, and takes its passkeys away. The code works once.
    ///
    /// # Errors
    /// [`ClaimError`]; the code still works.
    pub async fn claim(
        &self,
        code: &Secret,
        name: &str,
        password: &Secret,
        from: IpAddr,
    ) -> Result<NewSession, ClaimError> {
        if !is_local(from) {
            return Err(ClaimError::NotLocal);
        }
        self.check_not_shut()?;
        let attempt = self.0.claims.begin(network(from), None, self.elapsed_ms());
        let attempt = attempt.map_err(|retry_after| ClaimError::TooMany { retry_after })?;
        let Some(expected) = self.state().claim else {
            attempt.take_back();
            return Err(ClaimError::Claimed);
        };
        if !ClaimCode::parse(code.expose()).is_some_and(|code| code.digest().is(expected)) {
            return Err(ClaimError::Wrong);
        }
        attempt.succeeded();
        let name = Name::parse(name).map_err(Error::from)?;
        let hash = self.0.hashing.hash(password, self.words(&name)).await?;
        let begun = Begun::new(from)?;
        let claimed = self.blocking({
            let (accounts, begun, name) = (self.clone(), begun.clone(), name.clone());
            move || {
                let is_new = accounts.change_now(|state, now| {
                    // Somebody else was faster.
                    if state.claim != Some(expected) {
                        return Ok(false);
                    }
                    state.claim = None;
                    let is_known = state.users.get(&name.folded).is_some_and(User::is_owner);
                    if !is_known && state.is_taken(&name) {
                        return Err(Error::Taken);
                    }
                    if !is_known {
                        let user = User::new(&name, Role::Admin, Reach::All, hash.clone(), now);
                        state.users.insert(name.folded.clone(), user);
                    }
                    let user = state.user(&name)?;
                    user.set_password(hash);
                    // Whoever lost their passkeys gets in without them, and those that somebody else put there are gone.
                    user.passkeys = None;
                    state.end_sessions_of(&name.folded, None);
                    begun.file(state, &name.folded, now);
                    Ok(true)
                })?;
                if is_new {
                    accounts.remove_code();
                }
                Ok(is_new)
            }
        });
        if !claimed.await? {
            return Err(ClaimError::Claimed);
        }
        tracing::info!(user.name = name.shown, "an administrator was made with the claim code");
        let session = self.session(begun.token.expose()).await.ok_or(Error::Interrupted)?;
        Ok(NewSession { token: begun.token, session })
    }

    /// Ends the sessions of all administrators and makes a new claim code, which is returned. A file that cannot be used is
    /// put aside as `accounts.json.damaged`, and accounts and tokens begin anew.
    ///
    /// # Errors
    /// When the disk does not take it; then nobody is logged out.
    pub async fn recover(&self) -> Result<Secret, Error> {
        let accounts = self.clone();
        self.blocking(move || accounts.recover_now()).await
    }

    /// What a backup keeps of it: accounts and tokens, no session and no claim. `None`: nobody has claimed it.
    #[must_use]
    pub fn to_keep(&self) -> Option<(&'static str, Vec<u8>)> {
        let mut state = (*self.state()).clone();
        state.sessions.clear();
        state.claim = None;
        state.is_owned().then(|| (FILE, file::bytes(&state)))
    }

    fn recover_now(&self) -> Result<Secret, Error> {
        let _changing = self.lock();
        if self.why_shut().is_some() {
            let aside = self.0.home.join(format!("{FILE}.damaged"));
            match fs::rename(self.file(), aside) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(self.file_error(FILE, source)),
                _ => self.0.state.store(Arc::default()),
            }
        }
        let code = self.new_code()?;
        let mut state = (*self.state()).clone();
        state.claim = Some(code.digest());
        let users = state.users.clone();
        state.sessions.retain(|_, held| users.get(&held.user).is_some_and(|user| user.role != Role::Admin));
        file::write(&self.file(), &state)?;
        self.0.state.store(Arc::new(state));
        self.0.shut.store(None);
        Ok(code.shown())
    }

    /// Changes accounts: the disk has it before anybody sees it.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut State, Timestamp) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let accounts = self.clone();
        self.blocking(move || accounts.change_now(change)).await
    }

    fn change_now<T>(&self, change: impl FnOnce(&mut State, Timestamp) -> Result<T, Error>) -> Result<T, Error> {
        let _changing = self.lock();
        self.check_not_shut()?;
        let (mut state, now) = ((*self.state()).clone(), self.now());
        state.forget_what_is_over(now);
        let done = change(&mut state, now)?;
        file::write(&self.file(), &state)?;
        self.0.state.store(Arc::new(state));
        Ok(done)
    }

    /// Notes that something was used: false, there is nothing to note. A disk that does not take it ends no session.
    pub(super) async fn note(&self, note: impl FnOnce(&mut State, Timestamp) -> bool + Send + 'static) {
        let accounts = self.clone();
        let noting = self.blocking(move || {
            let _changing = accounts.lock();
            let (mut state, now) = ((*accounts.state()).clone(), accounts.now());
            if note(&mut state, now) {
                let written = file::write(&accounts.file(), &state);
                accounts.0.state.store(Arc::new(state));
                return written;
            }
            Ok(())
        });
        if let Err(error) = noting.await {
            tracing::warn!(%error, "when a session or a token was last used could not be kept");
        }
    }

    /// Does it where waiting for the disk is allowed, to its end.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Interrupted))
    }

    pub(super) fn check_not_shut(&self) -> Result<(), Error> {
        self.why_shut().map_or(Ok(()), |why| Err(Error::Shut(why)))
    }

    pub(super) fn state(&self) -> Arc<State> {
        self.0.state.load_full()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        self.0.clock.elapsed_ms()
    }

    /// What whoever guesses a password of this account would try.
    pub(super) fn words(&self, name: &Name) -> Vec<String> {
        let words = self.0.words.load();
        ["frontdesk", name.shown.as_str()].into_iter().map(str::to_owned).chain(words.iter().cloned()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> PathBuf {
        self.0.home.join(FILE)
    }

    /// It counts once its digest is in the file.
    fn new_code(&self) -> Result<ClaimCode, Error> {
        let code = ClaimCode::random()?;
        let text = format!("{}\n", code.shown().expose());
        let written = write_whole(&self.0.home.join(CODE), text.as_bytes(), 0o600);
        written.map_err(|source| self.file_error(CODE, source))?;
        Ok(code)
    }

    /// Unless there is another by now.
    fn remove_code(&self) {
        let _changing = self.lock();
        if self.state().claim.is_some() {
            return;
        }
        match fs::remove_file(self.0.home.join(CODE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the claim code that was used cannot be removed; it opens nothing");
            }
            _ => {}
        }
    }

    fn file_error(&self, name: &str, source: io::Error) -> Error {
        Error::File { path: self.0.home.join(name).display().to_string(), source }
    }
}
