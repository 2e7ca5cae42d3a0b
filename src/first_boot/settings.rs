//! What `frontdesk.toml` says. Strict: what is not known, or is not exactly right, is a problem, and then nothing counts.

use std::net::IpAddr;

use toml_edit::DocumentMut;

use crate::document::{Document, NoVariables, Secret, Section, Severity};

/// All that can be said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Presets {
    /// In lower case.
    pub host_name: Option<String>,
    /// As in `Europe/Berlin`.
    pub time_zone: Option<String>,
    /// Through which everything goes that leaves the house.
    pub proxy: Option<String>,
    /// SHA-256 of the claim code, in lower case hex.
    pub claim: Option<String>,
    /// The network without a cable.
    pub wifi: Option<Wifi>,
    /// A fixed address by cable.
    pub wired: Option<Wired>,
}

/// A wireless network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wifi {
    /// Its name, up to 32 bytes.
    pub ssid: String,
    /// What it is joined with.
    pub passphrase: Passphrase,
    /// Whose rules the radio follows: two letters.
    pub country: String,
    /// A fixed address; none: it is given one.
    pub place: Option<Place>,
}

/// What a network is joined with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passphrase {
    /// 8 to 63 printable ASCII characters.
    Words(Secret),
    /// 64 hex digits.
    Key(Secret),
}

/// A fixed address by cable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wired {
    /// It.
    pub place: Place,
}

/// A fixed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// With its prefix, as in `192.0.2.7/24`.
    pub address: String,
    /// The way out.
    pub gateway: Option<IpAddr>,
    /// Who knows names.
    pub dns: Vec<IpAddr>,
}

/// Reads a text. `known` is the network that was joined before, if one was: whoever changes something else need not write its
/// passphrase again.
pub(super) fn read(file: &str, text: &str, known: Option<&(String, Passphrase)>) -> Result<Presets, Vec<String>> {
    let sentences = |problems: Vec<crate::document::Problem>| problems.iter().map(ToString::to_string).collect();
    let document = Document::parse_toml(file, text).map_err(sentences)?;
    let mut root = document.root(&NoVariables);
    let presets = Presets {
        host_name: root.take_parsed("host_name", host_name),
        time_zone: root.take_parsed("time_zone", time_zone),
        proxy: root.take_parsed("proxy", proxy),
        claim: root.take_parsed("claim_code_sha256", claim),
        wifi: root.take_section("wifi").and_then(|section| wifi(section, known)),
        wired: root.take_section("wired").and_then(wired),
    };
    root.finish();
    let problems: Vec<_> =
        document.problems().into_iter().filter(|problem| problem.severity == Severity::Error).collect();
    if problems.is_empty() { Ok(presets) } else { Err(sentences(problems)) }
}

fn wifi(mut section: Section<'_>, known: Option<&(String, Passphrase)>) -> Option<Wifi> {
    let ssid = section.take_parsed("ssid", ssid);
    let written = section.has("psk");
    let passphrase = match section.take_secret("psk") {
        Some(secret) => match passphrase(&secret) {
            Some(passphrase) => Some(passphrase),
            None => {
                let message = "psk is none: it has 8 to 63 letters, digits and signs of ASCII, or is 64 hex digits";
                section.problem(Severity::Error, "psk", message, None);
                None
            }
        },
        None => known.filter(|(name, _)| Some(name) == ssid.as_ref() && !written).map(|(_, known)| known.clone()),
    };
    if passphrase.is_none() && !written {
        section
            .missing("psk", "psk = \"…\", the passphrase of the network; it is taken out of the file once it was read");
    }
    let country = section.take_parsed("country", country);
    section.missing("ssid", "ssid = \"…\", the name of the network");
    section.missing("country", "country = \"DE\", where the box is: its radio follows the rules of that country");
    let place = place(&mut section);
    section.finish();
    Some(Wifi { ssid: ssid?, passphrase: passphrase?, country: country?, place })
}

fn wired(mut section: Section<'_>) -> Option<Wired> {
    let place = place(&mut section);
    section.missing("address", "address = \"192.0.2.7/24\"; without [wired] the box is given an address");
    section.finish();
    Some(Wired { place: place? })
}

fn place(section: &mut Section<'_>) -> Option<Place> {
    let address = section.take_parsed("address", network_address);
    let gateway = section.take_parsed("gateway", ip);
    let dns = section.take_parsed_list("dns", ip);
    if address.is_none() && (gateway.is_some() || !dns.is_empty()) {
        section.missing("address", "address = \"192.0.2.7/24\"; gateway and dns are for a fixed one");
    }
    Some(Place { address: address?, gateway, dns })
}

fn host_name(text: &str) -> Result<String, String> {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    match (1..=63).contains(&text.len())
        && text.chars().all(is_inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
    {
        true => Ok(text.to_ascii_lowercase()),
        false => {
            Err(format!("{text:?} is no name of a machine; write letters, digits and dashes, as in \"frontdesk\""))
        }
    }
}

fn time_zone(text: &str) -> Result<String, String> {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    let is_path = text.split('/').all(|part| !part.is_empty()) && text.chars().all(is_inside);
    match is_path && jiff::tz::TimeZone::get(text).is_ok() {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no time zone; write one as in \"Europe/Berlin\"")),
    }
}

/// It becomes a line of a file that systemd reads.
fn proxy(text: &str) -> Result<String, String> {
    let wrong = || "this is no proxy; write it as in \"http://proxy.example.com:3128\"".to_owned();
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '$' | '`' | '#' | ';');
    let uri: http::Uri = text.parse().map_err(|_error| wrong())?;
    let is_right = text.chars().all(is_plain)
        && uri.scheme_str() == Some("http")
        && uri.host().is_some_and(|host| !host.is_empty())
        && matches!(uri.path(), "" | "/")
        && uri.query().is_none();
    if is_right { Ok(text.trim_end_matches('/').to_owned()) } else { Err(wrong()) }
}

fn claim(text: &str) -> Result<String, String> {
    match text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()) {
        true => Ok(text.to_ascii_lowercase()),
        false => {
            Err("this is no SHA-256; `frontdesk first-boot --make-claim-code` makes a code and prints its own"
                .to_owned())
        }
    }
}

fn ssid(text: &str) -> Result<String, String> {
    match (1..=32).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err("the name of a wireless network has 1 to 32 bytes".to_owned()),
    }
}

pub(super) fn passphrase(secret: &Secret) -> Option<Passphrase> {
    let text = secret.expose();
    let is_printable = |text: &str| text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    match text.len() {
        8..=63 if is_printable(text) => Some(Passphrase::Words(secret.clone())),
        64 if text.chars().all(|c| c.is_ascii_hexdigit()) => Some(Passphrase::Key(secret.clone())),
        _ => None,
    }
}

fn country(text: &str) -> Result<String, String> {
    match text.len() == 2 && text.chars().all(|c| c.is_ascii_alphabetic()) {
        true => Ok(text.to_ascii_uppercase()),
        false => Err(format!("{text:?} is no country; write two letters, as in \"DE\"")),
    }
}

fn network_address(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no address with its prefix; write it as in \"192.0.2.7/24\"");
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_error| wrong())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix: u8 = prefix.parse().map_err(|_error| wrong())?;
    let is_usable = !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
    if is_usable && (1..=longest).contains(&prefix) { Ok(format!("{address}/{prefix}")) } else { Err(wrong()) }
}

fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_error| format!("{text:?} is no address; write it as in \"192.0.2.1\""))
}

/// The same text without the passphrase, everything else as it was written. A text that was read is one of TOML.
pub(super) fn without_passphrase(text: &str) -> String {
    let Ok(mut document) = text.parse::<DocumentMut>() else { return text.to_owned() };
    let Some(wifi) = document.get_mut("wifi").and_then(|item| item.as_table_like_mut()) else { return text.to_owned() };
    if wifi.remove("psk").is_none() {
        return text.to_owned();
    }
    format!(
        "# The passphrase of the wireless network was read and taken out. To change it, write psk into [wifi] again.\n{document}"
    )
}
