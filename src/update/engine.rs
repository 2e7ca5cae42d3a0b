//! The updater: looks, downloads, puts in place, has it tried, and says in its report what it does.
//!
//! One run at a time, with a lock. Whatever it was cut off in, the next run or the next start finds out. Slots are tried by the boot
//! loader, so a run ends with a restart of the machine; a program is tried by the run that put it there, which still is the
//! old program.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::install::{Installer, Next, Release};
use super::program::{Pending, Program};
use super::record::{Event, Outcome, Previous};
use super::release::{Board, Bundle, Choice, Device, Kind, Offer, Severity, choose};
use super::report::{Answer, Checked, Doing, Installation, Offered, Progress, Report, Request, Want};
use super::repository::Repository;
use super::system::System;
use super::{Boot, Cause, Disk, Error, Tried, Version, Why};
use crate::clock::{Clock, Timestamp};

/// Repositories are asked no more often by the clock.
const LOOK_EVERY_MS: u64 = 6 * 60 * 60 * 1000;
/// An older request is not what somebody wants now.
const REQUEST_COUNTS_MS: u64 = 24 * 60 * 60 * 1000;
/// So long a run waits for one more request.
const ONE_MORE: Duration = Duration::from_secs(1);
/// How often the report says how much of a download is there.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// What the owner wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wishes {
    /// May updates be installed without asking?
    pub auto: bool,
    /// When, as the owner wrote it; `None`: at any time.
    pub window: Option<String>,
    /// Is it that time?
    pub is_open: bool,
}

/// How this version lies on the machine, and so how the next one is put in place.
#[derive(Debug)]
pub enum Place<'a> {
    /// Two slots of a disk.
    Slots {
        /// Their boot loader.
        boot: &'a dyn Boot,
        /// The partition of the one that does not run.
        idle_root: PathBuf,
        /// Which loader it is.
        installation: Installation,
    },
    /// A program in a directory.
    Program(PathBuf),
    /// A file of a package.
    Package,
}

/// What somebody or the clock orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The clock: as the settings say.
    Clock,
    /// Look, and install nothing.
    Check,
    /// Install now: this version, or the newest. Waves and windows do not count.
    Install(Option<Version>),
    /// Bring the previous version back.
    Rollback,
}

/// What an updater is made of.
#[derive(Debug)]
pub struct Updater<'a> {
    /// Of the gateway: what somebody asks for on its page lies there.
    pub home: PathBuf,
    /// What the updater remembers.
    pub state: PathBuf,
    /// The version of this program.
    pub running: Version,
    /// The format of what it stores.
    pub store_format: u64,
    /// How large that is, in bytes: so much, twice, must be free where a release stores it in another format.
    pub store_bytes: u64,
    /// For which board releases are; `None`: there are none for it.
    pub board: Option<Board>,
    /// Where this version lies.
    pub place: Place<'a>,
    /// Files and partitions.
    pub disk: &'a dyn Disk,
    /// What starts things again.
    pub system: &'a dyn System,
    /// The time.
    pub clock: &'a dyn Clock,
    /// What the owner wants.
    pub wishes: Wishes,
    /// Where releases are, or why nobody knows.
    pub repository: Result<Repository, Why>,
    /// Random, and always the same.
    pub device: [u8; 16],
}

/// What a run led to, for whoever ordered it. The report says more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// Nothing was to be done, or it is not yet the time.
    Nothing,
    /// This is what there is.
    Looked(Choice),
    /// It is in place; the machine restarts.
    Restarting(Version),
    /// It runs and is kept.
    Installed(Version),
    /// The previous one is back.
    WentBack(Version),
}

/// Makes what the updater remembers its own; the report in it is for everybody.
///
/// # Errors
/// When the disk does not take it.
pub fn make_state_directory(state: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(state);
    made.map_err(Error::disk("write", state))
}

/// One at a time, also in other processes: as long as this is held.
///
/// # Errors
/// [`Cause::Busy`]; when the disk does not take it.
pub fn lock(state: &Path) -> Result<File, Why> {
    make_state_directory(state).map_err(|error| Why::from(&error))?;
    let path = state.join("lock");
    let cannot = |source: io::Error| Why::from(&Error::disk("write", &path)(source));
    // Whoever could open it could hold it.
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Why::of(Cause::Busy)),
        Err(fs::TryLockError::Error(source)) => Err(cannot(source)),
    }
}

fn why(error: Error) -> Why {
    Why::from(&error)
}

impl<'a> Updater<'a> {
    fn record(&self) -> PathBuf {
        self.state.join("update.json")
    }

    fn downloads(&self) -> PathBuf {
        self.state.join("download")
    }

    fn installer(&self, boot: &'a dyn Boot, idle_root: &Path) -> Installer<'_> {
        Installer::new(boot, self.disk, idle_root, &self.record(), self.store_format)
    }

    fn program(&self, path: &Path) -> Program<'_> {
        Program::new(self.disk, path, self.running, self.store_format, &self.record())
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn installation(&self) -> Installation {
        match &self.place {
            Place::Slots { installation, .. } => installation.clone(),
            Place::Program(_) => Installation::Program,
            Place::Package => Installation::Package,
        }
    }

    /// The report as it is on the disk, with what is true of this version.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = Report::read(&self.state);
        (report.running, report.installation) = (Some(self.running), self.installation());
        report
    }

    /// A report that cannot be written stops nothing.
    fn say(&self, report: &Report) {
        if let Err(error) = report.write(&self.state) {
            tracing::warn!(%error, "cannot say what the updater does");
        }
    }

    fn doing(&self, state: Doing) {
        let mut report = self.report();
        report.state = state;
        self.say(&report);
    }

    /// How the last update ended, and what that means for what can be done now, as the record says it.
    fn settle(&self, report: &mut Report) -> Result<(), Error> {
        let (last, way_back) = match &self.place {
            Place::Slots { boot, idle_root, .. } => {
                let installer = self.installer(*boot, idle_root);
                (installer.status()?.last, installer.previous()?)
            }
            Place::Program(path) => {
                let program = self.program(path);
                (program.last()?, program.previous()?)
            }
            Place::Package => (None, None),
        };
        let can_read = |previous: &Previous| previous.store_format >= self.store_format;
        report.way_back = way_back.filter(can_read).map(|previous| previous.version);
        if let Some(last) = last.filter(|last| report.outcomes.first() != Some(last)) {
            self.ended(report, last);
        }
        Ok(())
    }

    fn ended(&self, report: &mut Report, outcome: Outcome) {
        tracing::info!("{outcome}");
        report.on_copy = None;
        match &outcome.event {
            Event::FellBack { from, .. } => report.running = Some(*from),
            Event::Installed { to, .. } | Event::WentBack { to, .. } => report.running = Some(*to),
            Event::Interrupted { .. } | Event::NotInstalled { .. } | Event::Other { .. } => {}
        }
        if report.offer.as_ref().is_some_and(|offer| Some(offer.version) <= report.running) {
            report.offer = None;
        }
        report.rest();
        if let Event::FellBack { to, why, .. } | Event::NotInstalled { to, why } = &outcome.event {
            report.state = Doing::Failed { version: Some(*to), why: why.clone() };
        }
        report.ended(outcome);
    }

    /// At every start, before the gateway: finds out how an update that was under way went. A program that was cut off while it
    /// was tried is taken back; a slot that is tried is left to its health check.
    ///
    /// # Errors
    /// When a disk fails.
    pub fn recover(&self) -> Result<Next, Error> {
        let mut next = Next::Nothing;
        let mut tried = None;
        match &self.place {
            Place::Slots { boot, idle_root, .. } => {
                let installer = self.installer(*boot, idle_root);
                next = installer.start(self.now())?;
                tried = installer.tried()?;
            }
            Place::Program(path) => {
                let program = self.program(path);
                match program.recover(self.now())? {
                    Pending::None => {}
                    Pending::Trial { is_opened: true, .. } => program.confirm(self.now())?,
                    Pending::Trial { unhealthy, .. } => {
                        let cut_off = || Why::new(Cause::DidNotStart, "the machine stopped while it was tried");
                        program.fall_back(self.now(), unhealthy.unwrap_or_else(cut_off))?;
                        next = Next::Restart;
                    }
                }
            }
            Place::Package => {}
        }
        let mut report = self.report();
        if report.is_busy() || matches!(report.state, Doing::RestartPending { .. }) {
            report.rest();
        }
        if let Some(answer) = report.request.as_mut().filter(|answer| answer.state == Progress::Taken) {
            answer.state = Progress::Done;
        }
        report.on_copy = None;
        self.settle(&mut report)?;
        if let Some(tried) = tried {
            self.say_tried(&mut report, tried);
        }
        self.say(&report);
        Ok(next)
    }

    fn say_tried(&self, report: &mut Report, Tried { from, to, on_copy }: Tried) {
        report.on_copy = on_copy.then_some(to);
        report.state = if to == self.running {
            Doing::Trial { version: to, from: from.unwrap_or(to), on_copy }
        } else {
            Doing::RestartPending { version: to }
        };
    }

    /// What runs in a slot is healthy: it stays. What worked on a copy is restarted, and works on what is stored from now on.
    ///
    /// # Errors
    /// When a disk fails; then it is still tried.
    pub async fn confirm(&self) -> Result<(), Error> {
        let Place::Slots { boot, idle_root, .. } = &self.place else { return Ok(()) };
        let installer = self.installer(*boot, idle_root);
        let tried = installer.tried()?.filter(|tried| tried.to == self.running);
        let Some(tried) = tried else { return Ok(()) };
        installer.confirm(self.now())?;
        let mut report = self.report();
        report.on_copy = None;
        report.rest();
        self.settle(&mut report)?;
        self.say(&report);
        if tried.on_copy
            && let Err(why) = self.system.restart_gateway().await
        {
            tracing::error!(%why, "the gateway works on a copy until it is restarted");
        }
        Ok(())
    }

    /// What runs in a slot is not healthy. While it is tried, the machine is restarted.
    ///
    /// # Errors
    /// When the machine cannot be restarted.
    pub async fn give_up(&self, detail: &str) -> Result<Next, Why> {
        let Place::Slots { boot, idle_root, .. } = &self.place else { return Ok(Next::Nothing) };
        match self.installer(*boot, idle_root).give_up(Why::new(Cause::NotHealthy, detail)) {
            Ok(Next::Nothing) => Ok(Next::Nothing),
            given_up => {
                if let Err(error) = given_up {
                    tracing::error!(%error, "the version that is tried could not be given up; the machine restarts all the same");
                }
                self.system.restart_machine().await.map(|()| Next::Restart)
            }
        }
    }

    /// What the service does: what was cut off, then what somebody asked for on the page, else what the clock wants.
    ///
    /// # Errors
    /// Why it did not go on; the report says it, too.
    pub async fn run(&self) -> Result<Done, Why> {
        let Some(request) = self.asked() else { return self.carry_out(Order::Clock).await };
        let mut obeyed = request.id.clone();
        let mut done = self.obey(request).await;
        // Whoever saw the answer asks for the next thing at once, and nothing starts a service that still runs. After a change of
        // version this one is not who should obey.
        while matches!(done, Ok(Done::Nothing | Done::Looked(_)) | Err(_)) {
            tokio::time::sleep(ONE_MORE).await;
            // An answer that the disk did not take is no new request.
            let Some(request) = self.asked().filter(|request| request.id != obeyed) else { break };
            obeyed.clone_from(&request.id);
            done = self.obey(request).await;
        }
        done
    }

    /// What somebody asked for and has no answer to.
    fn asked(&self) -> Option<Request> {
        let answered = self.report().request.map(|answer| answer.id);
        Request::read(&self.home).filter(|request| Some(&request.id) != answered.as_ref())
    }

    async fn obey(&self, request: Request) -> Result<Done, Why> {
        let mut report = self.report();
        let answer = |state, why| Answer { id: request.id.clone(), want: request.want, state, why };
        if self.now().since_ms(Timestamp(request.at_ms)) > REQUEST_COUNTS_MS {
            report.request = Some(answer(Progress::Refused, Some(Why::of(Cause::TooLate))));
            self.say(&report);
            return self.carry_out(Order::Clock).await;
        }
        report.request = Some(answer(Progress::Taken, None));
        self.say(&report);
        let order = match request.want {
            Want::Check => Order::Check,
            Want::Install => Order::Install(request.version),
            Want::Rollback => Order::Rollback,
        };
        let done = self.carry_out(order).await;
        let mut report = self.report();
        report.request = Some(match &done {
            Ok(_) => answer(Progress::Done, None),
            Err(why) => answer(Progress::Refused, Some(why.clone())),
        });
        self.say(&report);
        done
    }

    /// Does what is ordered, to its end. Call it with the [`lock`] held.
    ///
    /// # Errors
    /// Why it did not go on; the report says it, too.
    pub async fn carry_out(&self, order: Order) -> Result<Done, Why> {
        if let Some(done) = self.take_up(order).await? {
            return Ok(done);
        }
        if order == Order::Rollback {
            return self.go_back().await;
        }
        let mut report = self.report();
        if report.is_busy() {
            // Whoever said so was cut off: the lock is ours.
            report.rest();
            self.say(&report);
        }
        if order == Order::Clock && !self.is_due(&report) {
            return Ok(Done::Nothing);
        }
        let choice = self.look(order).await?;
        let Choice::Update(bundle) = &choice else { return Ok(Done::Looked(choice)) };
        if !self.is_time(order, bundle.version) {
            return Ok(Done::Looked(choice));
        }
        self.install(order, bundle).await
    }

    /// What an earlier run left: a program whose trial nobody ended, a slot that waits for a restart.
    async fn take_up(&self, order: Order) -> Result<Option<Done>, Why> {
        match &self.place {
            Place::Program(path) => {
                let program = self.program(path);
                match program.recover(self.now()).map_err(why)? {
                    Pending::Trial { tried, unhealthy: None, is_opened } => {
                        return self.try_program(&program, tried, is_opened).await.map(Some);
                    }
                    Pending::Trial { unhealthy: Some(why), .. } => self.fall_back(&program, why).await?,
                    Pending::None => {}
                }
                let mut report = self.report();
                self.settle(&mut report).map_err(why)?;
                self.say(&report);
                Ok(None)
            }
            Place::Slots { boot, idle_root, .. } => {
                let tried = self.installer(*boot, idle_root).tried().map_err(why)?;
                let Some(tried) = tried else { return Ok(None) };
                let may_restart = match order {
                    Order::Clock => self.wishes.auto && self.wishes.is_open,
                    Order::Install(_) => true,
                    Order::Check | Order::Rollback => false,
                };
                if tried.to != self.running && may_restart {
                    self.system.restart_machine().await?;
                    return Ok(Some(Done::Restarting(tried.to)));
                }
                if order == Order::Clock || order == Order::Check {
                    return Ok(Some(Done::Nothing));
                }
                Err(Why::new(Cause::TrialPending, &tried.to.to_string()))
            }
            Place::Package => Ok(None),
        }
    }

    /// Is it time to ask the repository, when nobody but the clock wants it?
    fn is_due(&self, report: &Report) -> bool {
        let looked = report.checked.as_ref().filter(|checked| checked.problem.is_none());
        let is_old = looked.is_none_or(|checked| self.now().since_ms(Timestamp(checked.at_ms)) >= LOOK_EVERY_MS);
        let waits = matches!(
            report.state,
            Doing::WaitingForWindow { .. } | Doing::Downloading { .. } | Doing::Available { .. } | Doing::Later { .. }
        );
        // A clock that was set back says nothing of how long ago it was.
        let is_of_later = looked.is_some_and(|checked| checked.at_ms > self.now().0);
        is_old || is_of_later || (waits && self.wishes.auto && self.wishes.is_open)
    }

    fn is_time(&self, order: Order, version: Version) -> bool {
        let state = match order {
            Order::Install(_) => return true,
            Order::Check | Order::Rollback | Order::Clock if !self.wishes.auto => Doing::Available { version },
            Order::Clock if self.wishes.is_open && !matches!(self.place, Place::Package) => return true,
            _ => match &self.wishes.window {
                Some(window) if !self.wishes.is_open => Doing::WaitingForWindow { version, window: window.clone() },
                _ => Doing::Available { version },
            },
        };
        self.doing(state);
        false
    }

    /// Asks the repository, and says what there is.
    async fn look(&self, order: Order) -> Result<Choice, Why> {
        self.doing(Doing::Checking);
        let looked = self.ask(order).await;
        let mut report = self.report();
        report.checked = Some(Checked { at_ms: self.now().0, problem: looked.as_ref().err().cloned() });
        match &looked {
            Err(why) => report.state = Doing::Failed { version: None, why: why.clone() },
            Ok(Choice::UpToDate) => (report.state, report.offer) = (Doing::UpToDate, None),
            Ok(Choice::Later { version, from }) => {
                report.state = Doing::Later { version: *version, from_ms: from.0 };
                report.offer = None;
            }
            Ok(Choice::Update(bundle)) => {
                report.state = Doing::Available { version: bundle.version };
                report.offer = Some(offered(bundle));
            }
        }
        self.say(&report);
        looked
    }

    async fn ask(&self, order: Order) -> Result<Choice, Why> {
        let repository = self.repository.as_ref().map_err(Clone::clone)?;
        let board = self.board.ok_or_else(|| Why::of(Cause::NothingForBoard))?;
        let mut offers = repository.load().await.map_err(why)?.offers;
        let given_up = match &self.place {
            Place::Slots { boot, idle_root, .. } => self.installer(*boot, idle_root).given_up(),
            Place::Program(path) => self.program(path).given_up(),
            Place::Package => Ok(None),
        };
        let mut device = Device {
            board,
            running: self.running,
            is_appliance: matches!(self.place, Place::Slots { .. }),
            store_format: self.store_format,
            id: self.device,
            given_up: given_up.map_err(why)?,
        };
        if let Order::Install(version) = order {
            // Whoever asks for it does not wait for others, and may try again.
            device.given_up = None;
            offers.iter_mut().for_each(|offer| offer.about.waves.clear());
            offers.retain(|offer| version.is_none_or(|version| offer.about.version == version));
        }
        let choice = choose(&offers, &device, self.now()).map_err(why)?;
        match (order, &choice) {
            (Order::Install(Some(version)), Choice::UpToDate) => {
                Err(Why::new(Cause::NoSuchRelease, &version.to_string()))
            }
            _ => Ok(choice),
        }
    }

    /// Downloads a release and puts it in place.
    async fn install(&self, order: Order, bundle: &Bundle) -> Result<Done, Why> {
        let installed = self.install_or_not(order, bundle).await;
        if let Err(why) = &installed {
            let mut report = self.report();
            let is_said = report.outcomes.len();
            if let Err(error) = self.settle(&mut report) {
                tracing::warn!(%error, "how the last update went is not known");
            }
            if report.outcomes.len() == is_said {
                report.state = Doing::Failed { version: Some(bundle.version), why: why.clone() };
            }
            self.say(&report);
        }
        installed
    }

    async fn install_or_not(&self, order: Order, bundle: &Bundle) -> Result<Done, Why> {
        match &self.place {
            Place::Package => return Err(Why::of(Cause::Package)),
            Place::Program(_) => self.system.can_restart_gateway()?,
            Place::Slots { .. } => {}
        }
        self.check_room(bundle)?;
        let files = self.download(bundle).await?;
        self.doing(Doing::Installing { version: bundle.version });
        let done = match &self.place {
            Place::Slots { boot, idle_root, .. } => {
                self.stage(&self.installer(*boot, idle_root), bundle, &files)?;
                self.remove_downloads();
                if self.may_restart(order) {
                    self.system.restart_machine().await?;
                }
                Done::Restarting(bundle.version)
            }
            Place::Program(path) => self.replace(&self.program(path), bundle, &files).await?,
            Place::Package => return Err(Why::of(Cause::Package)),
        };
        self.remove_downloads();
        Ok(done)
    }

    /// The window may have closed while it was downloaded.
    fn may_restart(&self, order: Order) -> bool {
        matches!(order, Order::Install(_)) || self.wishes.is_open
    }

    fn check_room(&self, bundle: &Bundle) -> Result<(), Why> {
        if bundle.about.store_format == self.store_format {
            return Ok(());
        }
        let room =
            rustix::fs::statvfs(&self.home).map_err(|errno| why(Error::disk("look at", &self.home)(errno.into())))?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        let needed = self.store_bytes.saturating_mul(2);
        if free < needed {
            return Err(why(Error::NoRoom { directory: self.home.clone(), needed, free }));
        }
        Ok(())
    }

    async fn download(&self, bundle: &Bundle) -> Result<Vec<PathBuf>, Why> {
        let repository = self.repository.as_ref().map_err(Clone::clone)?;
        let directory = self.downloads();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|source| why(Error::disk("write", &directory)(source)))?;
        let of = bundle.offers.iter().map(|offer| offer.payload.bytes).sum();
        let version = bundle.version;
        let mut told = None;
        let download = repository.download(bundle, &directory);
        tokio::pin!(download);
        loop {
            tokio::select! {
                files = &mut download => return files.map_err(why),
                () = tokio::time::sleep(REPORT_EVERY) => {}
            }
            let have = came(&directory);
            if told != Some(have) {
                self.doing(Doing::Downloading { version, have, of });
                told = Some(have);
            }
        }
    }

    fn remove_downloads(&self) {
        match fs::remove_dir_all(self.downloads()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "what was downloaded is still on the disk");
            }
            _ => {}
        }
    }

    fn stage(&self, installer: &Installer<'_>, bundle: &Bundle, files: &[PathBuf]) -> Result<(), Why> {
        let file = |kind: Kind| {
            let both = bundle.offers.iter().zip(files).find(|(offer, _)| offer.about.kind == kind);
            both.ok_or_else(|| Why::new(Cause::Payload, "the release has no such file"))
        };
        let ((kernel, kernel_file), (root, root_file)) = (file(Kind::Kernel)?, file(Kind::Root)?);
        let release = Release {
            version: bundle.version,
            kernel: kernel.payload,
            root: root.payload,
            store_format: bundle.about.store_format,
        };
        let (mut kernel, mut root) = (self.open(kernel_file)?, self.open(root_file)?);
        if bundle.about.store_format != self.store_format {
            // Before it can start: a gateway that is not told works on what is stored.
            let mut report = self.report();
            report.on_copy = Some(bundle.version);
            report.write(&self.state).map_err(why)?;
        }
        installer.install(self.now(), &release, &mut kernel, &mut root).map_err(why)?;
        let mut report = self.report();
        if let Some(tried) = installer.tried().map_err(why)? {
            self.say_tried(&mut report, tried);
        }
        report.way_back = None;
        self.say(&report);
        Ok(())
    }

    fn open(&self, path: &Path) -> Result<File, Why> {
        File::open(path).map_err(|source| why(Error::disk("read", path)(source)))
    }

    /// Puts a program in place, and looks whether it is healthy.
    async fn replace(&self, program: &Program<'_>, bundle: &Bundle, files: &[PathBuf]) -> Result<Done, Why> {
        let (Some(Offer { payload, .. }), Some(file)) = (bundle.offers.first(), files.first()) else {
            return Err(Why::new(Cause::Payload, "the release has no such file"));
        };
        let (to, format) = (bundle.version, bundle.about.store_format);
        program.prepare(self.now(), to, format, payload, &mut self.open(file)?).map_err(why)?;
        if let Err(why) = self.system.try_program(&program.new_path(), to).await {
            program.refuse(self.now(), why.clone());
            return Err(why);
        }
        self.system.remember(program.path()).await;
        let tried = Tried { from: Some(self.running), to, on_copy: format != self.store_format };
        // Before it can start: whoever starts the gateway from here on starts the new one.
        let mut report = self.report();
        self.say_tried(&mut report, tried);
        report.state = Doing::Trial { version: to, from: self.running, on_copy: tried.on_copy };
        report.write(&self.state).map_err(why)?;
        if let Err(error) = program.swap() {
            let why = why(error);
            program.refuse(self.now(), why.clone());
            // The rename may have happened although the disk said no.
            if let Ok(Pending::Trial { .. }) = program.recover(self.now()) {
                self.fall_back(program, why.clone()).await?;
            }
            let mut report = self.report();
            report.on_copy = None;
            report.rest();
            self.say(&report);
            return Err(why);
        }
        self.restart_gateway().await;
        self.try_program(program, tried, false).await
    }

    /// Whether it could is what the health check finds out.
    async fn restart_gateway(&self) {
        if let Err(why) = self.system.restart_gateway().await {
            tracing::warn!(%why, "the gateway was not restarted");
        }
    }

    /// The gateway was restarted with what is tried: looks whether it is healthy, and keeps it or takes it back.
    async fn try_program(&self, program: &Program<'_>, tried: Tried, is_opened: bool) -> Result<Done, Why> {
        let Tried { to, on_copy, .. } = tried;
        let on_copy = on_copy && !is_opened;
        let health = self.system.health(program.path(), to, on_copy).await;
        match health {
            Err(why) if !is_opened => {
                self.fall_back(program, why.clone()).await?;
                return Err(why);
            }
            // It works on what is stored: the old one could not read that any more.
            Err(why) => {
                tracing::error!(%why, "the new version is kept although it is not healthy: there is no way back");
            }
            Ok(()) => {}
        }
        if on_copy {
            program.open().map_err(why)?;
            let mut report = self.report();
            report.on_copy = None;
            report.state = Doing::Trial { version: to, from: self.running, on_copy: false };
            report.write(&self.state).map_err(why)?;
            self.restart_gateway().await;
            if let Err(why) = self.system.health(program.path(), to, false).await {
                tracing::error!(%why, "the new version is kept although it is not healthy: there is no way back");
            }
        }
        program.confirm(self.now()).map_err(why)?;
        let mut report = self.report();
        (report.running, report.offer) = (Some(to), None);
        self.settle(&mut report).map_err(why)?;
        if tried.on_copy || is_opened {
            report.way_back = None;
        }
        self.say(&report);
        Ok(Done::Installed(to))
    }

    async fn fall_back(&self, program: &Program<'_>, reason: Why) -> Result<(), Why> {
        program.fall_back(self.now(), reason).map_err(why)?;
        let mut report = self.report();
        report.on_copy = None;
        self.settle(&mut report).map_err(why)?;
        self.say(&report);
        self.restart_gateway().await;
        Ok(())
    }

    async fn go_back(&self) -> Result<Done, Why> {
        let refused = |error| {
            let mut report = self.report();
            report.rest();
            self.say(&report);
            why(error)
        };
        let to = match &self.place {
            Place::Package => return Err(Why::of(Cause::Package)),
            Place::Slots { boot, idle_root, .. } => {
                let to = self.installer(*boot, idle_root).go_back().map_err(refused)?;
                self.doing(Doing::GoingBack { version: to });
                self.system.restart_machine().await?;
                return Ok(Done::Restarting(to));
            }
            Place::Program(path) => {
                self.system.can_restart_gateway()?;
                let program = self.program(path);
                let to = program.go_back(self.now()).map_err(refused)?;
                let mut report = self.report();
                self.settle(&mut report).map_err(why)?;
                report.way_back = None;
                self.say(&report);
                self.restart_gateway().await;
                self.system.health(program.path(), to, false).await?;
                to
            }
        };
        Ok(Done::WentBack(to))
    }
}

fn offered(bundle: &Bundle) -> Offered {
    let bytes = bundle.offers.iter().map(|offer| offer.payload.bytes).sum();
    let severity = bundle.offers.iter().map(|offer| offer.about.severity).max().unwrap_or(Severity::Normal);
    Offered { version: bundle.version, bytes, severity, notes: bundle.about.notes.clone() }
}

/// So many bytes of a download are there.
fn came(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}
