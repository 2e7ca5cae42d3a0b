//! The command from outside: a repository from its first key to a rotated root.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test they are the failure, with its place")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Keys, a repository and files to publish.
struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap() };
        for name in ["a", "b", "c", "targets", "snapshot", "timestamp"] {
            bench.run(&format!("key {name}"));
        }
        fs::write(bench.path("program"), "a program").unwrap();
        fs::write(bench.path("kernel"), "a kernel").unwrap();
        fs::write(bench.path("root.erofs"), "a root").unwrap();
        bench
    }

    /// With a root that two have signed.
    fn with_root() -> Self {
        let bench = Self::new();
        bench.run(&format!("draft --repository repository {ROOTS} {OTHERS} draft.json"));
        bench.run("sign draft.json a");
        bench.run("sign draft.json c");
        bench.run("adopt draft.json --repository repository");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn try_run(&self, arguments: &str) -> Result<String, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_frontdesk-release"))
            .current_dir(self.directory.path())
            .args(arguments.split_whitespace())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn run(&self, arguments: &str) -> String {
        self.try_run(arguments).unwrap_or_else(|error| panic!("{arguments}: {error}"))
    }

    fn refuse(&self, arguments: &str, words: &str) {
        let error = self.try_run(arguments).unwrap_err();
        assert!(error.contains(words), "{arguments}: {error}");
    }

    fn check(&self) -> String {
        self.run("check --repository repository --root repository/metadata/1.root.json")
    }
}

const ROOTS: &str = "--root a.pub --root b.pub --root c.pub";
const OTHERS: &str = "--targets targets.pub --snapshot snapshot.pub --timestamp timestamp.pub";
const KEYS: &str = "--repository repository --key targets --key snapshot --key timestamp";
const ADD: &str = "add --release 1.2.3 --board x86_64 --store-format 3 --program program";

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_release_is_added_waved_withdrawn_and_renewed() {
    let bench = Bench::with_root();
    bench.run(&format!("{ADD} {KEYS}"));
    bench.run(&format!(
        "add --release 1.2.3 --board arm64 --store-format 3 --kernel kernel --root root.erofs --minimum 1.0.0 {KEYS}"
    ));
    assert!(bench.check().contains("3 files"));
    assert_eq!(names(&bench.path("repository/targets")).len(), 3);
    bench.run(&format!("waves --release 1.2.3 --wave 10@2026-12-01T06:00:00Z {KEYS}"));
    let targets = fs::read_to_string(bench.path("repository/metadata/3.targets.json")).unwrap();
    assert_eq!(targets.matches("\"percent\":10").count(), 3, "{targets}");
    bench.run(&format!("renew {KEYS}"));
    assert!(bench.check().contains("3 files"));
    bench.run(&format!("withdraw --release 1.2.3 {KEYS}"));
    assert!(bench.check().contains("0 files"));
    assert_eq!(names(&bench.path("repository/targets")), [""; 0]);
}

#[test]
fn a_root_needs_its_threshold() {
    let bench = Bench::new();
    bench.run(&format!("draft --repository repository {ROOTS} {OTHERS} draft.json"));
    bench.refuse("adopt draft.json --repository repository", "not enough");
    bench.run("sign draft.json a");
    // Twice by one is one.
    bench.run("sign draft.json a");
    bench.refuse("adopt draft.json --repository repository", "not enough");
    // Somebody else's key is none of it.
    bench.run("sign draft.json targets");
    bench.refuse("adopt draft.json --repository repository", "not enough");
    bench.run("sign draft.json b");
    bench.run("adopt draft.json --repository repository");
    bench.refuse("adopt draft.json --repository repository", "2 comes next");
}

#[test]
fn keys_are_rotated_and_devices_with_the_first_root_follow() {
    let bench = Bench::with_root();
    bench.run(&format!("{ADD} {KEYS}"));
    for name in ["d", "timestamp2"] {
        bench.run(&format!("key {name}"));
    }
    // `a` is lost, and the key of the timestamp was stolen.
    bench.run(
        "draft --repository repository --root b.pub --root c.pub --root d.pub --targets targets.pub \
         --snapshot snapshot.pub --timestamp timestamp2.pub draft.json",
    );
    bench.run("sign draft.json d");
    bench.run("sign draft.json b");
    bench.refuse("adopt draft.json --repository repository", "version before");
    bench.run("sign draft.json c");
    bench.run("adopt draft.json --repository repository");
    bench.refuse("check --repository repository --root repository/metadata/1.root.json", "refuse");
    bench.refuse(&format!("renew {KEYS}"), "more keys");
    bench.run("renew --repository repository --key targets --key snapshot --key timestamp2");
    assert!(bench.check().contains("1 files"));
}

#[test]
fn what_cannot_be_signed_or_was_changed_is_not_published() {
    let bench = Bench::with_root();
    bench.refuse(&format!("{ADD} --repository repository --key targets --key snapshot"), "more keys");
    bench.run(&format!("{ADD} {KEYS}"));
    fs::write(bench.path("program"), "another program").unwrap();
    bench.refuse(&format!("{ADD} {KEYS}"), "take a new version");
    bench.refuse(&format!("waves --release 9.9.9 {KEYS}"), "no release");
    let timestamp = bench.path("repository/metadata/timestamp.json");
    let changed = fs::read_to_string(&timestamp).unwrap().replace("\"version\":1", "\"version\":7");
    fs::write(&timestamp, changed).unwrap();
    bench.refuse(&format!("renew {KEYS}"), "somebody changed it");
}

#[test]
fn a_file_that_was_exchanged_is_noticed() {
    let bench = Bench::with_root();
    bench.run(&format!("{ADD} {KEYS}"));
    let name = names(&bench.path("repository/targets")).remove(0);
    fs::write(bench.path("repository/targets").join(name), "b program").unwrap();
    bench.refuse("check --repository repository --root repository/metadata/1.root.json", "not the file");
}

#[test]
fn a_key_is_made_once_and_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    assert_eq!(fs::metadata(bench.path("a")).unwrap().permissions().mode() & 0o777, 0o600);
    bench.refuse("key a", "cannot make");
    assert!(!fs::read_to_string(bench.path("a.pub")).unwrap().contains("PRIVATE"));
}

#[test]
fn arguments_that_mean_nothing_are_refused() {
    let bench = Bench::with_root();
    bench.refuse(&format!("add --release 1.2 --board x86_64 --store-format 3 --program program {KEYS}"), "1.2.3");
    bench.refuse(&format!("add --release 1.2.3 --board mips --store-format 3 --program program {KEYS}"), "arm64");
    bench.refuse(&format!("add --release 1.2.3 --board arm64 --store-format 3 {KEYS}"), "name what belongs");
    bench.refuse(&format!("add --release 1.2.3 --board arm64 --store-format 3 --kernel kernel {KEYS}"), "--root");
    bench.refuse(&format!("{ADD} {KEYS} --wave 101@2026-12-01T06:00:00Z"), "10@");
}
