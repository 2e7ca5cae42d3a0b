use crate::document::{Document, Section, Severity, Variables};

struct Known;

impl Variables for Known {
    fn get(&self, name: &str) -> Option<String> {
        match name {
            "TOKEN" => Some("hunter2-hunter2".into()),
            "PORT" => Some("8080".into()),
            "ON" => Some("true".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }
}

fn problems_of(document: &Document, read: impl Fn(&mut Section<'_>) -> String) -> (String, Vec<String>) {
    let mut section = document.root(&Known);
    let answer = read(&mut section);
    section.finish();
    (answer, document.problems().iter().map(ToString::to_string).collect())
}

/// Reads both texts, which say the same; `answer` is what `read` makes of each.
fn check(toml: &str, yaml: &str, read: impl Fn(&mut Section<'_>) -> String, answer: &str) {
    for document in [Document::parse_toml("t", toml).unwrap(), Document::parse_yaml("y", yaml).unwrap()] {
        assert_eq!(problems_of(&document, &read), (answer.to_owned(), vec![]), "{toml:?} {yaml:?}");
    }
}

/// Reads a YAML text and expects these problems, and that nothing else comes of it.
fn check_refused(yaml: &str, read: impl Fn(&mut Section<'_>), problems: &[&str]) {
    let document = Document::parse_yaml("y", yaml).unwrap();
    let (_, found) = problems_of(&document, |section| {
        read(section);
        String::new()
    });
    assert_eq!(found, problems, "{yaml}");
}

fn check_refused_toml(toml: &str, read: impl Fn(&mut Section<'_>), problems: &[&str]) {
    let document = Document::parse_toml("t", toml).unwrap();
    let (_, found) = problems_of(&document, |section| {
        read(section);
        String::new()
    });
    assert_eq!(found, problems, "{toml}");
}

const SCOPES: &[(&str, u8)] = &[("main", 0), ("per-channel-peer", 1), ("per-peer", 2)];

fn take_scope(section: &mut Section<'_>) {
    assert_eq!(section.take_choice("dm_scope", SCOPES), None);
}

#[test]
fn every_kind_of_value_is_read_from_both_syntaxes() {
    let text = |s: &mut Section<'_>| format!("{:?}", s.take_string("a_key"));
    check("a_key = \"x\"", "a_key: x", text, "Some(\"x\")");
    check("aKey = \"42\"", "aKey: \"42\"", text, "Some(\"42\")");
    check("aKey = \"${PORT}-$${PORT}\"", "aKey: ${PORT}-$${PORT}", text, "Some(\"8080-${PORT}\")");
    check("", "", text, "None");

    let secret = |s: &mut Section<'_>| s.take_secret("a").map_or_else(String::new, |secret| secret.expose().to_owned());
    check("a = \"${TOKEN}\"", "a: ${TOKEN}", secret, "hunter2-hunter2");

    let parsed = |s: &mut Section<'_>| format!("{:?}", s.take_parsed("a", str::parse::<u8>));
    check("a = \"42\"", "a: '42'", parsed, "Some(42)");

    let choice = |s: &mut Section<'_>| format!("{:?}", s.take_choice("dm_scope", SCOPES));
    check("dm_scope = \"per-peer\"", "dmScope: per-peer", choice, "Some(2)");

    let truth = |s: &mut Section<'_>| format!("{:?}", s.take_bool("a"));
    check("a = true", "a: true", truth, "Some(true)");
    check("a = \"${ON}\"", "a: ${ON}", truth, "Some(true)");

    let integer = |s: &mut Section<'_>| format!("{:?}", s.take_integer("a", 0..=9999));
    check("a = 0x10", "a: 0x10", integer, "Some(16)");
    check("a = \"${PORT}\"", "a: ${PORT}", integer, "Some(8080)");

    let number = |s: &mut Section<'_>| format!("{:?}", s.take_number("a", -1.0..=9999.0));
    check("a = 0.5", "a: 0.5", number, "Some(0.5)");
    check("a = 2", "a: 2", number, "Some(2.0)");
    check("a = \"${PORT}\"", "a: ${PORT}", number, "Some(8080.0)");
}

#[test]
fn lists_and_tables_are_read_from_both_syntaxes() {
    let texts = |s: &mut Section<'_>| format!("{:?}", s.take_strings("a"));
    check("a = [\"x\", \"${PORT}\"]", "a: [x, '${PORT}']", texts, r#"["x", "8080"]"#);
    check("a = []", "a:", texts, "[]");
    check("", "", texts, "[]");

    let parsed = |s: &mut Section<'_>| format!("{:?}", s.take_parsed_list("a", str::parse::<u8>));
    check("a = [\"1\", \"2\"]", "a:\n- '1'\n- '2'", parsed, "[1, 2]");

    let nested = |s: &mut Section<'_>| {
        let mut inner = s.take_section("inner").unwrap();
        format!("{} {:?}", inner.place("").path, inner.take_string("b"))
    };
    check("[inner]\nb = \"x\"", "inner:\n  b: x", nested, "inner Some(\"x\")");
    check("inner.b = \"x\"", "inner: {b: x}", nested, "inner Some(\"x\")");
    check("[inner]", "inner:", nested, "inner None");

    let many = |s: &mut Section<'_>| {
        let sections = s.take_sections("c").into_iter();
        sections.map(|mut c| format!("{} {:?};", c.place("").path, c.take_string("t"))).collect()
    };
    check("[[c]]\nt = \"x\"\n[[c]]", "c:\n- t: x\n- {}", many, "c[0] Some(\"x\");c[1] None;");
    check("c = [{t = \"x\"}]", "c: [{t: x}]", many, "c[0] Some(\"x\");");
    check("", "c:", many, "");

    let by_name = |s: &mut Section<'_>| format!("{:?}", s.take_lists_by_name("identity_links"));
    check(
        "[identity_links]\naB = [\"slack:U1\"]\na_b = []",
        "identityLinks:\n  aB: [slack:U1]\n  a_b: []",
        by_name,
        r#"[("aB", ["slack:U1"]), ("a_b", [])]"#,
    );
}

#[test]
fn a_wrong_word_names_the_right_ones_and_the_nearest() {
    let expected = "t:2:12: session.dm_scope: \"per-user\" is not one of main, per-channel-peer, per-peer; \
                    did you mean \"per-peer\"?";
    let read = |section: &mut Section<'_>| take_scope(&mut section.take_section("session").unwrap());
    check_refused_toml("[session]\ndm_scope = \"per-user\"", read, &[expected]);
    check_refused(
        "dmScope: nonsense",
        take_scope,
        &["y:1:10: dmScope: \"nonsense\" is not one of main, per-channel-peer, per-peer"],
    );
    check_refused(
        "dmScope: ${TOKEN}",
        take_scope,
        &["y:1:10: dmScope: \"${TOKEN}\" is not one of main, per-channel-peer, per-peer"],
    );
}

#[test]
fn a_key_that_nobody_took_names_the_nearest_that_somebody_did() {
    let read = |section: &mut Section<'_>| {
        section.take_string("dm_scope");
        section.take_string("ttl_days");
    };
    check_refused("dmScop: x", read, &["y:1:1: dmScop: unknown key; did you mean \"dmScope\"?"]);
    check_refused("dm-scope: x", read, &["y:1:1: dm-scope: unknown key; did you mean \"dm_scope\"?"]);
    check_refused("ttl_day: x", read, &["y:1:1: ttl_day: unknown key; did you mean \"ttl_days\"?"]);
    check_refused("\"a.b c\": x", read, &["y:1:1: \"a.b c\": unknown key; the keys here are dm_scope, ttl_days"]);
}

#[test]
fn a_file_of_something_else_does_not_bury_its_reader() {
    let text: String = (0..5000).map(|n| format!("k{n}: 1\n")).collect();
    let document = Document::parse_yaml("y", &text).unwrap();
    let (_, problems) = problems_of(&document, |section| format!("{:?}", section.take_string("name")));
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[100], "y:101:1: k100: unknown key, as are others below");
}

#[test]
fn a_dropped_section_is_finished_and_an_abandoned_one_is_silent() {
    let document = Document::parse_yaml("y", "a: {b: 1}\nc: {d: 1}").unwrap();
    let mut root = document.root(&Known);
    drop(root.take_section("a"));
    root.take_section("c").unwrap().abandon();
    root.finish();
    let paths: Vec<_> = document.problems().into_iter().map(|problem| problem.path).collect();
    assert_eq!(paths, ["a.b"]);
}

#[test]
fn a_key_in_both_spellings_is_given_twice() {
    let read = |section: &mut Section<'_>| assert_eq!(section.take_string("dm_scope").unwrap(), "x");
    let expected = "y:2:1: dm_scope: given twice; also as \"dmScope\" on line 1; remove one of them";
    check_refused("dmScope: x\ndm_scope: y", read, &[expected]);
}

#[test]
fn numbers_and_words_are_no_texts() {
    let text = |section: &mut Section<'_>| assert_eq!(section.take_string("a"), None);
    let shown = |found: &str, help: &str| format!("y:1:4: a: expected a text, found {found}; write {help}");
    check_refused("a: 42", text, &[&shown("a whole number", "\"42\"")]);
    check_refused("a: +15551234567", text, &[&shown("a whole number", "\"+15551234567\"")]);
    check_refused("a: 0042", text, &[&shown("a whole number", "\"0042\"")]);
    check_refused("a: 1.50", text, &[&shown("a decimal number", "\"1.50\"")]);
    check_refused("a: True", text, &[&shown("true or false", "\"true\"")]);
    check_refused("a: [x]", text, &["y:1:4: a: expected a text, found a list"]);
    check_refused("a: {x: 1}", text, &["y:1:4: a: expected a text, found a table"]);
    check_refused("a:", text, &["y:1:1: a: expected a text, found nothing; write a value, or remove the key"]);
    check_refused("a: ''", text, &["y:1:4: a: the text is empty; write a value, or remove the key"]);
    check_refused_toml(
        "a = 2026-01-01",
        text,
        &["t:1:5: a: expected a text, found a date or time; write \"2026-01-01\""],
    );
    check_refused_toml("a = 1_000", text, &["t:1:5: a: expected a text, found a whole number; write \"1_000\""]);
}

#[test]
fn texts_are_no_numbers_and_no_truth() {
    let integer = |section: &mut Section<'_>| assert_eq!(section.take_integer("a", 1..=9), None);
    check_refused(
        "a: '7'",
        integer,
        &["y:1:4: a: expected a whole number, found the text \"7\"; write 7 without quotes"],
    );
    check_refused("a: x", integer, &["y:1:4: a: expected a whole number, found the text \"x\""]);
    check_refused("a: 7.0", integer, &["y:1:4: a: expected a whole number, found a decimal number"]);
    check_refused("a: 10", integer, &["y:1:4: a: 10 is not between 1 and 9"]);
    let number = |section: &mut Section<'_>| assert_eq!(section.take_number("a", 0.0..=2.0), None);
    let expected = ["y:1:4: a: expected a number, found the text \"0.5\"; write 0.5 without quotes"];
    check_refused("a: '0.5'", number, &expected);
    check_refused("a: 2.5", number, &["y:1:4: a: 2.5 is not between 0 and 2"]);
    check_refused("a: .nan", number, &["y:1:4: a: .nan is not between 0 and 2"]);
    check_refused("a: true", number, &["y:1:4: a: expected a number, found true or false"]);
    check_refused("a: -1", integer, &["y:1:4: a: -1 is not between 1 and 9"]);
    check_refused("a: ${PORT}", integer, &["y:1:4: a: what \"${PORT}\" stands for is not between 1 and 9"]);
    check_refused("a: ${TOKEN}", integer, &["y:1:4: a: what \"${TOKEN}\" stands for is not a whole number"]);
    let nines = "9".repeat(50);
    check_refused(&format!("a: {nines}"), integer, &[&format!("y:1:4: a: {nines} is not between 1 and 9")]);

    let truth = |section: &mut Section<'_>| assert_eq!(section.take_bool("a"), None);
    check_refused("a: yes", truth, &["y:1:4: a: expected true or false, found the text \"yes\"; write true"]);
    check_refused("a: 1", truth, &["y:1:4: a: expected true or false, found a whole number"]);
    check_refused("a: ${TOKEN}", truth, &["y:1:4: a: what \"${TOKEN}\" stands for is not true or false"]);
}

#[test]
fn problems_in_lists_name_the_index() {
    let texts = |section: &mut Section<'_>| assert_eq!(section.take_strings("a"), ["x"]);
    check_refused(
        "a: [1, x, '', {}]",
        texts,
        &[
            "y:1:5: a[0]: expected a text, found a whole number; write \"1\"",
            "y:1:11: a[2]: the text is empty; write a value, or remove the key",
            "y:1:15: a[3]: expected a text, found a table",
        ],
    );
    check_refused(
        "a: x",
        |section| assert!(section.take_strings("a").is_empty()),
        &["y:1:4: a: expected a list of texts, found a text; write it in [ ]"],
    );
    check_refused(
        "a:\n- '1'\n- '300'",
        |section| assert_eq!(section.take_parsed_list("a", str::parse::<u8>), [1]),
        &["y:3:3: a[1]: number too large to fit in target type"],
    );
    let help = "write [[ ]] around the name, or in YAML begin each with `- `";
    check_refused_toml(
        "[a]",
        |section| assert!(section.take_sections("a").is_empty()),
        &[&format!("t:1:1: a: expected a list of tables, found a table; {help}")],
    );
    check_refused(
        "a: [{}, 1]",
        |section| assert_eq!(section.take_sections("a").len(), 1),
        &["y:1:9: a[1]: expected a table, found a whole number"],
    );
    check_refused(
        "l: {al ice: [1], bob: x}",
        |section| assert_eq!(section.take_lists_by_name("l").len(), 2),
        &[
            "y:1:14: l.\"al ice\"[0]: expected a text, found a whole number; write \"1\"",
            "y:1:23: l.bob: expected a list of texts, found a text; write it in [ ]",
        ],
    );
}

#[test]
fn a_variable_that_cannot_be_replaced_is_a_problem() {
    let text = |section: &mut Section<'_>| assert_eq!(section.take_string("a"), None);
    check_refused(
        "a: ${NOPE}${NADA}",
        text,
        &[
            "y:1:4: a: ${NOPE} is not set; set the environment variable NOPE",
            "y:1:4: a: ${NADA} is not set; set the environment variable NADA",
        ],
    );
    check_refused("a: ${NO", text, &["y:1:4: a: `${` without `}`; write `$${` where `${` is meant to stay"]);
    check_refused(
        "a: ${}",
        text,
        &["y:1:4: a: \"\" in `${…}` is not the name of a variable; write `$${` where `${` is meant to stay"],
    );
    check_refused(
        "a: ${EMPTY}",
        text,
        &["y:1:4: a: what \"${EMPTY}\" stands for is empty; write a value, or remove the key"],
    );
}

#[test]
fn problems_never_show_a_secret() {
    let parse = |text: &str| Err::<(), _>(format!("{text:?} is no good"));
    check_refused(
        "a: x${TOKEN}\nb: literal\nc: 4711\nd: ${PORT}",
        |section| {
            section.take_parsed("a", parse);
            section.take_parsed("b", parse);
            section.take_secret("c");
            section.take_parsed("d", |_| Err::<(), _>("only https is allowed"));
        },
        &[
            "y:1:4: a: what \"x${TOKEN}\" stands for is not usable here",
            "y:2:4: b: \"literal\" is no good",
            "y:3:4: c: expected a text, found a whole number; put it in quotes",
            "y:4:4: d: only https is allowed",
        ],
    );
    check_refused(
        "a: x${hunter-2}",
        |section| assert!(section.take_secret("a").is_none()),
        &["y:1:4: a: what stands in `${…}` is not the name of a variable; write `$${` where `${` is meant to stay"],
    );
    let document = Document::parse_yaml("y", "a: hunter2").unwrap();
    let root = document.root(&Known);
    assert!(!format!("{document:?} {root:?}").contains("hunter2"));
}

#[test]
fn components_note_their_own_problems_in_their_place() {
    check_refused(
        "s:\n  aKey: 1\n  list: [x, y]",
        |section| {
            let mut s = section.take_section("s").unwrap();
            s.missing("name", "write the name of the agent");
            s.missing("a_key", "not said: it is there");
            s.problem(Severity::Warning, "a_key", "is old", None);
            s.problem(Severity::Error, "", "does not fit", Some("think".into()));
            assert!(s.has("list"));
            let (item, beyond) = (s.place_in_list("list", 1), s.place_in_list("list", 2));
            s.problem(Severity::Error, "other", "is needed", None);
            s.finish();
            assert_eq!((item.path.as_str(), beyond.path.as_str()), ("s.list[1]", "s.list"));
        },
        &[
            "y:1:1: s: \"name\" is missing; write the name of the agent",
            "y:1:1: s: does not fit; think",
            "y:1:1: s.other: is needed",
            "y:2:9: warning: s.aKey: is old",
        ],
    );
}

#[test]
fn a_problem_found_later_still_has_its_place() {
    let document = Document::parse_toml("t", "routing = [\"a\", \"b\"]").unwrap();
    let mut root = document.root(&Known);
    root.take_strings("routing");
    let place = root.place_in_list("routing", 1);
    root.finish();
    document.note(&place, Severity::Warning, "can never match", None);
    assert_eq!(document.problems()[0].to_string(), "t:1:17: warning: routing[1]: can never match");
}

fn digest(document: &Document, own_keys: &str) -> [u8; 32] {
    let mut root = document.root(&Known);
    root.take_lists_by_name(own_keys);
    let digest = root.fingerprint();
    root.abandon();
    digest
}

#[test]
fn a_fingerprint_is_about_what_is_said_and_not_how() {
    let check = |left: &str, right: &str, is_same: bool| {
        let left = digest(&Document::parse_toml("t", left).unwrap(), "links");
        let right = digest(&Document::parse_yaml("y", right).unwrap(), "links");
        assert_eq!(left == right, is_same, "{left:?} {right:?}");
    };
    check("dm_scope = \"x\"\n[a]\nb = [1, true, 1.5]", "a: {b: [0x1, True, 15e-1]}\ndmScope: x # comment", true);
    check("a = \"${PORT}\"", "a: '8080'", true);
    check("a = \"$${PORT}\"", "a: '8080'", false);
    check("a = 1", "a: '1'", false);
    check("a = [\"x\", \"y\"]", "a: [xy]", false);
    check("a = []", "a: {}", false);
    check("a_b = 1", "aB: 1", true);
    check("links.a_b = []", "links: {aB: []}", false);
    check("links.a_b = []", "links: {a_b: []}", true);
}
