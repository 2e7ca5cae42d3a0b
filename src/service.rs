//! What the program and systemd say to each other: how it is (`sd_notify`), and the sockets it is handed (`LISTEN_FDS`).
//!
//! Both are plain protocols of environment and sockets; no library of the system is needed, and where nobody runs the
//! program as a service nothing happens. Knows nothing of the gateway: what there is to say, it is told.

use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::time::{ClockId, clock_gettime};

/// Where the manager listens; the socket of a path, or with `@` in front an abstract one.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// How long it waits for a sign of life, in microseconds.
pub const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// Whose it waits for; not there: everybody's.
pub const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// Longest `STATUS=`, in bytes.
const MAX_STATUS_BYTES: usize = 400;

/// Who runs the program as a service; nobody, when it was started by hand.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that the environment names. One that cannot be reached is none; the log says so.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let Some(name) = variable(NOTIFY_SOCKET).filter(|name| !name.is_empty()) else { return Self::default() };
        let socket = match reach(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, name, "the manager of services cannot be told how the gateway is");
                None
            }
        };
        let is_ours = variable(WATCHDOG_PID).is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = variable(WATCHDOG_USEC).filter(|_| is_ours).and_then(|text| text.parse().ok());
        Self { socket, watchdog: watchdog.filter(|micros| *micros > 0).map(Duration::from_micros) }
    }

    /// How often it wants a sign of life, if it does: twice in the time after which it takes the program for dead.
    #[must_use]
    pub fn alive_every(&self) -> Option<Duration> {
        self.socket.as_ref()?;
        self.watchdog.map(|longest| longest / 2)
    }

    /// What runs here serves.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// In one line, how it is.
    pub fn status(&self, status: &str) {
        self.say(&format!("STATUS={}", one_line(status)));
    }

    /// It reads its settings again; [`Self::ready`] says when it has.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It ends.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=stopping");
    }

    /// It lives.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, state: &str) {
        let Some((socket, manager)) = &self.socket else { return };
        // A manager that is being started anew hears the next one.
        if let Err(error) = socket.send_to_addr(state.as_bytes(), manager) {
            tracing::debug!(%error, "the manager of services was not told");
        }
    }
}

fn reach(name: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if name.starts_with('/') => SocketAddr::from_pathname(Path::new(name))?,
        None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    // Whoever does not read must not stop us.
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if line.len() + c.len_utf8() > MAX_STATUS_BYTES {
            break;
        }
        line.push(c);
    }
    line
}

/// The TCP sockets that this process was handed, already listening, in their order; and what is wrong with others. Called
/// once, before there is a second thread: it takes the variables out of the environment.
#[must_use]
pub fn sockets() -> (Vec<TcpListener>, Vec<String>) {
    let mut handed = ListenFd::from_env();
    let (mut sockets, mut problems) = (Vec::new(), Vec::new());
    for n in 0..handed.len() {
        match handed.take_tcp_listener(n) {
            Ok(Some(socket)) => sockets.push(socket),
            Ok(None) => {}
            Err(error) => problems.push(format!("a socket that the system handed over cannot be used: {error}")),
        }
    }
    (sockets, problems)
}

/// How `NOTIFY_SOCKET` would name this address; for tests and for those who start the program themselves.
#[must_use]
pub fn name_of(address: &SocketAddr) -> Option<String> {
    match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => String::from_utf8(path.as_os_str().as_bytes().to_vec()).ok(),
        (None, Some(name)) => String::from_utf8(name.to_vec()).ok().map(|name| format!("@{name}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn manager(name: &str, more: &[(&str, &str)]) -> Manager {
        let mut variables = BTreeMap::from([(NOTIFY_SOCKET, name.to_owned())]);
        variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Manager::of(|name| variables.get(name).cloned())
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 4096];
        let n = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..n].to_vec()).unwrap()
    }

    fn check_heard(socket: &UnixDatagram) {
        let manager = manager(&name_of(&socket.local_addr().unwrap()).unwrap(), &[(WATCHDOG_USEC, "3000000")]);
        assert_eq!(manager.alive_every(), Some(Duration::from_millis(1_500)));
        manager.ready("listening\nWATCHDOG=trigger");
        assert_eq!(heard(socket), "READY=1\nSTATUS=listening WATCHDOG=trigger", "nobody adds an assignment");
        manager.reloading();
        let said = heard(socket);
        let micros = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
        let now = clock_gettime(ClockId::Monotonic);
        assert!(micros > 0 && micros / 1_000_000 <= u64::try_from(now.tv_sec).unwrap(), "{said}");
        manager.alive();
        manager.stopping();
        assert_eq!([heard(socket), heard(socket)], ["WATCHDOG=1", "STOPPING=1\nSTATUS=stopping"]);
    }

    #[test]
    fn a_manager_hears_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        check_heard(&UnixDatagram::bind(directory.path().join("notify")).unwrap());
        let name = format!("frontdesk-test-{}", std::process::id());
        check_heard(&UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap());
    }

    #[test]
    fn a_manager_that_does_not_listen_stops_nobody() {
        for name in ["", "notify", "/nowhere/at/all", "@frontdesk-nobody"] {
            let manager = manager(name, &[]);
            manager.ready("here");
            assert_eq!(manager.alive_every(), None, "{name}");
        }
        let directory = tempfile::tempdir().unwrap();
        let (full, path) = (directory.path().join("full"), directory.path().join("full"));
        let _never_read = UnixDatagram::bind(full).unwrap();
        let manager = manager(path.to_str().unwrap(), &[]);
        // More than any queue holds.
        (0..10_000).for_each(|_| manager.alive());
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _listens = UnixDatagram::bind(&path).unwrap();
        let own = std::process::id().to_string();
        let every = |pid: &str, micros: &str| {
            manager(path.to_str().unwrap(), &[(WATCHDOG_PID, pid), (WATCHDOG_USEC, micros)]).alive_every()
        };
        assert_eq!(every(&own, "2000000"), Some(Duration::from_secs(1)));
        assert_eq!(every("1", "2000000"), None);
        assert_eq!([every(&own, "0"), every(&own, "soon")], [None, None]);
    }

    proptest! {
        #[test]
        fn a_status_is_one_line_of_bounded_length(text: String) {
            let line = one_line(&text);
            prop_assert!(line.len() <= MAX_STATUS_BYTES && !line.chars().any(char::is_control));
        }
    }
}
