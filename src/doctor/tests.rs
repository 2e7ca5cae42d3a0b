use super::disk::FileFact;
use super::*;
use crate::document::{self, NoVariables};
use crate::gateway::{AcmeStatus, ChannelStatus, HttpsStatus};
use crate::mdns::State as LocalName;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const SAFE: &str = "[session]\ndm_scope = \"per-channel-peer\"\n";
const HOOK: &str = "[[channels]]\ntype = \"webhook\"\nsecret = \"${S}\"\nreply_url = \"https://example.com/\"\n";

struct S;

impl Variables for S {
    fn get(&self, name: &str) -> Option<String> {
        (name == "S").then(|| "a secret of some length".to_owned())
    }
}

fn load(toml: &str) -> Result<Loaded, Error> {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), toml).unwrap();
    config::load(home.path(), &S)
}

fn heads(findings: &[Finding]) -> Vec<String> {
    for finding in findings {
        assert!(!finding.what.is_empty() && !finding.fix.is_empty(), "{finding:?}");
    }
    findings.iter().map(|finding| format!("{} {}", finding.severity.as_str(), finding.id)).collect()
}

/// What is found in a configuration, without a gateway and on a good disk.
fn check(toml: &str, expected: &[&str]) {
    let found = findings(&load(toml), None, &Disk::default(), NOW);
    let heads: Vec<String> = heads(&found).into_iter().filter(|head| head != "hint not-running").collect();
    assert_eq!(heads, expected, "{found:#?}");
}

#[test]
fn settings_are_audited() {
    check(&[SAFE, HOOK].concat(), &[]);
    // Under `main`, as no scope is written: but visitors of the web chat that is on by itself share nothing.
    check("", &[]);
    check("[gateway\n", &["error config"]);
    check("a = 1\nb = 2\n", &["error config", "error config"]);
    let main = "[session]\ndm_scope = \"main\"\nowners = [\"webhook:a\"]\n";
    check(&[main, HOOK].concat(), &["hint shared-conversation"]);
    let open = ["error shared-conversation", "warning configuration"];
    check(&[main, HOOK, "dm_policy = \"open\"\n"].concat(), &open);
    let listed = ["warning shared-conversation", "warning configuration"];
    check(&[main, HOOK, "dm_policy = \"allowlist\"\nallow = [\"b\"]\n"].concat(), &listed);
    let format = "key_format = \"{channel}:{channel_id}\"\n";
    check(&[SAFE, format, HOOK].concat(), &["error shared-conversation", "hint note"]);
    check(&[SAFE, HOOK, "require_mention = false\n"].concat(), &["warning answers-always"]);
    check(&["[gateway]\nbind = \"0.0.0.0\"\n", SAFE, HOOK].concat(), &["hint no-tls"]);
    check(&[SAFE, &HOOK.replace("${S}", "clear")].concat(), &["hint clear-secret"]);
    let key = "[[api_keys]]\nname = \"k\"\nkey = \"${S}\"\n";
    check(&[SAFE, HOOK, key].concat(), &[]);
    check(&[SAFE, HOOK, &key.replace("${S}", "1234")].concat(), &["error weak-api-key", "hint clear-secret"]);
    check(&[SAFE, HOOK, key, "scope = \"tenant\"\n"].concat(), &["warning wide-api-key"]);
    let of_tenant = "scope = \"tenant\"\ntenant_id = \"42\"\n";
    check(&[SAFE, HOOK, key, of_tenant].concat(), &["hint wide-api-key"]);
    let provider = "[[providers]]\nname = \"p\"\nkind = \"openai\"\nmodel = \"m\"\napi_key = \"${S}\"\n";
    check(&[SAFE, HOOK, provider, "base_url = \"http://a.example/v1\"\n"].concat(), &["warning configuration"]);
    check(&[SAFE, HOOK, provider, "base_url = \"https://a.example/v1\"\n"].concat(), &[]);
}

fn file(path: &str, mode: u32, owner: u32) -> FileFact {
    FileFact { path: path.into(), mode, owner, written: NOW }
}

fn check_disk(home_mode: u32, files: &[FileFact], free_mib: u64, expected: &[&str]) {
    let disk = Disk {
        home: Some(file("/home", home_mode, 7)),
        files: files.to_vec(),
        free_bytes: Some(free_mib * 1024 * 1024),
        ..Disk::default()
    };
    assert_eq!(heads(&disk.findings(NOW)), expected);
}

#[test]
fn the_disk_is_looked_at() {
    check_disk(0o700, &[file("a", 0o600, 7)], 1_000, &[]);
    check_disk(0o750, &[file("a", 0o600, 7)], 1_000, &["warning open-home"]);
    check_disk(0o700, &[file("a", 0o644, 7)], 1_000, &["hint open-file"]);
    check_disk(0o755, &[file("a", 0o644, 7)], 1_000, &["warning open-home", "error open-file"]);
    check_disk(0o700, &[file("home/device.key", 0o640, 7)], 1_000, &["error open-file"]);
    check_disk(0o700, &[file("a", 0o600, 0)], 1_000, &["warning other-owner"]);
    check_disk(0o700, &[], 100, &["warning disk-low"]);
    check_disk(0o700, &[], 10, &["warning disk-low"]);
    let later = |ms| FileFact { written: NOW.plus_ms(ms), ..file("a", 0o600, 7) };
    check_disk(0o700, &[later(60_000)], 1_000, &[]);
    check_disk(0o700, &[later(3_600_000)], 1_000, &["warning clock-behind"]);
}

#[test]
fn a_device_key_without_a_passphrase_is_hinted_at() {
    let home = tempfile::tempdir().unwrap();
    let check = |expected: &[&str]| {
        let disk = Disk {
            home: None,
            free_bytes: None,
            files: Vec::new(),
            ..Disk::look(home.path(), &home.path().join("store"))
        };
        assert_eq!(heads(&disk.findings(NOW)), expected);
    };
    check(&[]);
    document::write_whole(&home.path().join("device.key"), &[7; 32], 0o600).unwrap();
    check(&["hint clear-key"]);
    let line = "frontdesk-device-key 1 argon2id m=8,t=1,p=1 05050505050505050505050505050505 \
                6c195d167d06fc65daa51030941e91b1130207fab6a3775b511461a1c7217d16edac990f2b69c7ba4aa6bc7a44acb756 \
                9ffb03ed5fb61446\n";
    document::write_whole(&home.path().join("device.key"), line.as_bytes(), 0o600).unwrap();
    check(&[]);
}

fn status() -> Status {
    Status {
        adopted: Vec::new(),
        local: Default::default(),
        https: HttpsStatus { certificate: None, acme: None },
        port: None,
        address: String::new(),
        uptime_ms: 0,
        config: None,
        safe_mode: None,
        on_copy: false,
        counts: Default::default(),
        n_lanes: 0,
        n_unresolved: 0,
        store: String::new(),
        store_bytes: 0,
        backup: Default::default(),
        channels: Vec::new(),
        notes: Vec::new(),
        errors: Vec::new(),
        warnings: Vec::new(),
    }
}

fn check_runtime(change: impl FnOnce(&mut Status), expected: &[&str]) {
    let (loaded, mut status) = (load(&[SAFE, HOOK].concat()), status());
    change(&mut status);
    let text = loaded.as_ref().unwrap().text.clone().unwrap();
    let digest = config::digest(text.expose().as_bytes());
    let running = Running { status: &status, config_digest: Some(&digest) };
    assert_eq!(heads(&findings(&loaded, Some(&running), &Disk::default(), NOW)), expected);
}

#[test]
fn a_running_gateway_says_what_only_it_knows() {
    let channel = |last_in, last_out| ChannelStatus {
        id: "hook".into(),
        channel: "webhook".into(),
        tenant: None,
        path: String::new(),
        last_in,
        last_out,
        n_refused: 0,
        n_limited: 0,
        n_pending: 0,
        n_turned_away: 0,
        is_paused: false,
        problem: None,
    };
    check_runtime(|_| {}, &[]);
    check_runtime(
        |s| {
            s.warnings = vec!["2 messages set aside: see it".into()];
            s.errors = vec!["the store takes nothing; make room".into()];
            s.notes = vec!["accepted".into()];
        },
        &["error gateway", "warning gateway", "hint note"],
    );
    check_runtime(|s| s.channels = vec![channel(Some(NOW), Some(NOW))], &[]);
    check_runtime(|s| s.channels = vec![channel(Some(NOW), None)], &["warning never-delivered"]);
    check_runtime(|s| s.channels = vec![channel(None, None)], &["hint never-used"]);
    let (loaded, status) = (load(SAFE), status());
    let running = Running { status: &status, config_digest: None };
    assert_eq!(heads(&findings(&loaded, Some(&running), &Disk::default(), NOW)), ["hint not-reloaded"]);
}

#[test]
fn a_fix_is_what_follows_the_first_semicolon() {
    let found = sentence(Severity::Warning, "x", "it is so; do this; or that");
    assert_eq!((found.what.as_str(), found.fix.as_str()), ("it is so", "do this; or that"));
}

#[test]
fn a_home_is_looked_at_without_a_gateway() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), SAFE).unwrap();
    let found = examine(home.path(), &NoVariables, None, &Sources::default(), Timestamp(u64::MAX));
    assert!(heads(&found).contains(&"hint not-running".to_owned()), "{found:?}");
    assert!(found.iter().all(|finding| finding.id != CONFIG));
}

/// What is found of the store in a home without a gateway.
fn look(home: &Path) -> Vec<Finding> {
    let found = examine(home, &NoVariables, None, &Sources::default(), Timestamp(u64::MAX));
    found.into_iter().filter(|finding| ["device-key", "store"].contains(&finding.id)).collect()
}

#[test]
fn the_key_of_a_store_that_does_not_run_is_looked_for() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), "[session]\nstorage_path = \"kept/box.redb\"\n").unwrap();
    assert_eq!(heads(&look(home.path())), Vec::<String>::new(), "nothing is there yet");
    std::fs::create_dir(home.path().join("kept")).unwrap();
    document::write_whole(&home.path().join("kept/box.redb"), b"conversations", 0o600).unwrap();
    let found = look(home.path());
    assert_eq!(heads(&found), ["error device-key", "error store"]);
    assert!(found[0].what.contains("kept/box.redb") && found[0].fix.contains("put the file back"), "{found:?}");
    assert!(found[1].fix.contains("store repair"), "{found:?}");
    document::write_whole(&home.path().join("device.key"), &[7; 32], 0o600).unwrap();
    assert_eq!(heads(&look(home.path())), ["error store"]);
}

#[test]
fn what_the_store_says_of_a_full_disk_is_what_doctor_says() {
    let trouble = "the disk is full: 3 MB are left, and messages are refused below 17 MB; make room on it";
    let offline = Offline { disk: Some(trouble.to_owned()), ..Offline::default() };
    let disk = Disk { free_bytes: Some(3_000_000), offline, ..Disk::default() };
    let found = disk.findings(NOW);
    assert_eq!(heads(&found), ["error disk-full"]);
    assert_eq!(format!("{}; {}", found[0].what, found[0].fix), trouble);
}

#[test]
fn what_is_wrong_with_name_and_certificate_is_told_from_the_rest() {
    let acme = AcmeStatus { domains: Vec::new(), certificate: None, problem: Some("refused".to_owned()) };
    let https = HttpsStatus { certificate: None, acme: Some(acme) };
    let local = LocalName { name: None, problem: Some("taken".to_owned()) };
    let status = Status { https, local, ..status() };
    assert_eq!(
        ["refused", "taken", "else"].map(|warning| kind(&status, warning)),
        ["certificate", "local-name", "gateway"]
    );
    let none = self::status();
    assert_eq!(kind(&none, "refused"), "gateway");
}
