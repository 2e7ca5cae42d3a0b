//! Eats a key format and two identities: what is accepted keeps conversations apart, what is refused is at fault.

#![no_main]

mod identity;
mod promise;

use frontdesk::session::{Config, DmScope, Field, FormatError, KeyFormat, Resolver};
use identity::Anybody;
use libfuzzer_sys::arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The format ends at the first line end; identities follow.
    let n_format = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (text, rest) = data.split_at(n_format);
    let Ok(text) = str::from_utf8(text) else { return };
    match KeyFormat::parse(text) {
        Err(error) => check_refusal(text, &error),
        Ok(format) => {
            assert_eq!(format.as_str(), text);
            assert_eq!(KeyFormat::parse(text).as_ref(), Ok(&format));
            for field in Field::ALL.into_iter().filter(|field| *field != Field::Thread) {
                assert_eq!(format.has(field), text.contains(&placeholder(field.name())), "{}", field.name());
            }
            let mut u = Unstructured::new(rest.get(1..).unwrap_or_default());
            let config = Config { key_format: format.clone(), identity_links: promise::links(), ..Config::embedded() };
            let resolvers = DmScope::CHOICES
                .map(|(_, scope)| (scope, Resolver::new(&Config { dm_scope: scope, ..config.clone() })));
            while let (Ok(Anybody(first)), Ok(Anybody(second)), false) =
                (Anybody::arbitrary(&mut u), Anybody::arbitrary(&mut u), u.is_empty())
            {
                for (scope, resolver) in &resolvers {
                    promise::check_two(resolver, *scope, &format, [&first, &second]);
                }
            }
        }
    }
});

fn placeholder(name: &str) -> String {
    format!("{{{name}}}")
}

/// The error is one line that says why, and what it says is so.
fn check_refusal(text: &str, error: &FormatError) {
    let said = error.to_string();
    assert!(!said.is_empty() && !said.contains('\n'), "{said:?}");
    let is_so = match error {
        FormatError::UnknownPlaceholder { name, nearest } => {
            text.contains(&placeholder(name))
                && Field::ALL.iter().all(|field| field.name() != name)
                && Field::ALL.iter().any(|field| field.name() == *nearest)
        }
        FormatError::Brace => !are_paired(text),
        FormatError::Touching(one, other) => text.contains(&[placeholder(one), placeholder(other)].concat()),
        FormatError::Separator(separator) => {
            text.contains(&format!("}}{separator}{{")) && separator.starts_with(|c: char| c.is_ascii_alphanumeric())
        }
        FormatError::Character(c) => text.contains(*c) && !(c.is_ascii_alphanumeric() || ":-_.~+!@".contains(*c)),
        FormatError::ReservedWord(word) => text.contains(word),
        FormatError::Repeated(name) => text.matches(&placeholder(name)).count() > 1,
        FormatError::NoPlaceholder => {
            let telling = Field::ALL.iter().filter(|field| **field != Field::Thread);
            telling.filter(|field| **field != Field::Tenant).all(|field| !text.contains(&placeholder(field.name())))
        }
    };
    assert!(is_so, "{text:?} is refused because {said}");
}

/// Does a `}` follow each `{`, with no brace between, and none stand alone?
fn are_paired(text: &str) -> bool {
    let mut is_open = false;
    text.chars().filter(|c| matches!(c, '{' | '}')).all(|c| {
        let fits = is_open == (c == '}');
        is_open = c == '{';
        fits
    }) && !is_open
}
