//! What the system is told, in the syntax of those who read it. What comes in was checked; what a person chose freely, the name of a
//! network and its passphrase, is written so that it cannot end the line or the text that it stands in.

use std::fmt::Write as _;

use super::settings::{Passphrase, Place, Presets, Wifi, passphrase};
use super::{CLAIM, NAME};
use crate::document::Secret;

pub(super) const HOST: &str = "hostname";
pub(super) const ZONE: &str = "localtime";
pub(super) const RADIO: &str = "wpa_supplicant.conf";
const WIRED: &str = "wired.network";
const WIRELESS: &str = "wireless.network";
const GATEWAY: &str = "gateway.env";

/// Name, mode and content of each file; no content: there is to be none.
pub(super) fn files(presets: &Presets) -> Vec<(&'static str, u32, Option<String>)> {
    let wireless = presets.wifi.as_ref().map(|wifi| network("wlan", wifi.place.as_ref()));
    let wired = presets.wired.as_ref().map(|wired| network("ether", Some(&wired.place)));
    vec![
        (HOST, 0o644, presets.host_name.as_ref().map(|name| format!("{name}\n"))),
        (WIRED, 0o644, wired),
        (WIRELESS, 0o644, wireless),
        (RADIO, 0o600, presets.wifi.as_ref().map(radio)),
        (GATEWAY, 0o600, Some(gateway(presets))),
    ]
}

fn network(kind: &str, place: Option<&Place>) -> String {
    let mut text = format!("# Written by frontdesk first-boot.\n[Match]\nType={kind}\n\n[Network]\n");
    match place {
        None => text.push_str("DHCP=yes\n"),
        Some(Place { address, gateway, dns }) => {
            let _ = writeln!(text, "Address={address}");
            if let Some(gateway) = gateway {
                let _ = writeln!(text, "Gateway={gateway}");
            }
            for dns in dns {
                let _ = writeln!(text, "DNS={dns}");
            }
        }
    }
    if kind == "wlan" {
        // By cable first, where there is one.
        text.push_str("IgnoreCarrierLoss=3s\n\n[DHCPv4]\nRouteMetric=600\n\n[IPv6AcceptRA]\nRouteMetric=600\n");
    }
    text
}

fn radio(wifi: &Wifi) -> String {
    let passphrase = match &wifi.passphrase {
        // Everything up to the last quote of the line is the passphrase.
        Passphrase::Words(words) => format!("\"{}\"", words.expose()),
        Passphrase::Key(key) => key.expose().to_ascii_lowercase(),
    };
    format!(
        "# Written by frontdesk first-boot.\nupdate_config=0\ncountry={}\nnetwork={{\n\tssid={}\n\tscan_ssid=1\n\
         \tkey_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\n\tieee80211w=1\n\tpsk={passphrase}\n}}\n",
        wifi.country,
        hex(wifi.ssid.as_bytes()),
    )
}

/// The network and the passphrase in a text of [`radio`].
pub(super) fn known_network(text: &str) -> Option<(String, Passphrase)> {
    let value =
        |name: &str| text.lines().find_map(|line| line.strip_prefix('\t')?.strip_prefix(name)?.strip_prefix('='));
    let ssid = String::from_utf8(unhex(value("ssid")?)?).ok()?;
    let psk = value("psk")?;
    let words = psk.strip_prefix('"').and_then(|psk| psk.strip_suffix('"'));
    Some((ssid, passphrase(&Secret::new(words.unwrap_or(psk)))?))
}

/// A file of variables as systemd reads it.
fn gateway(presets: &Presets) -> String {
    let mut text = String::from("# Written by frontdesk first-boot.\n");
    let mut say = |name: &str, value: Option<&String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{name}=\"{value}\"");
        }
    };
    say(NAME, presets.host_name.as_ref());
    say("TZ", presets.time_zone.as_ref());
    say(CLAIM, presets.claim.as_ref());
    say("HTTP_PROXY", presets.proxy.as_ref());
    say("HTTPS_PROXY", presets.proxy.as_ref());
    // What is in the house, and a model on the box.
    let local = "localhost,127.0.0.0/8,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,.local".to_owned();
    say("NO_PROXY", presets.proxy.as_ref().map(|_| &local));
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits =
        text.chars().map(|c| c.to_digit(16).and_then(|n| u8::try_from(n).ok())).collect::<Option<Vec<u8>>>()?;
    digits.chunks(2).map(|pair| if let [high, low] = pair { Some(high << 4 | low) } else { None }).collect()
}
