//! What the code may not do, checked over its own text.

use std::collections::BTreeSet;
use std::fs;

use crate::source::{Source, Token, project, without_tests};

/// The modules from the ground up, each with those that it uses. An arrow points to a module that stands
/// further up in this list, so no two modules use each other. A new arrow is one word here and a page in `docs/adr/`.
const MODULES: &[(&str, &[&str])] = &[
    ("id", &[]),
    ("clock", &[]),
    ("browser", &[]),
    ("document", &[]),
    // One for the process: its last lines, and what none of them may show.
    ("log", &["clock", "document"]),
    // Names in the local network; what is announced is the gateway's.
    ("mdns", &[]),
    // Certificates and handshakes; what listens is the gateway's.
    ("tls", &["clock", "document"]),
    // What systemd is told and hands over; what there is to say, it is told.
    ("service", &[]),
    // What is looked at before an update is kept; what the gateway is asked, it answers.
    ("health", &["document"]),
    // What a person says to an appliance before its first start, and how everything is taken back.
    ("first_boot", &["document"]),
    ("factory_reset", &["document"]),
    ("message", &["clock", "id"]),
    // Spans of turns; its config is read, and it is told.
    ("telemetry", &["clock", "document"]),
    // Figures of use, which the store keeps and providers price.
    ("usage", &["clock"]),
    ("store", &["clock", "id", "message", "usage"]),
    // Knows rows, not what they mean: a store gives them, a store takes them.
    ("backup", &["clock", "document", "id", "store"]),
    // Who may do what; knows of tenants that they have ids.
    ("account", &["clock", "document", "id"]),
    ("provider", &["document", "usage"]),
    ("channel", &["browser", "clock", "document", "id", "message"]),
    ("session", &["document", "id", "message"]),
    ("identity", &["document", "id", "message", "session"]),
    ("route", &["id", "session"]),
    ("agent", &["document", "id", "message", "provider"]),
    // What is known of a business, and when it is open.
    ("business", &["browser", "clock", "document"]),
    // Tells somebody what is wrong; what is, it is told itself. Signs as the channel for programs does.
    ("alert", &["browser", "channel", "clock", "document"]),
    // The HTTP API is a door like a channel: it knows the shape of a model's answer, and nothing of the gateway.
    ("api", &["clock", "id", "provider"]),
    // What runs and what is put in place; knows no gateway.
    ("update", &["clock", "document"]),
    // Assembles the sections that the components own. Of `api` it knows the one entry id that is taken.
    (
        "config",
        &[
            "agent",
            "alert",
            "backup",
            "business",
            "channel",
            "clock",
            "document",
            "id",
            "identity",
            "provider",
            "route",
            "session",
            "telemetry",
            "tls",
            "update",
        ],
    ),
    (
        "gateway",
        &[
            "account",
            "agent",
            "alert",
            "api",
            "backup",
            "browser",
            "business",
            "channel",
            "clock",
            "config",
            "document",
            "factory_reset",
            "first_boot",
            "health",
            "id",
            "identity",
            "log",
            "mdns",
            "message",
            "provider",
            "route",
            "session",
            "store",
            "telemetry",
            "tls",
            "usage",
        ],
    ),
    // Looks at what everything else has; nothing asks it but the doors of the operator.
    (
        "doctor",
        &[
            "alert", "browser", "business", "clock", "config", "document", "gateway", "id", "identity", "mdns",
            "message", "session", "tls", "update",
        ],
    ),
    (
        "admin",
        &[
            "account", "agent", "alert", "backup", "browser", "business", "channel", "clock", "config", "doctor",
            "document", "gateway", "id", "log", "message", "provider", "session", "store", "tls", "update", "usage",
        ],
    ),
    // What people see; what they may see and do is `admin`'s.
    (
        "page",
        &[
            "account", "admin", "backup", "browser", "business", "channel", "clock", "config", "doctor", "document",
            "gateway", "id", "log", "message", "store", "update", "usage",
        ],
    ),
    // Reads what another gateway kept; its tests load what it writes.
    ("import", &["channel", "clock", "config", "document", "id", "message", "route", "session"]),
    (
        "cli",
        &[
            "account",
            "admin",
            "backup",
            "channel",
            "clock",
            "config",
            "doctor",
            "document",
            "factory_reset",
            "first_boot",
            "gateway",
            "health",
            "id",
            "import",
            "log",
            "message",
            "page",
            "service",
            "session",
            "store",
            "update",
        ],
    ),
    // Anybody's tests may use it; the compiler keeps it out of everything else.
    ("testing", &["clock", "id", "message"]),
];

/// Where the name of a channel may stand outside its folder and the registry, and why.
const CHANNEL_NAMES: &[(&str, &str, &str)] = &[
    ("src/admin/arrange.rs", "webchat", "the channel that a new tenant has at once: nobody else need agree to it"),
    ("src/alert/book.rs", "webhook", "the common noun: a way to tell somebody"),
    ("src/alert/config.rs", "webhook", "the same, in keys"),
    ("src/alert/send.rs", "webhook", "the same"),
    ("src/admin/alerts.rs", "webhook", "the same"),
    ("src/cli/alerts.rs", "webhook", "the same"),
    ("src/gateway/alerts.rs", "webhook", "the same"),
    ("src/channel/mod.rs", "webhook", "the common noun, in the answer of a channel that has no push side"),
    ("src/channel/slack/mod.rs", "webhook", "the same"),
    ("src/config/entry.rs", "webchat", "the entry of a gateway without a configuration"),
    ("src/gateway/explain.rs", "slack", "an address in an error, and a type"),
    ("src/import/key.rs", "webhook", "the common noun"),
    ("src/import/place.rs", "slack", "how OpenClaw writes its ids, and which of them it leaves out"),
    ("src/import/place.rs", "webchat", "where OpenClaw's main session is held when nothing says it"),
    ("src/import/settings/routes.rs", "slack", "its addresses have a server in them"),
    ("src/page/explain.rs", "webchat", "an address in a hint"),
    ("src/page/workers.rs", "webchat", "a pattern in a hint"),
    ("src/route/mod.rs", "slack", "a route in a help text"),
    ("src/session/encode.rs", "slack", "the shape of its user ids, which tells a direct chat from a group"),
    ("src/session/config.rs", "slack", "an id in a help text"),
];

/// One module names something in another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: Vec<String>,
    to: Vec<String>,
    place: String,
}

fn arrows(source: &Source) -> Vec<Arrow> {
    let mut paths = Vec::new();
    collect(&source.tokens, &source.module(), &mut paths);
    let arrow = |(to, line)| Arrow { from: source.module(), to, place: format!("{}:{line}", source.path.display()) };
    paths.into_iter().map(arrow).collect()
}

/// All paths that begin with `crate`, `super` or `self`, written from the root of the crate.
fn collect(tokens: &[Token], module: &[String], paths: &mut Vec<(Vec<String>, usize)>) {
    let mut rest = tokens;
    let mut n_colons = 0;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        // `x: crate::A` begins a path, the `super` in `super::super::A` does not.
        let is_inside_path = n_colons == 2;
        n_colons = if first.is_sign(':') { n_colons + 1 } else { 0 };
        match (first, after) {
            (word, [Token::Word(name, _), Token::Group('{', inside), after @ ..]) if word.is_word("mod") => {
                collect(inside, &[module, std::slice::from_ref(name)].concat(), paths);
                rest = after;
            }
            (Token::Word(root, line), [colon, again, ..])
                if !is_inside_path && colon.is_sign(':') && again.is_sign(':') =>
            {
                let base = match root.as_str() {
                    "crate" => Some(Vec::new()),
                    "self" => Some(module.to_vec()),
                    "super" => Some(parent(module)),
                    _ => None,
                };
                if let Some(base) = base {
                    follow(after, base, *line, paths);
                }
            }
            (Token::Group(_, inside), _) => collect(inside, module, paths),
            _ => {}
        }
    }
}

/// Goes on from `base` along `::name` and `::{…}`.
fn follow(tokens: &[Token], mut base: Vec<String>, line: usize, paths: &mut Vec<(Vec<String>, usize)>) {
    let mut rest = tokens;
    while let [colon, again, step, after @ ..] = rest {
        if !(colon.is_sign(':') && again.is_sign(':')) {
            break;
        }
        match step {
            Token::Word(name, _) if name == "super" => base = parent(&base),
            Token::Word(name, _) => base.push(name.clone()),
            Token::Group('{', inside) => {
                for branch in inside.split(|token| token.is_sign(',')).filter(|branch| !branch.is_empty()) {
                    let start = Token::Sign(':');
                    follow(&[&[start.clone(), start][..], branch].concat(), base.clone(), line, paths);
                }
                return;
            }
            Token::Sign(_) | Token::Literal(..) | Token::Group(..) => break,
        }
        rest = after;
    }
    paths.push((base, line));
}

fn parent(module: &[String]) -> Vec<String> {
    module.split_last().map(|(_, above)| above.to_vec()).unwrap_or_default()
}

/// Arrows that the table does not allow, and those that stand in it for nothing.
fn check_arrows(sources: &[Source]) -> Vec<String> {
    let mut used = BTreeSet::new();
    let mut problems = Vec::new();
    for arrow in sources.iter().flat_map(arrows) {
        let (Some(from), Some(to)) = (arrow.from.first(), arrow.to.first()) else { continue };
        if from == to || to == "testing" {
            continue;
        }
        match MODULES.iter().find(|(module, _)| module == from) {
            Some((_, allowed)) if allowed.contains(&to.as_str()) => {
                used.insert((from.clone(), to.clone()));
            }
            Some(_) => problems.push(format!("{}: {from} may not use {to}", arrow.place)),
            None => problems.push(format!("{}: {from} is not in the table", arrow.place)),
        }
    }
    for (from, allowed) in MODULES {
        let unused = allowed.iter().filter(|to| !used.contains(&((*from).to_owned(), (**to).to_owned())));
        problems.extend(unused.map(|to| format!("{from} does not use {to} any more: take the arrow out of the table")));
    }
    problems
}

/// Folders inside `layer` that name one another.
fn check_siblings(sources: &[Source], layer: &str) -> Vec<String> {
    let folders = folders(layer);
    let is_crossing = |arrow: &Arrow| match (arrow.from.as_slice(), arrow.to.as_slice()) {
        ([from, own, ..], [to, other, ..]) => {
            from == layer && to == layer && own != other && folders.contains(own) && folders.contains(other)
        }
        _ => false,
    };
    let crossing = sources.iter().flat_map(arrows).filter(is_crossing);
    crossing.map(|arrow| format!("{}: {} is a sibling", arrow.place, arrow.to.join("::"))).collect()
}

fn folders(layer: &str) -> Vec<String> {
    let entries = fs::read_dir(project().join("src").join(layer)).unwrap().map(|entry| entry.unwrap().path());
    let folders = entries.filter(|path| path.is_dir());
    folders.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Channel names in the product code of `source`, with their lines.
fn channel_names(source: &Source, names: &[String]) -> Vec<(String, usize)> {
    fn walk(tokens: &[Token], names: &[String], found: &mut Vec<(String, usize)>) {
        for (n, token) in tokens.iter().enumerate() {
            match token {
                // `mod slack;` is how a folder is there at all.
                Token::Word(..) if n > 0 && tokens[n - 1].is_word("mod") => {}
                Token::Word(text, line) | Token::Literal(text, line) => {
                    let text = text.to_lowercase();
                    let named = names.iter().filter(|name| text.contains(name.as_str()));
                    found.extend(named.map(|name| (name.clone(), *line)));
                }
                Token::Group(_, inside) => walk(inside, names, found),
                Token::Sign(_) => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(&without_tests(&source.tokens), names, &mut found);
    found
}

fn all_tokens(tokens: &[Token], visit: &mut dyn FnMut(&[Token])) {
    visit(tokens);
    for token in tokens {
        if let Token::Group(_, inside) = token {
            all_tokens(inside, visit);
        }
    }
}

fn has_word(source: &Source, word: &str) -> bool {
    let mut is_found = false;
    all_tokens(&source.tokens, &mut |tokens| is_found |= tokens.iter().any(|token| token.is_word(word)));
    is_found
}

fn has_attribute(source: &Source, name: &str) -> bool {
    let is_it = |token: &Token| token.group('[').and_then(<[Token]>::first).is_some_and(|first| first.is_word(name));
    let mut is_found = false;
    all_tokens(&source.tokens, &mut |tokens| {
        is_found |= tokens.windows(2).any(|pair| pair[0].is_sign('#') && is_it(&pair[1]));
    });
    is_found
}

fn calls_macro(source: &Source, name: &str) -> bool {
    let mut is_found = false;
    all_tokens(&source.tokens, &mut |tokens| {
        is_found |= tokens.windows(2).any(|pair| pair[0].is_word(name) && pair[1].is_sign('!'));
    });
    is_found
}

/// Files, by path, for which `is_bad` holds.
fn those(sources: &[Source], is_bad: impl Fn(&Source) -> bool) -> Vec<String> {
    sources.iter().filter(|source| is_bad(source)).map(|source| source.path.display().to_string()).collect()
}

const NOTHING: [String; 0] = [];

#[test]
fn modules_use_only_what_lies_below_them() {
    for (n, (module, allowed)) in MODULES.iter().enumerate() {
        let above: Vec<&str> = MODULES[..n].iter().map(|(module, _)| *module).collect();
        assert!(allowed.iter().all(|to| above.contains(to)), "an arrow of {module} points down the table");
    }
    assert_eq!(check_arrows(&Source::all("src")), NOTHING);
}

#[test]
fn every_module_of_the_crate_is_in_the_table() {
    let lib = Source::parse("src/lib.rs", &fs::read_to_string(project().join("src/lib.rs")).unwrap());
    let names = lib.tokens.windows(2).filter(|pair| pair[0].is_word("mod")).filter_map(|pair| match &pair[1] {
        Token::Word(name, _) => Some(name.as_str()),
        _ => None,
    });
    let table: BTreeSet<&str> = MODULES.iter().map(|(module, _)| *module).collect();
    assert_eq!(names.collect::<BTreeSet<_>>(), table);
}

#[test]
fn siblings_do_not_know_each_other() {
    let sources = Source::all("src");
    assert_eq!(check_siblings(&sources, "channel"), NOTHING);
    assert_eq!(check_siblings(&sources, "provider"), NOTHING);
}

#[test]
fn the_name_of_a_channel_stands_in_its_folder_and_in_the_registry() {
    let names = folders("channel");
    let is_exempt = |path: &str| {
        path == "src/channel/registry.rs"
            || path.starts_with("src/testing/")
            || path.ends_with("/tests.rs")
            || path.contains("/tests/")
    };
    let mut found = BTreeSet::new();
    for source in Source::all("src") {
        let path = source.path.to_str().unwrap();
        for (name, line) in channel_names(&source, &names) {
            if !is_exempt(path) && !path.starts_with(&format!("src/channel/{name}/")) {
                let is_known = CHANNEL_NAMES.iter().any(|(file, word, _)| *file == path && *word == name);
                assert!(is_known, "{path}:{line} names the channel {name}");
                found.insert((path.to_owned(), name));
            }
        }
    }
    for (path, name, _) in CHANNEL_NAMES {
        assert!(found.contains(&((*path).to_owned(), (*name).to_owned())), "{path} does not name {name} any more");
    }
}

#[test]
fn nothing_is_unsafe_skipped_or_expected_to_panic() {
    let sources: Vec<Source> = ["src", "tests", "benches"].iter().flat_map(|folder| Source::all(folder)).collect();
    assert_eq!(those(&sources, |source| has_word(source, "unsafe")), NOTHING);
    assert_eq!(those(&sources, |source| has_attribute(source, "ignore")), NOTHING);
    assert_eq!(those(&sources, |source| has_attribute(source, "should_panic")), NOTHING);
}

#[test]
fn only_one_file_prints() {
    let sources = Source::all("src");
    let elsewhere = |source: &Source| source.path.to_str() != Some("src/cli/output.rs");
    for name in ["print", "println", "eprint", "eprintln", "dbg"] {
        assert_eq!(those(&sources, |source| elsewhere(source) && calls_macro(source, name)), NOTHING);
    }
}

#[test]
fn every_folder_says_what_it_is() {
    let sources = Source::all("src");
    let is_head = |source: &Source| source.path.ends_with("mod.rs") || source.module().len() <= 1;
    assert_eq!(those(&sources, |source| is_head(source) && !source.text.starts_with("//! ")), NOTHING);
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = fs::read_to_string(project().join("Cargo.toml")).unwrap();
    let mut is_list = false;
    let mut n_dependencies = 0;
    for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with('[') {
            is_list = line.ends_with("dependencies]");
        } else if is_list && !line.starts_with('#') {
            let reason = line.rsplit_once('#').map(|(_, reason)| reason.trim());
            assert!(reason.is_some_and(|reason| !reason.is_empty()), "no reason: {line}");
            n_dependencies += 1;
        }
    }
    assert!(n_dependencies > 20, "only {n_dependencies} were found");
}

/// The targets of the arrows in a file with this text.
fn check_found(path: &str, text: &str, expected: &[&str]) {
    let found = arrows(&Source::parse(path, text));
    let found: Vec<String> = found.iter().map(|arrow| arrow.to.join("::")).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn an_arrow_is_found_in_every_form() {
    check_found("src/channel/a/mod.rs", "use crate::store::Store;", &["store::Store"]);
    check_found(
        "src/channel/a/mod.rs",
        "use crate::{id::EntryId, store::{self, Store}};",
        &["id::EntryId", "store::self", "store::Store"],
    );
    check_found("src/channel/a/wire.rs", "use super::super::super::store;", &["store"]);
    check_found(
        "src/channel/a/mod.rs",
        "fn f(x: crate::store::Store, y: (crate::clock::Clock)) {}",
        &["store::Store", "clock::Clock"],
    );
    check_found("src/channel/a/mod.rs", "fn f() { let x = crate::store::open(); }", &["store::open"]);
    check_found("src/channel/a/mod.rs", "fn f() { assert!(crate::store::is_open()); }", &["store::is_open"]);
    check_found("src/clock.rs", "mod tests { use super::super::store::Store; }", &["store::Store"]);
    check_found("src/channel/a/mod.rs", "/// See [`crate::store`].\nuse super::Event;", &["channel::Event"]);
    check_found("src/channel/a/mod.rs", "const WORDS: &str = \"crate::store\";", &[]);
}

#[test]
fn a_forbidden_arrow_is_a_problem() {
    let source = |text| [Source::parse("src/channel/a/mod.rs", text)];
    let forbidden = check_arrows(&source("\nuse crate::store::Store;"));
    assert!(forbidden.contains(&"src/channel/a/mod.rs:2: channel may not use store".to_owned()), "{forbidden:?}");
    let sibling =
        check_siblings(&[Source::parse("src/channel/slack/api.rs", "use super::super::webhook::X;")], "channel");
    assert_eq!(sibling, ["src/channel/slack/api.rs:1: channel::webhook::X is a sibling"]);
}

#[test]
fn a_name_is_found_in_code_and_not_in_words_about_it() {
    let check = |text: &str, expected: usize| {
        let found = channel_names(&Source::parse("src/a.rs", text), &["slack".to_owned()]);
        assert_eq!(found.len(), expected, "{text}");
    };
    check("fn is_slack() {}", 1);
    check("const NAME: &str = \"Slack\";", 1);
    check("enum Kind { Slack }", 1);
    check("mod slack;", 0);
    check("/// For Slack.\nfn f() {}", 0);
    check("#[cfg(test)]\nmod tests { const NAME: &str = \"slack\"; }", 0);
}

#[test]
fn what_is_forbidden_is_found() {
    let source = |text| Source::parse("src/a.rs", text);
    assert!(has_word(&source("fn f() { unsafe { g() } }"), "unsafe"));
    assert!(has_attribute(&source("mod tests { #[test] #[ignore = \"slow\"] fn f() {} }"), "ignore"));
    assert!(!has_attribute(&source("fn ignore() { let x = [ignore]; }"), "ignore"));
    assert!(calls_macro(&source("fn f() { g(|| println!(\"x\")); }"), "println"));
    assert!(!calls_macro(&source("fn f() { writeln!(out, \"println!\"); }"), "println"));
}
