//! `first-boot`, `factory-reset` and `console`: what the units of the appliance run.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::output::{self, line, printable};
use super::{Context, Exit, Failure, client};
use crate::first_boot::{self, Applied, Note};
use crate::{account, factory_reset};

/// How often the screen is looked at again.
const LOOK: Duration = Duration::from_secs(10);
/// Most lines about what is wrong.
const MAX_PROBLEMS: usize = 6;

#[derive(Debug, Args)]
pub(super) struct FirstBoot {
    /// Where the boot partition is mounted
    #[arg(long, value_name = "DIR", default_value = "/boot")]
    boot: PathBuf,
    /// Where the files go that the system looks for
    #[arg(long, value_name = "DIR", default_value = "/var/lib/frontdesk-system")]
    root_config: PathBuf,
    /// Do nothing but make a claim code for a box that is yet to be set up, and print it with its SHA-256
    #[arg(long)]
    make_claim_code: bool,
}

#[derive(Debug, Args)]
pub(super) struct FactoryReset {
    /// Where the boot partition is mounted
    #[arg(long, value_name = "DIR")]
    boot: PathBuf,
    /// Where the data partition is mounted
    #[arg(long, value_name = "DIR")]
    var: PathBuf,
}

pub(super) fn first_boot(context: &Context, wanted: &FirstBoot) -> Result<(), Failure> {
    if wanted.make_claim_code {
        let (code, digest) = account::new_claim_code().map_err(anyhow::Error::from)?;
        match context.json {
            true => output::json(&json!({ "claim_code": code.expose(), "claim_code_sha256": digest })),
            false => {
                line(&format!("claim code: {}", code.expose()));
                line(&format!("in frontdesk.toml: claim_code_sha256 = \"{digest}\""));
            }
        }
        return Ok(());
    }
    let applied = first_boot::apply(&wanted.boot, &wanted.root_config);
    let name = first_boot::host_name(&wanted.root_config);
    if let Err(error) = rustix::system::sethostname(name.as_bytes()) {
        line(&format!("the machine cannot be called {name}: {error}"));
    }
    match applied.map_err(|error| Exit::TryAgain.say(format!("frontdesk.toml was not read to the end: {error}")))? {
        Applied::NoFile => line("there is no frontdesk.toml on the boot partition"),
        Applied::Known => line("frontdesk.toml was read before"),
        Applied::Used => line("frontdesk.toml was read"),
        // Not a failure of the start: page and console say it.
        Applied::Refused(problems) => {
            problems.iter().for_each(|problem| line(&format!("not used: {}", printable(problem))));
        }
    }
    Ok(())
}

pub(super) fn factory_reset(wanted: &FactoryReset) -> Result<(), Failure> {
    let done = factory_reset::run(&wanted.boot, &wanted.var, &mut || Ok(()));
    let done = done.map_err(|error| {
        Exit::TryAgain.say(format!("the box is not as it was delivered: {error}; the next start goes on with it"))
    })?;
    line(if done { "everything that was kept here is removed" } else { "nobody asked for it" });
    Ok(())
}

/// Shows on the screen how the box is reached and what is wrong. Ends never.
pub(super) fn console(context: &Context) -> Result<(), Failure> {
    let runtime = client::runtime()?;
    let mut shown = String::new();
    while output::is_heard() {
        let screen = screen(context);
        if screen != shown {
            // The whole screen, from its first line.
            output::bytes(format!("\x1b[2J\x1b[H{}", screen.replace('\n', "\r\n")).as_bytes());
            shown = screen;
        }
        runtime.block_on(async { tokio::time::sleep(LOOK).await });
    }
    Ok(())
}

fn screen(context: &Context) -> String {
    let status = client::try_ask(context, Method::GET, "/api/v1/status").ok().flatten();
    let status = status.and_then(|answer| answer.success().ok());
    // Nobody but root reads it, and it is gone once the box is claimed.
    let code = fs::read_to_string(context.home.join("claim.code")).ok();
    let directory = context.environment.get(first_boot::DIRECTORY).cloned();
    let directory = directory.unwrap_or_else(|| "/var/lib/frontdesk-system".to_owned());
    compose(status.as_ref(), code.as_deref(), &addresses(), &Note::read(directory.as_ref()).problems)
}

/// What stands on the screen.
fn compose(status: Option<&Value>, code: Option<&str>, addresses: &[IpAddr], told: &[String]) -> String {
    let mut lines = vec![format!("Frontdesk {}", env!("CARGO_PKG_VERSION")), String::new()];
    if let Some(status) = status {
        let name = status.get("local_name").and_then(Value::as_str);
        lines.extend(name.map(|name| format!("Open       http://{}/admin/", printable(name))));
        for address in addresses {
            let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
            lines.push(format!("{}  http://{host}/admin/", if name.is_some() { "or       " } else { "Open     " }));
        }
        if addresses.is_empty() {
            lines.push(
                "There is no network yet: plug in a cable, or write [wifi] into frontdesk.toml on the card.".to_owned(),
            );
        }
        if let Some(code) = code {
            lines.push(String::new());
            lines.push(format!("Claim code {}", printable(code.trim())));
        }
        if let Some(fingerprint) = status.pointer("/https/fingerprint").and_then(Value::as_str) {
            lines.push(String::new());
            lines.push("Over https:// your browser warns once. Compare the SHA-256 fingerprint:".to_owned());
            // Half of it fits into a line of 80.
            let fingerprint = printable(fingerprint);
            let middle = fingerprint.char_indices().nth(48).map_or(fingerprint.len(), |(at, _)| at);
            let (first, second) = fingerprint.split_at(middle);
            lines.push(format!("  {first}"));
            lines.push(format!("  {second}"));
        }
    } else {
        lines.push("Starting, or not running. This screen says more once it answers.".to_owned());
    }
    let texts =
        |name: &str| status.and_then(|status| status.get(name)).and_then(Value::as_array).cloned().unwrap_or_default();
    let safe_mode = status.and_then(|status| status.get("safe_mode")).and_then(Value::as_str).map(str::to_owned);
    let warnings = texts("warnings").into_iter().filter_map(|text| text.as_str().map(str::to_owned));
    let problems: Vec<String> = told
        .iter()
        .map(|problem| format!("frontdesk.toml is not used: {problem}"))
        .chain(safe_mode.map(|why| format!("messages wait: {why}")))
        .chain(warnings.filter(|warning| !warning.starts_with("frontdesk.toml is not used")))
        .collect();
    if !problems.is_empty() {
        lines.push(String::new());
        lines.push("What is wrong:".to_owned());
        lines.extend(problems.iter().take(MAX_PROBLEMS).map(|problem| format!("- {}", printable(problem))));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Under which this machine is found in its network. Nothing is sent: the system only says what it would send from.
fn addresses() -> Vec<IpAddr> {
    let from = |any: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
        socket.connect(SocketAddr::new(to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    // Documentation's own: no machine has them, so the way there is the way out.
    let v4 = from(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let v6 = from(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    let is_shown = |address: &IpAddr| !address.is_loopback() && !address.is_unspecified();
    v4.into_iter().chain(v6).filter(is_shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_says_where_the_page_is_and_what_is_wrong() {
        let fingerprint = vec!["AB"; 32].join(":");
        let status = json!({
            "local_name": "praxis.local", "https": { "fingerprint": fingerprint },
            "warnings": ["something\x1b[31m", "frontdesk.toml is not used: twice"], "safe_mode": null,
        });
        let addresses = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let screen = compose(Some(&status), Some("K7QD-9M2X-4T\n"), &addresses, &["line 3: twice".to_owned()]);
        for text in [
            "http://praxis.local/admin/",
            "http://192.0.2.7/admin/",
            "http://[2001:db8::7]/admin/",
            "Claim code K7QD-9M2X-4T",
        ] {
            assert!(screen.contains(text), "{text} in {screen}");
        }
        assert_eq!(screen.matches("twice").count(), 1, "{screen}");
        assert_eq!(screen.matches("AB").count(), 32);
        assert!(!screen.contains('\x1b'), "nothing that came from elsewhere moves the screen");
        assert!(screen.lines().take(12).all(|line| line.len() <= 80), "{screen}");
        assert!(compose(None, None, &[], &[]).contains("Starting"));
        assert!(compose(Some(&status), None, &[], &[]).contains("no network"));
    }
}
