//! The project's own Rust files as tokens: macros are looked into, comments are not.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One token, with its line.
#[derive(Debug, Clone)]
pub(crate) enum Token {
    /// An identifier or keyword.
    Word(String, usize),
    /// A character of an operator.
    Sign(char),
    /// A literal as it is written.
    Literal(String, usize),
    /// What stands in brackets of this kind.
    Group(char, Vec<Token>),
}

impl Token {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(own, _) if own == word)
    }

    pub(crate) fn is_sign(&self, sign: char) -> bool {
        matches!(self, Self::Sign(own) if *own == sign)
    }

    pub(crate) fn group(&self, bracket: char) -> Option<&[Self]> {
        match self {
            Self::Group(own, tokens) if *own == bracket => Some(tokens),
            _ => None,
        }
    }
}

/// One file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the project.
    pub(crate) path: PathBuf,
    /// As it is written.
    pub(crate) text: String,
    /// Without documentation.
    pub(crate) tokens: Vec<Token>,
}

impl Source {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.into(), text: text.to_owned(), tokens: without_docs(read(stream)) }
    }

    /// All files below a folder of the project, sorted.
    pub(crate) fn all(folder: &str) -> Vec<Self> {
        let mut paths = Vec::new();
        find(&project().join(folder), &mut paths);
        paths.sort();
        let read = |path: &PathBuf| {
            let name = path.strip_prefix(project()).unwrap().to_str().unwrap().to_owned();
            Self::parse(&name, &fs::read_to_string(path).unwrap())
        };
        paths.iter().map(read).collect()
    }

    /// Where its items live: `src/gateway/turns.rs` is `gateway`, `turns`.
    pub(crate) fn module(&self) -> Vec<String> {
        let path = self.path.strip_prefix("src").unwrap_or(&self.path).with_extension("");
        let mut module: Vec<String> = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
        module
    }
}

/// The directory of `Cargo.toml`.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn read(stream: TokenStream) -> Vec<Token> {
    let token = |tree| match tree {
        TokenTree::Ident(ident) => Token::Word(ident.to_string(), ident.span().start().line),
        TokenTree::Punct(punct) => Token::Sign(punct.as_char()),
        TokenTree::Literal(literal) => Token::Literal(literal.to_string(), literal.span().start().line),
        TokenTree::Group(group) => {
            let bracket = match group.delimiter() {
                Delimiter::Parenthesis => '(',
                Delimiter::Brace => '{',
                Delimiter::Bracket => '[',
                Delimiter::None => ' ',
            };
            Token::Group(bracket, without_docs(read(group.stream())))
        }
    };
    stream.into_iter().map(token).collect()
}

/// A comment that documents something is a token too: `#[doc = "…"]`.
fn without_docs(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept: Vec<Token> = Vec::with_capacity(tokens.len());
    for token in tokens {
        if token.group('[').and_then(<[Token]>::first).is_some_and(|first| first.is_word("doc")) {
            kept.pop_if(|sign| sign.is_sign('!'));
            kept.pop_if(|sign| sign.is_sign('#'));
        } else {
            kept.push(token);
        }
    }
    kept
}

/// Without the items that only tests have.
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut is_test = false;
    for token in tokens {
        if token.group('[').is_some_and(is_cfg_test) {
            is_test = true;
        } else if !is_test {
            kept.push(match token {
                Token::Group(bracket, inside) => Token::Group(*bracket, without_tests(inside)),
                other => other.clone(),
            });
        } else if token.group('{').is_some() || token.is_sign(';') {
            is_test = false;
        }
    }
    kept
}

fn is_cfg_test(attribute: &[Token]) -> bool {
    match attribute {
        [cfg, condition] => {
            cfg.is_word("cfg")
                && condition.group('(').is_some_and(|inside| matches!(inside, [only] if only.is_word("test")))
        }
        _ => false,
    }
}
