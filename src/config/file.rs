//! Finds and reads the configuration file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::document::{Document, MAX_BYTES, Problem, read_at_most};

/// What a home may call its configuration.
const NAMES: [&str; 3] = ["config.toml", "config.yml", "config.yaml"];

/// Why there is no text of a configuration. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of them would silently not count.
    #[error("{} has more than one configuration: {}; keep one of them", home.display(), names.join(" and "))]
    Several {
        /// Where they are.
        home: PathBuf,
        /// Their names.
        names: Vec<&'static str>,
    },
    /// The name does not say how to read it.
    #[error("{}: a configuration must end in .toml, .yml or .yaml; rename it", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot read {}: {source}; check that it is a file and that this user may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// No person wrote that much.
    #[error("{} is longer than {MAX_BYTES} bytes; is it the right file?", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A configuration is UTF-8 in both syntaxes.
    #[error("{}:{line}: the text is not UTF-8; save the file as UTF-8", path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// Where it stops being UTF-8, from 1.
        line: usize,
    },
}

/// How a configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// `config.toml`: the one that the admin page edits.
    Toml,
    /// `config.yml` or `config.yaml`.
    Yaml,
}

/// A configuration file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Where.
    pub path: PathBuf,
    /// How to read it.
    pub syntax: Syntax,
}

/// The configuration of a home; `None` if it has none yet.
///
/// A name that leads nowhere (a broken link) is a file that cannot be read, not an absent one: a home
/// that was set up must not look new. Of two, one may be on its way out: see `revisions`.
///
/// # Errors
/// When there is more than one, or nobody can tell.
pub fn locate(home: &Path) -> Result<Option<Located>, Error> {
    let present = present(home)?;
    let names: Vec<&'static str> = match present.as_slice() {
        [_, _, ..] => {
            let replaced = super::revisions::replaced(home);
            present.into_iter().filter(|name| !replaced.iter().any(|gone| gone == name)).collect()
        }
        _ => present,
    };
    match names.as_slice() {
        [] => Ok(None),
        [name] => Located::at(&home.join(name)).map(Some),
        _ => Err(Error::Several { home: home.to_owned(), names }),
    }
}

/// The names under which a home has configurations: one, none, or too many.
pub(super) fn present(home: &Path) -> Result<Vec<&'static str>, Error> {
    let mut names = Vec::new();
    for name in NAMES {
        let path = home.join(name);
        match fs::symlink_metadata(&path) {
            Ok(_) => names.push(name),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Read { path, source }),
        }
    }
    Ok(names)
}

impl Syntax {
    /// What a file of this syntax is called, and ends in, unless somebody chose otherwise.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Toml => ("config.toml", "toml"),
            Self::Yaml => ("config.yml", "yml"),
        }
    }
}

impl Located {
    /// A file that the operator named. Whether it is there shows when it is read.
    ///
    /// # Errors
    /// When its name does not say which syntax it has.
    pub fn at(path: &Path) -> Result<Self, Error> {
        let syntax = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Syntax::Toml,
            Some("yml" | "yaml") => Syntax::Yaml,
            _ => return Err(Error::Extension { path: path.to_owned() }),
        };
        Ok(Self { path: path.to_owned(), syntax })
    }

    /// The text of the file.
    ///
    /// # Errors
    /// When it cannot be read, is longer than [`MAX_BYTES`] or is not UTF-8.
    pub fn read(&self) -> Result<String, Error> {
        self.decode(self.read_bytes()?)
    }

    pub(super) fn read_bytes(&self) -> Result<Vec<u8>, Error> {
        let path = || self.path.clone();
        let bytes = read_at_most(&self.path, MAX_BYTES + 1).map_err(|source| Error::Read { path: path(), source })?;
        if bytes.len() > MAX_BYTES { Err(Error::TooLong { path: path() }) } else { Ok(bytes) }
    }

    pub(super) fn decode(&self, bytes: Vec<u8>) -> Result<String, Error> {
        String::from_utf8(bytes).map_err(|error| {
            let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = valid.filter(|byte| **byte == b'\n').count() + 1;
            Error::Encoding { path: self.path.clone(), line }
        })
    }

    /// Parses `text` as what this file has, or would have. Problems name the file by its last name.
    ///
    /// # Errors
    /// The syntax errors.
    pub fn parse(&self, text: &str) -> Result<Document, Vec<Problem>> {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy();
        match self.syntax {
            Syntax::Toml => Document::parse_toml(&name, text),
            Syntax::Yaml => Document::parse_yaml(&name, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(home.path().join(name), content).unwrap();
        }
        home
    }

    /// What is found in a home with these files, or the words of the error.
    fn check(files: &[&str], expected: Result<Option<(&str, Syntax)>, &str>) {
        let files: Vec<_> = files.iter().map(|name| (*name, &b""[..])).collect();
        let home = home(&files);
        let expected = expected
            .map(|found| found.map(|(name, syntax)| Located { path: home.path().join(name), syntax }))
            .map_err(|words| format!("{} {words}", home.path().display()));
        assert_eq!(locate(home.path()).map_err(|error| error.to_string()), expected);
    }

    /// What reading a file with this content answers, without the path.
    fn check_text(content: &[u8], expected: Result<&str, &str>) {
        let home = home(&[("config.toml", content)]);
        let located = locate(home.path()).unwrap().unwrap();
        let path = located.path.display().to_string();
        let found = located.read().map_err(|error| error.to_string().replace(&path, "FILE"));
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn a_home_has_one_configuration_or_none() {
        check(&[], Ok(None));
        check(&["config.json", "config.toml.bak"], Ok(None));
        check(&["config.toml"], Ok(Some(("config.toml", Syntax::Toml))));
        check(&["config.yml"], Ok(Some(("config.yml", Syntax::Yaml))));
        check(&["config.yaml"], Ok(Some(("config.yaml", Syntax::Yaml))));
        let words = "has more than one configuration: config.toml and config.yml; keep one of them";
        check(&["config.toml", "config.yml"], Err(words));
        let words = "has more than one configuration: config.yml and config.yaml; keep one of them";
        check(&["config.yaml", "config.yml"], Err(words));
    }

    #[test]
    fn a_home_that_is_not_there_has_none() {
        assert_eq!(locate(Path::new("/nonexistent/home")).unwrap(), None);
    }

    #[test]
    fn a_broken_link_is_not_an_absent_file() {
        let home = home(&[]);
        std::os::unix::fs::symlink("nowhere", home.path().join("config.toml")).unwrap();
        let located = locate(home.path()).unwrap().unwrap();
        assert!(matches!(located.read(), Err(Error::Read { .. })));
    }

    #[test]
    fn a_directory_is_not_read() {
        let home = home(&[]);
        fs::create_dir(home.path().join("config.yml")).unwrap();
        let error = locate(home.path()).unwrap().unwrap().read().unwrap_err();
        assert!(error.to_string().contains("it is not a file"), "{error}");
    }

    #[test]
    fn a_text_is_read_whole_or_refused() {
        check_text(b"a = \"\xc3\xa9\"\n", Ok("a = \"é\"\n"));
        check_text(b"", Ok(""));
        check_text(b"a = 1\nb = \"\xff\"\n", Err("FILE:2: the text is not UTF-8; save the file as UTF-8"));
        check_text(&vec![b'#'; MAX_BYTES + 1], Err("FILE is longer than 1048576 bytes; is it the right file?"));
        check_text(&[b'#'; 100], Ok(&"#".repeat(100)));
    }

    #[test]
    fn the_name_decides_on_the_syntax() {
        let name = |name: &str| Located::at(Path::new(name)).map(|located| located.syntax).ok();
        assert_eq!(name("/a/b.toml"), Some(Syntax::Toml));
        assert_eq!(name("b.yaml"), Some(Syntax::Yaml));
        assert_eq!(name("b.json"), None);
        assert_eq!(name("toml"), None);
    }

    #[test]
    fn problems_name_the_file_shortly() {
        let located = Located::at(Path::new("/long/way/config.yml")).unwrap();
        assert_eq!(located.parse("a: [").unwrap_err()[0].file, "config.yml");
    }
}
