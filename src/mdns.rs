//! What the box is called in the local network: multicast DNS (RFC 6762) and service discovery (RFC 6763).
//!
//! The names are announced by a thread of `mdns-sd`, which shares port 5353 with other responders of the machine. Nothing here
//! can keep a gateway from starting: what is wrong is a sentence of [`Announcer::state`]. Called by the gateway, which says
//! what to announce and where.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use mdns_sd::{DaemonEvent, IfKind, Receiver, ServiceDaemon, ServiceInfo};

/// Where responders listen (RFC 6762 §5).
const PORT: u16 = 5353;
/// As what browsers of services find it.
const HTTP: &str = "_http._tcp.local.";
const HTTPS: &str = "_https._tcp.local.";
/// What people see in lists of services.
const TITLE: &str = "Frontdesk";

/// What to announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The name without `.local`.
    pub name: String,
    /// Where the gateway listens.
    pub address: SocketAddr,
    /// The port that is announced for HTTPS.
    pub https_port: u16,
    /// Path of the page.
    pub page: &'static str,
}

/// How it goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// What the box is called now, as in `frontdesk.local`. `None`: nothing is announced.
    pub name: Option<String>,
    /// What is wrong, and behind `; ` what to do.
    pub problem: Option<String>,
}

/// Announces until it is dropped.
pub struct Announcer {
    daemon: ServiceDaemon,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for Announcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcer").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// What the network says about it; to be followed until it ends, which it does when the announcer is dropped.
pub struct News {
    events: Receiver<DaemonEvent>,
    wanted: String,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("News").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// Begins to announce.
///
/// # Errors
/// A sentence that says why not and, behind `; `, what to do.
pub fn announce(wanted: &Wanted) -> Result<(Announcer, News), String> {
    let name = format!("{}.local", wanted.name);
    let failed = |why: &dyn std::fmt::Display| {
        format!(
            "the name {name} is not announced in the network: {why}; open the page by the address of the box, or see that UDP port {PORT} can be shared"
        )
    };
    can_listen().map_err(|error| failed(&error))?;
    let daemon = ServiceDaemon::new().map_err(|error| failed(&error))?;
    let announcer =
        Announcer { daemon, state: Arc::new(Mutex::new(State { name: Some(name.clone()), problem: None })) };
    let begin = || -> mdns_sd::Result<Receiver<DaemonEvent>> {
        let events = announcer.daemon.monitor()?;
        let ip = wanted.address.ip();
        for kind in unheard(ip) {
            announcer.daemon.disable_interface(kind)?;
        }
        for (service, port) in [(HTTP, wanted.address.port()), (HTTPS, wanted.https_port)] {
            let addresses: &[IpAddr] = if ip.is_unspecified() { &[] } else { &[ip] };
            let host = format!("{name}.");
            let page = [("path", wanted.page)];
            let info = ServiceInfo::new(service, TITLE, &host, addresses, port, &page[..])?;
            announcer.daemon.register(if ip.is_unspecified() { info.enable_addr_auto() } else { info })?;
        }
        Ok(events)
    };
    let events = begin().map_err(|error| failed(&error))?;
    let news = News { events, wanted: name, state: announcer.state.clone() };
    Ok((announcer, news))
}

/// Interfaces on which nobody could reach the gateway.
fn unheard(ip: IpAddr) -> Vec<IfKind> {
    let mut kinds = vec![IfKind::LoopbackV4, IfKind::LoopbackV6];
    // A socket of IPv6 that is bound to all addresses takes IPv4 too.
    if ip.is_ipv4() {
        kinds.push(IfKind::IPv6);
    } else if !ip.is_unspecified() {
        kinds.push(IfKind::IPv4);
    }
    kinds
}

/// Would the system let us listen beside those who do? The thread that announces only says so in a log.
fn can_listen() -> std::io::Result<()> {
    use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    Ok(bind(&socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))?)
}

impl Announcer {
    /// How it goes.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Announcer {
    /// Gives the name up and comes back when the network has been told.
    pub async fn end(self) {
        if let Ok(ended) = self.daemon.shutdown() {
            // Whatever comes, it is over.
            drop(ended.recv_async().await);
        }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        // It says goodbye, so that nobody keeps the name for an address that is not ours any more.
        drop(self.daemon.shutdown());
    }
}

impl News {
    /// Waits for the next change of the name. `None`: the announcer is gone.
    pub async fn next(&self) -> Option<State> {
        loop {
            let event = self.events.recv_async().await.ok()?;
            let DaemonEvent::NameChange(change) = event else { continue };
            // Two boxes may be listed under one title; their host names tell them apart.
            let Some(name) = changed(&change.original, &change.new_name) else { continue };
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.name.as_ref() == Some(&name) {
                continue;
            }
            let wanted = &self.wanted;
            let problem = format!(
                "another machine in the network is called {wanted}, so this box is {name} until the next start; rename one of them: here \
                 it is gateway.name"
            );
            *state = State { name: Some(name), problem: Some(problem) };
            return Some(state.clone());
        }
    }
}

/// The host name that it is now, if it was one.
fn changed(original: &str, new: &str) -> Option<String> {
    let host = |name: &str| {
        let name = name.trim_end_matches('.');
        let label = name.strip_suffix(".local")?;
        (!label.contains('.')).then(|| name.to_ascii_lowercase())
    };
    host(original).and(host(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_host_is_told_from_that_of_a_service() {
        let check = |original: &str, new: &str, expected: Option<&str>| {
            assert_eq!(changed(original, new).as_deref(), expected, "{new}");
        };
        check("frontdesk.local.", "frontdesk-2.local.", Some("frontdesk-2.local"));
        check("Frontdesk.local", "Frontdesk-3.local", Some("frontdesk-3.local"));
        check("Frontdesk._http._tcp.local.", "Frontdesk (2)._http._tcp.local.", None);
        check("", "", None);
    }

    #[test]
    fn a_name_is_announced_where_the_gateway_listens_and_nowhere_else() {
        let check = |ip: &str, v4: bool, v6: bool| {
            let kinds = unheard(ip.parse().unwrap());
            let is_heard = |is_it: fn(&IfKind) -> bool| !kinds.iter().any(is_it);
            assert!(!is_heard(|kind| matches!(kind, IfKind::LoopbackV4)));
            assert!(!is_heard(|kind| matches!(kind, IfKind::LoopbackV6)));
            let heard = [is_heard(|kind| matches!(kind, IfKind::IPv4)), is_heard(|kind| matches!(kind, IfKind::IPv6))];
            assert_eq!(heard, [v4, v6], "{ip}");
        };
        check("0.0.0.0", true, false);
        check("192.0.2.7", true, false);
        check("::", true, true);
        check("2001:db8::7", false, true);
    }
}
