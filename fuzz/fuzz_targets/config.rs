//! What holds of every text that is loaded as a configuration, in either syntax.

use std::path::Path;

use frontdesk::config::{self, Error, Loaded, Located};
use frontdesk::document::{Severity, Variables};
use frontdesk::id::AgentId;

/// What variables stand for and what is written as a key: long, and in no text by chance.
const VALUE: &str = "Zq7-fVx2.Kd9wRb4";
const KEY: &str = "Hm3-gTy8.Nc5vLp1";
/// Shortest piece of a secret that counts as showing it.
const N_PIECE: usize = 8;

/// The keys whose values nobody may see.
const SECRET: [&str; 7] = ["key", "api_key", "bot_token", "app_token", "signing_secret", "secret", "secrets"];

/// Every variable is there. Some are numbers and addresses, so that more of a text is used.
struct Everything;

impl Variables for Everything {
    fn get(&self, name: &str) -> Option<String> {
        Some(match name.as_bytes().first()? {
            b'N' => "7".to_owned(),
            b'U' => format!("https://{VALUE}.example.com/{VALUE}"),
            b'X' => return None,
            _ => VALUE.to_owned(),
        })
    }
}

/// Loads a text as it is, and with an API key behind it. `with_key` is how that is written in this syntax.
pub fn check(name: &str, data: &[u8], with_key: &str) {
    let Ok(text) = str::from_utf8(data) else { return };
    // A secret that the text itself spells out where anything may stand is none.
    if [VALUE, KEY].into_iter().flat_map(pieces).any(|piece| text.contains(piece)) {
        return;
    }
    check_text(name, text);
    let text = format!("{text}\n{}", with_key.replace("KEY", KEY));
    check_text(name, &text);
}

fn check_text(name: &str, text: &str) {
    // Relative, and absent: no persona is there, whatever the text says.
    let home = Path::new("/nonexistent/frontdesk");
    let located = Located::at(&home.join(name)).unwrap();
    let load = || config::load_text(&located, text, home, &Everything);
    let (loaded, again) = (load(), load());
    assert_eq!(format!("{loaded:?}"), format!("{again:?}"), "loaded twice");
    let problems = match &loaded {
        Ok(loaded) => {
            assert!(loaded.warnings.iter().all(|problem| problem.severity == Severity::Warning));
            check_loaded(loaded);
            &loaded.warnings
        }
        Err(Error::Invalid(problems)) => {
            assert!(problems.iter().any(|problem| problem.severity == Severity::Error), "refused without a reason");
            problems
        }
        Err(Error::File(error)) => panic!("no file was read: {error}"),
    };
    // A carriage return alone ends a line in YAML; a line may be missing at the end.
    let n_lines = text.split('\n').flat_map(|line| line.split('\r')).count();
    for problem in problems {
        assert!((1..=n_lines).contains(&problem.line) && problem.column >= 1, "not a place in the file: {problem}");
        let said = problem.to_string();
        assert!(!said.contains(['\n', '\r']), "{said:?}");
        assert!(!problem.message.is_empty());
        check_hides(&said, text);
    }
}

fn check_loaded(loaded: &Loaded) {
    let settings = &loaded.settings;
    let is_agent = |name: &AgentId| settings.agents.iter().any(|agent| agent.name == *name);
    assert!(is_agent(&settings.default_agent));
    assert!(settings.routes.iter().all(|route| is_agent(route.agent())));
    assert!(
        settings
            .agents
            .iter()
            .filter_map(|agent| agent.provider.as_ref())
            .all(|name| { settings.providers.iter().any(|provider| provider.name == *name) })
    );
    // A list of channels that is there and empty opens no door, as an import of nothing leaves it.
    assert!(!settings.providers.is_empty());
    for (n, entry) in settings.channels.iter().enumerate() {
        assert!(settings.channels.iter().take(n).all(|other| other.id != entry.id), "two entries {}", entry.id);
    }
    for line in &loaded.redacted {
        assert!(!line.contains(VALUE), "{line}");
        let (path, value) = line.split_once(" = ").expect("a path and a value");
        let key = path.rsplit('.').next().unwrap_or_default().split('[').next().unwrap_or_default();
        // The names of people are the operator's own.
        let is_name = path.starts_with("session.identity");
        let is_secret =
            !is_name && SECRET.iter().any(|secret| *secret == key || secret.replace('_', "") == key.to_lowercase());
        assert!(!is_secret || value == "\"…\"" || value.starts_with("\"${"), "a secret is shown: {line}");
        assert!(!line.contains(KEY), "{line}");
    }
}

/// No piece of a secret is in a problem, unless the text itself spells that piece out elsewhere.
fn check_hides(said: &str, text: &str) {
    for secret in [VALUE, KEY] {
        let n_written = if secret == KEY { 1 } else { 0 };
        for piece in pieces(secret) {
            assert!(!said.contains(piece) || text.matches(piece).count() > n_written, "a secret is shown: {said}");
        }
    }
}

fn pieces(secret: &'static str) -> impl Iterator<Item = &'static str> {
    (0..=secret.len() - N_PIECE).map(|at| &secret[at..at + N_PIECE])
}
