use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use proptest::prelude::*;

use super::render;
use super::settings::{self, Passphrase, read};
use super::*;
use crate::document::Secret;

const WHOLE: &str = r#"# Our box
host_name = "Praxis-Empfang"
time_zone = "Europe/Berlin"
proxy = "http://proxy.example.com:3128/"
claim_code_sha256 = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"

[wifi]
ssid = "Praxis $ \" Müller"   # the one upstairs
psk = "correct \" horse $1"
country = "de"
address = "192.0.2.8/24"

[wired]
address = "192.0.2.7/24"
gateway = "192.0.2.1"
dns = ["192.0.2.1", "2001:db8::53"]
"#;

struct Card {
    boot: tempfile::TempDir,
    system: tempfile::TempDir,
}

impl Card {
    fn with(text: impl AsRef<[u8]>) -> Self {
        let made = Self { boot: tempfile::tempdir().unwrap(), system: tempfile::tempdir().unwrap() };
        made.write(text);
        made
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(self.boot.path().join("frontdesk.toml"), text).unwrap();
    }

    fn apply(&self) -> Applied {
        apply(self.boot.path(), self.system.path()).unwrap()
    }

    fn left(&self) -> String {
        fs::read_to_string(self.boot.path().join("frontdesk.toml")).unwrap()
    }

    fn says(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.system.path().join(name)).ok()
    }
}

#[test]
fn what_the_file_says_comes_where_the_system_looks_for_it() {
    let made = Card::with(WHOLE);
    assert_eq!(made.apply(), Applied::Used);
    assert_eq!(made.says("hostname").unwrap(), "praxis-empfang\n");
    assert_eq!(host_name(made.system.path()), "praxis-empfang");
    let zone = fs::read_link(made.system.path().join("localtime")).unwrap();
    assert_eq!(zone, Path::new("/usr/share/zoneinfo/Europe/Berlin"));
    let wired = made.says("wired.network").unwrap();
    assert!(wired.ends_with(
        "Type=ether\n\n[Network]\nAddress=192.0.2.7/24\nGateway=192.0.2.1\nDNS=192.0.2.1\nDNS=2001:db8::53\n"
    ));
    assert!(made.says("wireless.network").unwrap().contains("Type=wlan\n\n[Network]\nAddress=192.0.2.8/24\n"));
    let radio = made.says("wpa_supplicant.conf").unwrap();
    assert!(radio.contains("country=DE\n") && radio.contains("\tpsk=\"correct \" horse $1\"\n"), "{radio}");
    assert!(radio.contains("\tssid=50726178697320242022204dc3bc6c6c6572\n"), "{radio}");
    let mode = fs::metadata(made.system.path().join("wpa_supplicant.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let env = made.says("gateway.env").unwrap();
    for line in [
        "FRONTDESK_NAME=\"praxis-empfang\"",
        "TZ=\"Europe/Berlin\"",
        "HTTPS_PROXY=\"http://proxy.example.com:3128\"",
        "FRONTDESK_CLAIM_SHA256=\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
    ] {
        assert!(env.lines().any(|found| found == line), "{line} in {env}");
    }
    assert!(!env.contains("horse"));
}

#[test]
fn the_passphrase_is_taken_out_and_the_rest_stays_as_it_was_written() {
    let made = Card::with(WHOLE);
    made.apply();
    let left = made.left();
    assert!(!left.contains("horse") && left.contains("ssid = \"Praxis $ \\\" Müller\"   # the one upstairs"), "{left}");
    assert!(left.starts_with("# The passphrase") && left.contains("# Our box"));
    let files: Vec<_> = fs::read_dir(made.boot.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "nothing is left beside it");
    // Read once; what is changed later is read again, and the passphrase need not be written again.
    assert_eq!(made.apply(), Applied::Known);
    made.write(left.replace("Praxis-Empfang", "other"));
    assert_eq!(made.apply(), Applied::Used);
    assert_eq!(made.says("hostname").unwrap(), "other\n");
    assert!(made.says("wpa_supplicant.conf").unwrap().contains("psk=\"correct \" horse $1\""));
    // Of another network it is not known.
    made.write(left.replace("Praxis $", "Cafe"));
    let Applied::Refused(problems) = made.apply() else { panic!("it was used") };
    assert!(problems[0].contains("psk") && problems[0].contains("missing"), "{problems:?}");
    // What is not said any more is gone.
    made.write("");
    assert_eq!(made.apply(), Applied::Known, "cut off in the middle of a rename");
    assert_eq!(made.says("hostname").unwrap(), "other\n");
    made.write("# nothing\n");
    assert_eq!(made.apply(), Applied::Used);
    for name in ["hostname", "wired.network", "wireless.network", "wpa_supplicant.conf", "localtime"] {
        assert!(fs::symlink_metadata(made.system.path().join(name)).is_err(), "{name}");
    }
    assert_eq!(host_name(made.system.path()), "frontdesk");
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_and_is_said_without_its_passphrase() {
    let made = Card::with("host_name = \"one\"\n");
    made.apply();
    let check = |text: &str, expected: &str| {
        made.write(text);
        let Applied::Refused(problems) = made.apply() else { panic!("{text} was used") };
        let all = problems.join("\n");
        assert!(all.contains(expected), "{text}: {all}");
        assert!(!all.contains("s3cret"), "{all}");
        assert_eq!(made.left(), text, "somebody has to mend it");
        assert_eq!(made.says("hostname").unwrap(), "one\n");
        assert_eq!(Note::read(made.system.path()).problems, problems);
        assert_eq!(made.apply(), Applied::Refused(problems), "it is still wrong at the next start");
    };
    check("host_name = \"-x\"\n", "name of a machine");
    check("hostname = \"x\"\n", "host_name");
    check("host_name = \n", "frontdesk.toml:1:13");
    check("time_zone = \"Mars/Olympus\"\n", "time zone");
    check("time_zone = \"../../etc/shadow\"\n", "time zone");
    check("proxy = \"https://proxy.example.com\"\n", "no proxy");
    check("proxy = \"http://user:s3cret@p.example.com/$(x)\"\n", "no proxy");
    check("claim_code_sha256 = \"abc\"\n", "SHA-256");
    check("[wifi]\nssid = \"x\"\npsk = \"s3cret\"\ncountry = \"DE\"\n", "8 to 63");
    check("[wifi]\nssid = \"x\"\npsk = \"s3cret\\nfoo\"\ncountry = \"DE\"\n", "8 to 63");
    check("[wifi]\nssid = \"x\"\npsk = \"s3crets3cret\"\ncountry = \"Germany\"\n", "country");
    check("[wifi]\nssid = \"x\"\npsk = \"s3crets3cret\"\n", "country");
    check(
        "[wifi]\nssid = \"123456789012345678901234567890123\"\npsk = \"s3crets3cret\"\ncountry = \"DE\"\n",
        "32 bytes",
    );
    check("[wired]\naddress = \"192.0.2.7\"\n", "prefix");
    check("[wired]\naddress = \"192.0.2.7/33\"\n", "prefix");
    check("[wired]\ngateway = \"192.0.2.1\"\n", "address");
    check("[wired]\naddress = \"127.0.0.1/8\"\n", "prefix");
    made.write("host_name = \"two\"\n");
    assert_eq!(made.apply(), Applied::Used);
    assert!(Note::read(made.system.path()).problems.is_empty());
}

#[test]
fn what_editors_of_other_systems_write_is_read_and_what_is_no_text_is_not() {
    let made = Card::with("\u{FEFF}host_name = \"one\"\r\ntime_zone = \"UTC\"\r\n");
    assert_eq!(made.apply(), Applied::Used);
    let made = Card::with([0xFF, 0xFE, b'h', 0]);
    assert!(matches!(made.apply(), Applied::Refused(_)));
    let made = Card::with(vec![b'#'; 100 * 1024]);
    assert!(matches!(made.apply(), Applied::Refused(_)), "too long");
    let made = Card::with("# nothing\n");
    fs::rename(made.boot.path().join("frontdesk.toml"), made.boot.path().join("frontdesk.toml.txt")).unwrap();
    assert_eq!(made.apply(), Applied::Used);
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(apply(nothing.path(), made.system.path()).unwrap(), Applied::NoFile);
}

/// What a cut of the power leaves: what was put into the directory, and the file as it was, or without its passphrase.
#[test]
fn cut_off_anywhere_it_is_gone_on_with() {
    let whole = Card::with(WHOLE);
    whole.apply();
    let names = ["hostname", "wired.network", "wireless.network", "wpa_supplicant.conf", "gateway.env"];
    for n_put in 0..=names.len() {
        for is_scrubbed in [false, true] {
            if is_scrubbed && n_put < names.len() {
                continue; // it is taken out last
            }
            let cut = Card::with(if is_scrubbed { whole.left() } else { WHOLE.to_owned() });
            for name in names.iter().take(n_put) {
                fs::copy(whole.system.path().join(name), cut.system.path().join(name)).unwrap();
            }
            assert_eq!(cut.apply(), Applied::Used, "{n_put} {is_scrubbed}");
            for name in names {
                assert_eq!(cut.says(name), whole.says(name), "{name} {n_put} {is_scrubbed}");
            }
            assert!(!cut.left().contains("horse"));
        }
    }
}

proptest! {
    #[test]
    fn nothing_that_a_person_chooses_becomes_another_line(ssid in "\\PC{1,32}", psk in "[ -~]{8,63}") {
        let text = format!(
            "[wifi]\nssid = {}\npsk = {}\ncountry = \"DE\"\n",
            toml_edit::Value::from(ssid.replace("${", "$ {")),
            toml_edit::Value::from(psk.replace("${", "$ {").chars().take(63).collect::<String>()),
        );
        let Ok(presets) = read("frontdesk.toml", &text, None) else {
            prop_assert!(ssid.len() > 32, "{text}");
            return Ok(());
        };
        let wifi = presets.wifi.clone().unwrap();
        let radio = render::files(&presets).into_iter().find(|(name, ..)| *name == render::RADIO).unwrap().2.unwrap();
        prop_assert_eq!(radio.lines().count(), 10, "{}", &radio);
        prop_assert_eq!(render::known_network(&radio), Some((wifi.ssid, wifi.passphrase)));
        let left = settings::without_passphrase(&text);
        prop_assert!(read("frontdesk.toml", &left, None).is_err(), "the passphrase is gone: {left}");
        prop_assert!(read("frontdesk.toml", &left, render::known_network(&radio).as_ref()).is_ok());
    }

    #[test]
    fn no_text_makes_it_fail(text: String) {
        let _ = read("frontdesk.toml", &text, Some(&("x".to_owned(), Passphrase::Words(Secret::new("12345678")))));
        let _ = settings::without_passphrase(&text);
        let _ = render::known_network(&text);
    }
}
