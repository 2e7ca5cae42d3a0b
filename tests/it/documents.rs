//! What the documents say is so, and is everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use frontdesk::config::{self, Loaded};
use frontdesk::document::Variables;
use tempfile::TempDir;

use crate::source::{Source, Token, project, without_tests};

/// A home with what the examples refer to.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("reception")).unwrap();
    fs::write(home.path().join("reception/SOUL.md"), "Be kind.").unwrap();
    home
}

/// Each `${NAME}` of a text, with a value.
fn variables(text: &str) -> BTreeMap<String, String> {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split_once('}'));
    names.map(|(name, _)| (name.to_owned(), format!("the value of {name}"))).collect()
}

struct Given(BTreeMap<String, String>);

impl Variables for Given {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

fn load(file: &Path) -> Loaded {
    let variables = Given(variables(&fs::read_to_string(file).unwrap()));
    config::load_file(file, home().path(), &variables).unwrap_or_else(|error| panic!("{error}"))
}

/// Names of the keys that some component takes, in `snake_case`.
fn keys_of_the_code() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let sources = Source::all("src").into_iter().filter(|source| {
        let path = source.path.to_str().unwrap();
        // What first_boot takes is of another file, described in docs/appliance.md.
        !path.starts_with("src/document/") && !path.starts_with("src/first_boot/") && !path.ends_with("/tests.rs")
    });
    for source in sources {
        collect(&without_tests(&source.tokens), &mut keys);
    }
    keys
}

/// The first text among the arguments of `take_…(…)` and `read_all(…)`.
fn collect(tokens: &[Token], keys: &mut BTreeSet<String>) {
    for (n, token) in tokens.iter().enumerate() {
        let Token::Group(bracket, inside) = token else { continue };
        let is_call = match n.checked_sub(1).map(|before| &tokens[before]) {
            Some(Token::Word(name, _)) => *bracket == '(' && (name.starts_with("take_") || name == "read_all"),
            _ => false,
        };
        let text = inside.iter().find_map(|token| match token {
            Token::Literal(text, _) => text.strip_prefix('"')?.strip_suffix('"'),
            _ => None,
        });
        keys.extend(text.filter(|_| is_call).map(str::to_owned));
        collect(inside, keys);
    }
}

/// The first column of every table of `docs/configuration.md` but that of the environment.
fn keys_of_the_page() -> BTreeSet<String> {
    let page = fs::read_to_string(project().join("docs/configuration.md")).unwrap();
    let (page, _) = page.split_once("## The environment").unwrap();
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    cells.map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn every_key_is_on_the_page_and_every_key_on_the_page_is_taken() {
    let (code, page) = (keys_of_the_code(), keys_of_the_page());
    assert!(code.len() > 40 && code.contains("dm_scope") && code.contains("providers"), "{code:?}");
    let none = BTreeSet::<&String>::new();
    assert_eq!(code.difference(&page).collect::<BTreeSet<_>>(), none, "not in docs/configuration.md");
    assert_eq!(page.difference(&code).collect::<BTreeSet<_>>(), none, "no component takes it");
}

#[test]
fn the_examples_show_every_key() {
    let camel_case = |key: &str| {
        let mut is_start = false;
        let letter = |c: char| match c {
            '_' => {
                is_start = true;
                None
            }
            c if std::mem::take(&mut is_start) => Some(c.to_ascii_uppercase()),
            c => Some(c),
        };
        key.chars().filter_map(letter).collect::<String>()
    };
    let words = |name: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(project().join("docs").join(name)).unwrap();
        text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect()
    };
    let (toml, yaml) = (words("example.toml"), words("example.yml"));
    for key in keys_of_the_code() {
        assert!(toml.contains(&key), "docs/example.toml does not show {key}");
        assert!(yaml.contains(&key) || yaml.contains(&camel_case(&key)), "docs/example.yml does not show {key}");
    }
}

#[test]
fn the_examples_pass_config_check() {
    for name in ["example.toml", "example.yml"] {
        let file = project().join("docs").join(name);
        let home = home();
        let output = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
            .env_clear()
            .envs(variables(&fs::read_to_string(&file).unwrap()))
            .args(["config", "check"])
            .arg(&file)
            .arg("--home")
            .arg(home.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        let verdict = format!("{} can be used\n", file.display());
        let said: Vec<&str> = said.split_inclusive('\n').filter(|line| !line.starts_with("note: ")).collect();
        assert_eq!(said, [verdict], "no warnings");
    }
}

#[test]
fn the_examples_say_the_same() {
    let docs = project().join("docs");
    let (toml, yaml) = (load(&docs.join("example.toml")).settings, load(&docs.join("example.yml")).settings);
    assert_eq!((toml.gateway, toml.session), (yaml.gateway, yaml.session));
    assert_eq!((toml.providers, toml.agents), (yaml.providers, yaml.agents));
    assert_eq!((toml.routes, toml.default_agent), (yaml.routes, yaml.default_agent));
    let entries = |channels: &[config::Entry]| -> Vec<_> {
        channels.iter().map(|entry| (entry.id.to_string(), entry.fingerprint)).collect()
    };
    assert_eq!(entries(&toml.channels), entries(&yaml.channels));
    let tenants = |tenants: Vec<config::Tenant>| -> Vec<_> {
        tenants.into_iter().map(|tenant| (tenant.id, tenant.name, tenant.default_agent)).collect()
    };
    assert_eq!(tenants(toml.tenants), tenants(yaml.tenants));
    let api_keys = |keys: Vec<config::ApiKey>| -> Vec<_> {
        keys.into_iter().map(|key| (key.name, key.key, key.tenant, key.agent, key.scope)).collect()
    };
    assert_eq!(api_keys(toml.api_keys), api_keys(yaml.api_keys));
}

/// What `config check` warns of in this text: paths of keys.
fn warnings(toml: &str) -> Vec<String> {
    let home = home();
    let file = home.path().join("page.toml");
    fs::write(&file, toml).unwrap();
    load(&file).warnings.into_iter().map(|warning| warning.path).collect()
}

fn blocks(page: &str) -> Vec<String> {
    let page = fs::read_to_string(project().join(page)).unwrap();
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| block.to_owned()).collect()
}

#[test]
fn the_blocks_of_the_page_are_one_configuration() {
    let page = blocks("docs/configuration.md").concat();
    assert_eq!(warnings(&page), ["session.identity_links"], "as the page says beside it");
}

#[test]
fn the_first_configuration_of_the_readme_can_be_used() {
    assert_eq!(warnings(&blocks("README.md")[0]), [""; 0]);
}

/// The first cells of the rows under a heading of `ARCHITECTURE.md`, as far as they are code.
fn architecture_rows(heading: &str) -> BTreeSet<String> {
    let page = fs::read_to_string(project().join("ARCHITECTURE.md")).unwrap();
    let (_, section) = page.split_once(heading).unwrap();
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.map(|(cell, _)| cell.to_owned()).collect()
}

#[test]
fn the_code_map_shows_every_module() {
    let lib = fs::read_to_string(project().join("src/lib.rs")).unwrap();
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    assert_eq!(architecture_rows("\n## Code map"), modules.map(str::to_owned).collect());
}

#[test]
fn the_catalogue_shows_every_table() {
    let tables = fs::read_to_string(project().join("src/store/tables.rs")).unwrap();
    let (_, listed) = tables.split_once("\ntables! {").unwrap();
    // `NAME, name: Key => Value, number;`
    let names =
        listed.lines().filter_map(|line| Some(line.split_once(" => ")?.0.split_once(", ")?.1.split_once(':')?.0));
    let names: BTreeSet<String> = names.chain(["meta"]).map(str::to_owned).collect();
    assert!(names.len() > 10, "{names:?}");
    assert_eq!(architecture_rows("\nThe tables of the store."), names);
}

#[test]
fn links_lead_somewhere() {
    let mut pages: Vec<_> = fs::read_dir(project()).unwrap().map(|entry| entry.unwrap().path()).collect();
    for folder in ["docs", "docs/adr"] {
        pages.extend(fs::read_dir(project().join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    assert!(pages.len() > 8, "{pages:?}");
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for (target, _) in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            if file.contains("://") {
                continue;
            }
            let target_page = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target_page.exists(), "{} links to {target}", page.display());
            let headings = fs::read_to_string(&target_page).unwrap_or_default();
            let mut anchors = headings
                .lines()
                .filter_map(|line| line.strip_prefix('#'))
                .map(|heading| heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"));
            assert!(anchor.is_empty() || anchors.any(|known| known == anchor), "{} links to {target}", page.display());
        }
    }
}
