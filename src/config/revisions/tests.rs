use super::*;
use crate::document::NoVariables;

/// Numbers and names, the oldest first: `1.toml 2.bad.yml`.
fn names(home: &Path) -> String {
    let list = Revisions::of(home).list().unwrap();
    let name = |revision: &Revision| {
        let name = Revision::name(revision.number, revision.is_good, revision.syntax);
        name.trim_start_matches('0').to_owned()
    };
    list.iter().map(name).collect::<Vec<_>>().join(" ")
}

/// Reads what is there and keeps it, as a start or a reload does.
fn used(home: &Path) {
    keep_used(home).unwrap();
}

fn keep_used(home: &Path) -> Result<(), RevisionError> {
    let loaded = super::super::load(home, &NoVariables).unwrap();
    Revisions::of(home).keep_used(&loaded.file.unwrap(), &loaded.text.unwrap())
}

fn write(home: &Path, name: &str, text: &str) {
    fs::write(home.join(name), text).unwrap();
}

/// A home whose `config.toml` had these texts one after the other, all used.
fn home(texts: &[&str]) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for text in texts {
        write(home.path(), "config.toml", text);
        used(home.path());
    }
    home
}

/// Name and text of each configuration that the home has.
fn configs(home: &Path) -> Vec<(&'static str, String)> {
    let present = file::present(home).unwrap();
    present.into_iter().map(|name| (name, fs::read_to_string(home.join(name)).unwrap())).collect()
}

fn undo(home: &Path, number: Option<u32>) {
    Candidate::revision(home, number).unwrap().put(home).unwrap();
}

const A: &str = "[gateway]\nport = 1\n";
const B: &str = "[gateway]\nport = 2\n";
const BAD: &str = "[gateway\n";

#[test]
fn a_text_is_kept_when_it_was_used_and_differs_from_the_newest() {
    let home = home(&[A, A, B, A]);
    assert_eq!(names(home.path()), "1.toml 2.toml 3.toml");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let directory = home.path().join("revisions");
    assert_eq!((mode(&directory), mode(&directory.join("0001.toml"))), (0o700, 0o600));
    assert_eq!(fs::read_to_string(directory.join("0002.toml")).unwrap(), B);
}

#[test]
fn ten_are_kept_and_the_last_good_one_always() {
    let texts: Vec<String> = (1..=12).map(|port| format!("[gateway]\nport = {port}\n")).collect();
    let home = home(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(names(home.path()).starts_with("3.toml ") && names(home.path()).ends_with(" 12.toml"));
    let revisions = Revisions::of(home.path());
    (0..12).for_each(|n| revisions.keep(format!("bad {n}").as_bytes(), Syntax::Toml, false).unwrap());
    let list = revisions.list().unwrap();
    assert_eq!((list.len(), list[0].number, list[0].is_good), (10, 12, true));
}

#[test]
fn undo_goes_back_to_the_last_good_one_that_differs_and_can_be_undone() {
    let home = home(&[A, B]);
    undo(home.path(), None);
    assert_eq!(configs(home.path()), [("config.toml", A.to_owned())]);
    used(home.path());
    undo(home.path(), None);
    assert_eq!(configs(home.path()), [("config.toml", B.to_owned())]);
    undo(home.path(), Some(1));
    assert_eq!(configs(home.path()), [("config.toml", A.to_owned())]);
}

#[test]
fn going_back_and_forth_pushes_nothing_out() {
    let texts: Vec<String> = (1..=4).map(|port| format!("[gateway]\nport = {port}\n")).collect();
    let home = home(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    for _ in 0..12 {
        undo(home.path(), None);
        let located = file::locate(home.path()).unwrap().unwrap();
        Revisions::of(home.path()).keep_used(&located.path, &Secret::new(located.read().unwrap())).unwrap();
    }
    let kept = Revisions::of(home.path()).list().unwrap();
    assert_eq!(kept.len(), MAX_REVISIONS);
    let kept: std::collections::BTreeSet<_> = kept.iter().map(|revision| revision.content().unwrap()).collect();
    assert_eq!(kept.len(), texts.len());
}

#[test]
fn what_undo_replaces_is_kept_also_when_it_is_broken() {
    let home = home(&[A]);
    write(home.path(), "config.toml", BAD);
    undo(home.path(), None);
    assert_eq!(configs(home.path()), [("config.toml", A.to_owned())]);
    assert_eq!(names(home.path()), "1.toml 2.bad.toml");
    undo(home.path(), Some(2));
    assert_eq!(configs(home.path()), [("config.toml", BAD.to_owned())]);
    assert_eq!(names(home.path()), "1.toml 2.bad.toml 3.toml", "the text was good before");
    // Mended elsewhere, and now used.
    Revisions::of(home.path()).keep(BAD.as_bytes(), Syntax::Toml, false).unwrap();
    Revisions::of(home.path()).keep(BAD.as_bytes(), Syntax::Toml, true).unwrap();
    assert_eq!(names(home.path()), "1.toml 2.bad.toml 3.toml 4.toml");
}

#[test]
fn there_may_be_nothing_to_go_back_to() {
    let check = |home: &tempfile::TempDir, number, expected: &str| {
        let error = Candidate::revision(home.path(), number).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    check(&home(&[]), None, "there is no other good revision");
    check(&home(&[A]), None, "there is no other good revision");
    check(&home(&[A]), Some(7), "there is no revision 7");
}

#[test]
fn a_revision_in_the_other_syntax_takes_the_place_of_the_file() {
    let home = home(&[A]);
    fs::remove_file(home.path().join("config.toml")).unwrap();
    write(home.path(), "config.yaml", "gateway:\n  port: 2\n");
    used(home.path());
    undo(home.path(), Some(1));
    assert_eq!(configs(home.path()), [("config.toml", A.to_owned())]);
    undo(home.path(), Some(2));
    assert_eq!(configs(home.path()), [("config.yml", "gateway:\n  port: 2\n".to_owned())]);
    assert!(!home.path().join("revisions").join(REPLACED).exists());
}

#[test]
fn two_configurations_become_one() {
    let home = home(&[A]);
    write(home.path(), "config.yml", "gateway: {}\n");
    undo(home.path(), None);
    assert_eq!(configs(home.path()), [("config.toml", A.to_owned())]);
    assert_eq!(names(home.path()), "1.toml 2.bad.yml");
}

/// The steps of a change of the syntax, with the power cut after each.
#[test]
fn no_power_cut_leaves_two_configurations_or_none() {
    let located = |home: &Path| file::locate(home).unwrap().unwrap().path.file_name().unwrap().to_owned();
    let home = home(&[A]);
    let mark = home.path().join("revisions").join(REPLACED);
    fs::write(&mark, "config.toml").unwrap();
    assert_eq!(located(home.path()), "config.toml", "it counts while it is alone");
    write(home.path(), "config.yml", "gateway: {}\n");
    assert_eq!(located(home.path()), "config.yml");
    Revisions::of(home.path()).finish_replacing().unwrap();
    assert_eq!(configs(home.path()), [("config.yml", "gateway: {}\n".to_owned())]);
    assert!(!mark.exists());

    fs::write(&mark, "config.yml").unwrap();
    Revisions::of(home.path()).finish_replacing().unwrap();
    assert_eq!(configs(home.path()).len(), 1, "the order came to nothing");
    fs::write(&mark, "config.yml").unwrap();
    fs::remove_file(home.path().join("config.yml")).unwrap();
    write(home.path(), "config.toml", A);
    Revisions::of(home.path()).finish_replacing().unwrap();
    assert_eq!(configs(home.path()).len(), 1);
}

#[test]
fn a_file_that_is_a_link_stays_one_and_keeps_its_mode() {
    let home = home(&[A]);
    let target = home.path().join("elsewhere.toml");
    fs::write(&target, B).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    fs::remove_file(home.path().join("config.toml")).unwrap();
    std::os::unix::fs::symlink("elsewhere.toml", home.path().join("config.toml")).unwrap();
    undo(home.path(), None);
    assert_eq!(fs::read_to_string(&target).unwrap(), A);
    assert!(fs::symlink_metadata(home.path().join("config.toml")).unwrap().is_symlink());
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn what_cannot_be_kept_is_not_replaced() {
    let home = home(&[A]);
    fs::remove_file(home.path().join("config.toml")).unwrap();
    fs::create_dir(home.path().join("config.toml")).unwrap();
    assert!(Candidate::revision(home.path(), None).unwrap().put(home.path()).is_err());
    assert!(home.path().join("config.toml").is_dir());
    // A directory that is none: as good as a full disk, also for root.
    let other = tempfile::tempdir().unwrap();
    write(other.path(), "config.toml", A);
    fs::write(other.path().join("revisions"), "").unwrap();
    assert!(keep_used(other.path()).is_err());
}

#[test]
fn safe_mode_listens_where_the_last_good_revision_says() {
    let home = home(&["[gateway]\nport = 4711\n"]);
    write(home.path(), "config.toml", BAD);
    assert_eq!(super::super::salvage(home.path(), &NoVariables).gateway.port, 4711);
    write(home.path(), "config.toml", "[gateway]\nport = 4712\n[nonsense]\n");
    assert_eq!(super::super::salvage(home.path(), &NoVariables).gateway.port, 4712, "it says so itself");
}
