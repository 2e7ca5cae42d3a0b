//! Everything that loading a configuration finds beyond a single key: SPEC §3.1 to §3.3 and §4.

use std::path::Path;

use crate::document::{NoVariables, Problem, Severity};

/// Problems of a text as `line severity path`, each with a word that its message or help must have.
fn check(toml: &str, expected: &[(&str, &str)]) {
    let home = tempfile::tempdir().unwrap();
    let problems = problems(toml, home.path());
    let heads: Vec<String> = problems.iter().map(head).collect();
    assert_eq!(heads, expected.iter().map(|(head, _)| *head).collect::<Vec<_>>(), "{problems:#?}");
    for (problem, (_, words)) in problems.iter().zip(expected) {
        let said = problem.to_string();
        assert!(said.contains(words), "{said}");
    }
}

fn problems(toml: &str, home: &Path) -> Vec<Problem> {
    let file = home.join("config.toml");
    std::fs::write(&file, toml).unwrap();
    match crate::config::load_file(&file, home, &NoVariables) {
        Ok(loaded) => loaded.warnings,
        Err(crate::config::Error::Invalid(problems)) => problems,
        Err(error) => panic!("{error}"),
    }
}

fn head(problem: &Problem) -> String {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    format!("{} {severity} {}", problem.line, problem.path)
}

const SAFE: &str = "[session]\ndm_scope = \"per-channel-peer\"\n";

/// An entry of a channel whose ids are not unique over accounts.
fn hook(keys: &str) -> String {
    format!("[[channels]]\ntype = \"webhook\"\nsecret = \"s\"\nreply_url = \"https://example.com/\"\n{keys}")
}

#[test]
fn a_good_configuration_has_no_problem() {
    check(&[SAFE, &hook("")].concat(), &[]);
    check(&["routing = [\"webhook:* -> default\", \"* -> default\"]\n", SAFE, &hook("")].concat(), &[]);
    check(&[SAFE, &hook("tenant_id = \"1\"\n"), &hook("tenant_id = \"2\"\n")].concat(), &[]);
    check(&[SAFE, &hook("workspace_id = \"1\"\n"), &hook("workspace_id = \"2\"\n")].concat(), &[]);
}

#[test]
fn a_key_format_that_two_conversations_could_share_is_refused() {
    let format = |format: &str, words: &str| {
        check(&format!("{SAFE}key_format = \"{format}\"\n{}", hook("")), &[("3 error session.key_format", words)]);
    };
    format("{channel}{user_id}", "nothing between them");
    format("{channel}x{user_id}", "must begin with one of");
    format("{channel}:{userid}", "did you mean {user_id}?");
    format("{channel}:{channel}", "twice");
    format("{channel", "without its partner");
    format("everybody", "set dm_scope");
    format("tenant-42-{channel}:{user_id}", "means something else");
    format("api:{user_id}", "means something else");
    format("{channel} {user_id}", "cannot stand in a key");
}

#[test]
fn a_scope_is_one_of_three() {
    check(
        &format!("[session]\ndm_scope = \"per-account\"\n{}", hook("")),
        &[("2 error session.dm_scope", "main, per-channel-peer, per-peer")],
    );
}

#[test]
fn a_format_that_names_the_tenant_wants_one_of_every_entry() {
    let format = "key_format = \"{tenant_id}:{channel}:{user_id}\"\n";
    check(&[SAFE, format, &hook("")].concat(), &[("4 error channels[0]", "add tenant_id")]);
    check(&[SAFE, format, &hook("tenant_id = \"1\"\n")].concat(), &[]);
}

#[test]
fn two_entries_that_would_share_keys_are_refused_and_both_named() {
    let two = |a: &str, b: &str| [SAFE, &hook(a), &hook(b)].concat();
    check(&two("", ""), &[("7 error channels[1]", "\"webhook\" and \"webhook-2\"")]);
    check(
        &two("account = \"A\"\n", "account = \"B\"\n"),
        &[("8 error channels[1]", "{account} in session.key_format")],
    );
    let shown = [SAFE, "key_format = \"{channel}:{account}:{user_id}\"\n"].concat();
    check(&[shown.as_str(), &hook("account = \"A\"\n"), &hook("account = \"B\"\n")].concat(), &[]);
}

#[test]
fn an_agent_that_is_not_there_is_an_error_wherever_it_is_named() {
    check(
        &format!(
            "default_agent = \"a\"\nrouting = [\"* -> b\"]\n{SAFE}{}tenant_id = \"1\"\n[[tenants]]\nid = \"1\"\ndefault_agent = \"c\"\n[[api_keys]]\nname = \"k\"\nkey = \"k\"\nagent = \"d\"\n",
            hook("")
        ),
        &[
            ("1 error default_agent", "there is no agent \"a\""),
            ("2 error routing[0]", "there is no agent \"b\""),
            ("12 error tenants[0].default_agent", "there is no agent \"c\""),
            ("13 error api_keys[0]", "there is no agent \"d\""),
        ],
    );
}

#[test]
fn a_route_that_can_never_match_is_a_warning() {
    let route = |routes: &str, expected: &[(&str, &str)]| {
        check(&format!("routing = [{routes}]\n{SAFE}{}", hook("tenant_id = \"42\"\n")), expected);
    };
    route(
        "\"webhook:* -> default\", \"webhook:a:* -> default\"",
        &[("1 warning routing[1]", "takes all its messages")],
    );
    route("\"webhook:a:* -> default\", \"webhook:* -> default\"", &[]);
    route("\"slack:* -> default\"", &[("1 warning routing[0]", "begin with tenant-42-webhook:")]);
    route("\"tenant-43-* -> default\"", &[("1 warning routing[0]", "such a type and tenant")]);
    route("\"tenant-42-slack:* -> default\"", &[("1 warning routing[0]", "such a type and tenant")]);
    route("\"webhook -> default\"", &[("1 warning routing[0]", "such a type and tenant")]);
    route("\"api:* -> default\"", &[("1 warning routing[0]", "such a type and tenant")]);
    let key = "[[api_keys]]\nname = \"k\"\nkey = \"k\"\n";
    check(&format!("routing = [\"api:* -> default\"]\n{SAFE}{}{key}", hook("")), &[]);
}

#[test]
fn an_entry_that_cannot_be_read_does_not_make_its_routes_wrong() {
    let text = format!("routing = [\"slack:* -> default\"]\n{SAFE}[[channels]]\ntype = \"slak\"\n");
    check(&text, &[("5 error channels[0].type", "webchat, slack, webhook")]);
}

#[test]
fn a_tenant_has_one_place_and_something_that_belongs_to_it() {
    let tenant = "[[tenants]]\nid = \"1\"\n";
    check(&[SAFE, &hook("tenant_id = \"1\"\n"), tenant].concat(), &[]);
    check(
        &[SAFE, &hook("tenant_id = \"1\"\n"), tenant, tenant].concat(),
        &[("10 error tenants[1]", "two tenants \"1\"")],
    );
    check(&[SAFE, &hook(""), tenant].concat(), &[("7 warning tenants[0]", "write tenant_id = \"1\"")]);
    check(&[SAFE, &hook(""), tenant, "[[api_keys]]\nname = \"k\"\nkey = \"k\"\ntenant_id = \"1\"\n"].concat(), &[]);
}

#[test]
fn main_is_for_one_person() {
    let main = |owners: &str| format!("[session]\ndm_scope = \"main\"\nowners = [{owners}]\n");
    check(&[main("\"webhook:a\"").as_str(), &hook("")].concat(), &[]);
    check(&[main("\"webhook:a\", \"slack:U1\"").as_str(), &hook("")].concat(), &[]);
    let open = hook("dm_policy = \"open\"\n");
    check(
        &[main("\"webhook:a\"").as_str(), &open].concat(),
        &[("4 warning channels[0]", "strangers share one conversation")],
    );
    let listed = |allow: &str| hook(&format!("dm_policy = \"allowlist\"\nallow = [{allow}]\n"));
    check(&[main("").as_str(), &listed("\"a\"")].concat(), &[]);
    check(&[main("").as_str(), &listed("\"a\", \"b\"")].concat(), &[("1 warning session", "2 people")]);
    check(&[main("\"webhook:a\"").as_str(), &listed("\"a\"")].concat(), &[]);
    check(&[main("\"webhook:a\"").as_str(), &listed("\"b\"")].concat(), &[("1 warning session", "2 people")]);
    let of = |id: &str| [listed(&format!("\"{id}\"")), format!("tenant_id = \"{id}\"\n")].concat();
    check(&[main("").as_str(), &of("1"), &of("2")].concat(), &[]);
}

#[test]
fn links_name_ids_with_their_type_and_count_under_per_peer() {
    let links = |scope: &str, links: &str| {
        format!("[session]\ndm_scope = \"{scope}\"\n[session.identity_links]\n{links}{}", hook(""))
    };
    check(&links("per-peer", "a = [\"webhook:1\", \"slack:U1\"]\n"), &[]);
    check(&links("per-channel-peer", "a = [\"webhook:1\"]\n"), &[("3 warning session.identity_links", "per-peer")]);
    check(&links("per-peer", "a = [\"123\"]\n"), &[("3 error session.identity_links", "write it like")]);
    check(
        &links("per-peer", "a = [\"webhook:1\"]\nb = [\"webhook:1\"]\n"),
        &[("3 error session.identity_links", "leave it in one list")],
    );
    check(
        &format!("[session]\ndm_scope = \"main\"\nowners = [\"U1\"]\n{}dm_policy = \"off\"\n", hook("")),
        &[("3 error session.owners[0]", "write it like")],
    );
}

#[test]
fn peers_that_share_a_conversation_by_the_format_are_said() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    std::fs::write(&file, format!("{SAFE}key_format = \"{{channel}}:{{channel_id}}\"\n{}", hook(""))).unwrap();
    let loaded = crate::config::load_file(&file, home.path(), &NoVariables).unwrap();
    assert_eq!(loaded.warnings, [], "it is allowed");
    assert!(loaded.settings.notes.iter().any(|note| note.contains("{user_id}") && note.contains("webhook")));
}
