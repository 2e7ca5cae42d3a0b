//! An agent's own files: its persona, and what it knows besides.
//!
//! ```text
//! agents/<name>/SOUL.md       the persona, where the agent's entry names no other file
//! agents/<name>/knowledge/    what it knows: texts, told in the order of their names
//! agents/<name>/earlier/      what these files said before: SOUL.md.1, SOUL.md.2 …, the last ten of each
//! ```
//!
//! All of it lies in the home and belongs to the agent, never to a conversation. A request names an agent that is
//! configured and one file by its [`FileName`]: no path comes from outside.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use crate::document::{read_at_most, sync_directory, write_whole};
use crate::id::{AgentId, FileName, FileNameError};

/// Longest persona, in bytes: every message pays for it.
pub const MAX_SOUL_BYTES: usize = 64 * 1024;
/// As much of all that an agent knows as its prompt holds, in bytes: every message pays for it.
pub const MAX_KNOWLEDGE_BYTES: usize = 32 * 1024;
/// Longest file of what an agent knows, in bytes.
pub const MAX_FILE_BYTES: usize = 256 * 1024;
/// Files of what an agent knows, at most.
const MAX_FILES: usize = 100;
/// Earlier texts of a file that are kept.
const MAX_EARLIER: usize = 10;

/// How the persona is called, whatever file it is in.
pub const SOUL: &str = "SOUL.md";
/// The persona of an agent that has no file for it.
pub(super) const BUILT_IN: &str = include_str!("SOUL.md");
/// Directories of the home whose files are nobody's persona.
const KEPT_BACK: [&str; 2] = ["secrets", "revisions"];

/// Stands before what an agent knows.
const HEAD: &str = "What you know, file by file. It is information to answer from. What is not in it, and not in the \
                    conversation, you do not know: say so.";

/// Why a file of an agent cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is no name.
    #[error(transparent)]
    Name(#[from] FileNameError),
    /// What it ends in tells that it is a text.
    #[error(
        "a file that a worker knows has no `/` in its name, does not begin with a full stop and ends in .md or .txt"
    )]
    Kind,
    /// Its name cannot be told from another one's.
    #[error("the name is too close to the file {0}: use that one, or another name")]
    Similar(FileName),
    /// There is none of this name.
    #[error("there is no file {0}")]
    NoFile(String),
    /// No such earlier text.
    #[error("there is no earlier text {1} of {0}")]
    NoEarlier(String, u32),
    /// The configuration names a file that is not to be changed from here.
    #[error("the configuration keeps the persona in {0}, which is no text (.md or .txt) of the home: change it there")]
    Elsewhere(String),
    /// Removing it would leave the configuration without a file that it names.
    #[error("the configuration names the persona {0}; take `soul` out of it first")]
    Named(String),
    /// The agent has a name that is no directory.
    #[error("the worker {0} has no files: its name begins with a full stop")]
    NoDirectory(AgentId),
    /// It says nothing.
    #[error("the text is empty; remove the file instead")]
    Empty,
    /// It is too long.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// There are too many.
    #[error("a worker has at most {MAX_FILES} files: remove some first")]
    TooMany,
    /// It is no text.
    #[error("{0} is not a text in UTF-8")]
    NoText(String),
    /// The disk does not give or take it.
    #[error("the file {path} cannot be used: {source}")]
    Disk {
        /// Which.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A file of what an agent knows, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFile {
    /// Its name.
    pub name: FileName,
    /// How long it is, in bytes.
    pub size_bytes: usize,
    /// As much of it as the prompt holds, in bytes.
    pub told_bytes: usize,
    /// Why it is not told at all.
    pub problem: Option<String>,
}

/// What an agent knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// In the order in which they are told.
    pub files: Vec<KnownFile>,
    /// Names that are no such files, and why.
    pub ignored: Vec<String>,
    text: String,
}

impl Knowledge {
    /// Reads what an agent knows; nothing, if there is no directory. What cannot be used is named and not told.
    pub(super) fn read(home: &Path, agent: &AgentId) -> Result<Self, FileError> {
        let Some(directory) = directory(home, agent).map(|own| own.join("knowledge")) else {
            return Ok(Self::default());
        };
        let mut knowledge = Self::default();
        let mut texts = Vec::new();
        for name in names(&directory)? {
            match file_name(&name) {
                Ok(file) if texts.len() < MAX_FILES => {
                    texts.push((file, read_text(&directory.join(&name), MAX_FILE_BYTES)));
                }
                Ok(_) => knowledge.ignored.push(format!("{name}: there are more than {MAX_FILES} files")),
                Err(error) => knowledge.ignored.push(format!("{name}: {error}")),
            }
        }
        knowledge.tell(texts);
        Ok(knowledge)
    }

    /// Tells the texts in their order until the prompt's share is full. The one that no longer fits ends at a line.
    fn tell(&mut self, texts: Vec<(FileName, Result<String, FileError>)>) {
        let mut left = MAX_KNOWLEDGE_BYTES;
        for (name, text) in texts {
            let (text, problem) = match text {
                Ok(text) => (text, None),
                Err(error) => (String::new(), Some(error.to_string())),
            };
            let told = head(&text, left);
            if told.len() < text.len() {
                left = 0;
            }
            left = left.saturating_sub(told.len());
            if !told.trim().is_empty() {
                let end = if told.len() < text.len() { "\n[the rest of this file is left out]" } else { "" };
                self.text.push_str(&format!("\n\n## {name}\n\n{}{end}", told.trim()));
            }
            self.files.push(KnownFile { name, size_bytes: text.len(), told_bytes: told.len(), problem });
        }
    }

    /// A persona with what is known behind it.
    pub(super) fn behind(&self, soul: &str) -> String {
        if self.text.is_empty() { soul.to_owned() } else { format!("{}\n\n{HEAD}{}", soul.trim_end(), self.text) }
    }
}

/// As much of a text as fits, up to the end of a line.
fn head(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let fits = text.get(..text.floor_char_boundary(max_bytes)).unwrap_or_default();
    fits.rfind('\n').and_then(|end| fits.get(..=end)).unwrap_or_default()
}

/// One file of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// Its persona.
    Soul,
    /// Something that it knows.
    Known(FileName),
}

impl File {
    /// `SOUL.md` is the persona, anything else is knowledge.
    ///
    /// # Errors
    /// [`FileError::Name`], [`FileError::Kind`].
    pub fn parse(name: &str) -> Result<Self, FileError> {
        if name == SOUL { Ok(Self::Soul) } else { file_name(name).map(Self::Known) }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Soul => SOUL,
            Self::Known(name) => name.as_str(),
        }
    }

    fn max_bytes(&self) -> usize {
        match self {
            Self::Soul => MAX_SOUL_BYTES,
            Self::Known(_) => MAX_FILE_BYTES,
        }
    }
}

/// What a file said before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Its number: a higher one is later.
    pub number: u32,
    /// When it was replaced.
    pub kept_at: SystemTime,
    /// How long it is, in bytes.
    pub size_bytes: u64,
}

/// The files of one agent that is configured.
#[derive(Debug, Clone)]
pub struct Files<'a> {
    home: &'a Path,
    agent: &'a AgentId,
    /// The persona's, as the agent's entry names it.
    named: Option<&'a str>,
}

impl<'a> Files<'a> {
    /// Those of an agent whose entry names `soul`.
    #[must_use]
    pub fn of(home: &'a Path, agent: &'a AgentId, soul: Option<&'a str>) -> Self {
        Self { home, agent, named: soul }
    }

    /// What a file says. `None`: the persona is the one that comes with the program.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(&self, file: &File) -> Result<Option<String>, FileError> {
        let path = self.path(file)?;
        match read_text(&path, file.max_bytes()) {
            Err(FileError::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => match file {
                File::Soul => Ok(None),
                File::Known(name) => Err(FileError::NoFile(name.to_string())),
            },
            text => text.map(Some),
        }
    }

    /// Puts a text in place whole; what was there before is kept beside.
    ///
    /// # Errors
    /// [`FileError`]; then the file is as it was.
    pub fn write(&self, file: &File, text: &str) -> Result<(), FileError> {
        if text.trim().is_empty() {
            return Err(FileError::Empty);
        }
        if text.len() > file.max_bytes() {
            return Err(FileError::TooLong(file.max_bytes()));
        }
        let path = self.path(file)?;
        if let File::Known(name) = file {
            let there = self.known()?;
            if !there.contains(name) {
                if let Some(similar) = there.iter().find(|other| other.clashes_with(name)) {
                    return Err(FileError::Similar(similar.clone()));
                }
                if there.len() >= MAX_FILES {
                    return Err(FileError::TooMany);
                }
            }
        }
        self.keep(file, &path)?;
        let error = |source| FileError::Disk { path: path.display().to_string(), source };
        path.parent().map_or(Ok(()), make_directory).map_err(error)?;
        write_whole(&path, text.as_bytes(), 0o600).map_err(error)
    }

    /// Removes a file; what it said is kept beside. Without one of its own the agent has the persona of the program.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn remove(&self, file: &File) -> Result<(), FileError> {
        if let (File::Soul, Some(named)) = (file, self.named) {
            return Err(FileError::Named(named.to_owned()));
        }
        let path = self.path(file)?;
        if !path.is_file() {
            return Err(FileError::NoFile(file.as_str().to_owned()));
        }
        self.keep(file, &path)?;
        let removed = fs::remove_file(&path).and_then(|()| path.parent().map_or(Ok(()), sync_directory));
        removed.map_err(|source| FileError::Disk { path: path.display().to_string(), source })
    }

    /// What a file said before, the latest first.
    ///
    /// # Errors
    /// [`FileError::Disk`].
    pub fn earlier(&self, file: &File) -> Result<Vec<Earlier>, FileError> {
        let Some(directory) = self.earlier_directory() else { return Ok(Vec::new()) };
        let mut earlier = Vec::new();
        for name in names(&directory)? {
            let number = name.strip_prefix(file.as_str()).and_then(|rest| rest.strip_prefix('.'));
            let Some(number) = number.and_then(|number| number.parse().ok()) else { continue };
            let path = directory.join(&name);
            let error = |source| FileError::Disk { path: path.display().to_string(), source };
            let data = fs::symlink_metadata(&path).map_err(error)?;
            earlier.push(Earlier {
                number,
                kept_at: data.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                size_bytes: data.len(),
            });
        }
        earlier.sort_by_key(|earlier| std::cmp::Reverse(earlier.number));
        Ok(earlier)
    }

    /// What a file said once.
    ///
    /// # Errors
    /// [`FileError::NoEarlier`]; when it cannot be read.
    pub fn read_earlier(&self, file: &File, number: u32) -> Result<String, FileError> {
        let unknown = || FileError::NoEarlier(file.as_str().to_owned(), number);
        if !self.earlier(file)?.iter().any(|earlier| earlier.number == number) {
            return Err(unknown());
        }
        let directory = self.earlier_directory().ok_or_else(unknown)?;
        read_text(&directory.join(format!("{}.{number}", file.as_str())), file.max_bytes())
    }

    /// Keeps what a file says now, unless that is kept already.
    fn keep(&self, file: &File, path: &Path) -> Result<(), FileError> {
        let bytes = match read_at_most(path, file.max_bytes() + 1) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes.map_err(|source| FileError::Disk { path: path.display().to_string(), source })?,
        };
        let directory = self.earlier_directory().ok_or_else(|| FileError::NoDirectory(self.agent.clone()))?;
        let error = |source| FileError::Disk { path: directory.display().to_string(), source };
        make_directory(&directory).map_err(error)?;
        let earlier = self.earlier(file)?;
        let number = earlier.first().map_or(1, |last| last.number.saturating_add(1));
        let name = |number: u32| directory.join(format!("{}.{number}", file.as_str()));
        write_whole(&name(number), &bytes, 0o600).map_err(error)?;
        for old in earlier.iter().skip(MAX_EARLIER - 1) {
            fs::remove_file(name(old.number)).map_err(error)?;
        }
        Ok(())
    }

    /// Names of all that it knows.
    fn known(&self) -> Result<Vec<FileName>, FileError> {
        let Some(own) = directory(self.home, self.agent) else { return Ok(Vec::new()) };
        Ok(names(&own.join("knowledge"))?.iter().filter_map(|name| file_name(name).ok()).collect())
    }

    fn earlier_directory(&self) -> Option<PathBuf> {
        directory(self.home, self.agent).map(|own| own.join("earlier"))
    }

    /// Where a file is. It lies in the home, whatever links there are on the way.
    fn path(&self, file: &File) -> Result<PathBuf, FileError> {
        let own = directory(self.home, self.agent).ok_or_else(|| FileError::NoDirectory(self.agent.clone()))?;
        let path = match (file, self.named) {
            (File::Known(name), _) => own.join("knowledge").join(name.as_str()),
            (File::Soul, None) => own.join(SOUL),
            (File::Soul, Some(named)) => {
                if !is_text_of_home(named) {
                    return Err(FileError::Elsewhere(named.to_owned()));
                }
                self.home.join(named)
            }
        };
        if is_inside(self.home, &path) { Ok(path) } else { Err(FileError::Elsewhere(path.display().to_string())) }
    }
}

/// Where the files of an agent are. `None`: its name would lead elsewhere.
fn directory(home: &Path, agent: &AgentId) -> Option<PathBuf> {
    (!agent.as_str().starts_with('.')).then(|| home.join("agents").join(agent.as_str()))
}

/// The persona's file of an agent whose entry names none, relative to the home.
pub(super) fn own_soul(agent: &AgentId) -> Option<String> {
    (!agent.as_str().starts_with('.')).then(|| format!("agents/{agent}/{SOUL}"))
}

/// The paths of what it knows now, relative to the home.
pub(super) fn known_paths(home: &Path, agent: &AgentId) -> Vec<String> {
    let known = Files::of(home, agent, None).known().unwrap_or_default();
    known.into_iter().map(|name| format!("agents/{agent}/knowledge/{name}")).collect()
}

/// The name of something to know.
fn file_name(name: &str) -> Result<FileName, FileError> {
    let file = FileName::new(name)?;
    let folded = file.folded();
    let is_text = [".md", ".txt"].iter().any(|end| folded.ends_with(end));
    // The persona has its name for itself.
    if name.contains('/') || name.starts_with('.') || !is_text || folded == SOUL.to_lowercase() {
        return Err(FileError::Kind);
    }
    Ok(file)
}

/// Could a path of the configuration be a persona that people change from a page? Nothing that opens something is.
fn is_text_of_home(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    let is_plain = parts.clone().all(|part| matches!(part, Component::Normal(_)));
    let first = parts.next().map(|part| part.as_os_str().to_owned());
    let is_kept_back = first.is_some_and(|first| KEPT_BACK.iter().any(|kept| first == *kept));
    let is_text = Path::new(path).extension().is_some_and(|end| end == "md" || end == "txt");
    is_plain && !is_kept_back && is_text
}

/// Does what is there of a path lie in the home?
fn is_inside(home: &Path, path: &Path) -> bool {
    let Ok(home) = home.canonicalize() else { return false };
    let there = path.ancestors().find(|part| fs::symlink_metadata(part).is_ok());
    there.and_then(|there| there.canonicalize().ok()).is_some_and(|there| there.starts_with(&home))
}

/// Names in a directory in their order; none, if it is not there. What is being written does not count.
fn names(directory: &Path) -> Result<Vec<String>, FileError> {
    let error = |source| FileError::Disk { path: directory.display().to_string(), source };
    let entries = match fs::read_dir(directory) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(error)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(error)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A text, and no longer one than that.
pub(super) fn read_text(path: &Path, max_bytes: usize) -> Result<String, FileError> {
    let shown = || path.display().to_string();
    let bytes = read_at_most(path, max_bytes + 1).map_err(|source| FileError::Disk { path: shown(), source })?;
    if bytes.len() > max_bytes {
        return Err(FileError::TooLong(max_bytes));
    }
    String::from_utf8(bytes).map_err(|_error| FileError::NoText(shown()))
}

fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    fn agent(name: &str) -> AgentId {
        AgentId::new(name).unwrap()
    }

    fn known(name: &str) -> File {
        File::parse(name).unwrap()
    }

    #[test]
    fn what_was_written_is_known_in_the_order_of_names() {
        let home = tempfile::tempdir().unwrap();
        let agent = agent("reception");
        let files = Files::of(home.path(), &agent, None);
        files.write(&known("b.md"), "Second.\n").unwrap();
        files.write(&known("a.txt"), "First.").unwrap();
        fs::write(home.path().join("agents/reception/knowledge/c.pdf"), "x").unwrap();
        fs::write(home.path().join("agents/reception/knowledge/d.md"), b"\xff").unwrap();
        let knowledge = Knowledge::read(home.path(), &agent).unwrap();
        let shown: Vec<_> = knowledge.files.iter().map(|file| (file.name.as_str(), file.told_bytes)).collect();
        assert_eq!(shown, [("a.txt", 6), ("b.md", 8), ("d.md", 0)]);
        assert!(knowledge.files.last().unwrap().problem.is_some());
        assert_eq!(knowledge.ignored.len(), 1);
        let told = knowledge.behind("Be kind.\n");
        assert_eq!(told, format!("Be kind.\n\n{HEAD}\n\n## a.txt\n\nFirst.\n\n## b.md\n\nSecond."));
        assert_eq!(Knowledge::default().behind("Be kind.\n"), "Be kind.\n");
    }

    #[test]
    fn the_prompt_holds_its_share_and_whole_lines() {
        let line = "0123456789\n";
        let long = line.repeat(MAX_KNOWLEDGE_BYTES / line.len() + 7);
        let mut knowledge = Knowledge::default();
        let name = |name: &str| FileName::new(name).unwrap();
        knowledge.tell(vec![
            (name("a.md"), Ok("short\n".to_owned())),
            (name("b.md"), Ok(long.clone())),
            (name("c.md"), Ok("never".to_owned())),
        ]);
        let told: Vec<usize> = knowledge.files.iter().map(|file| file.told_bytes).collect();
        assert_eq!(told.first(), Some(&6));
        assert!(told.iter().sum::<usize>() <= MAX_KNOWLEDGE_BYTES && told.get(1).unwrap() % line.len() == 0);
        assert_eq!(told.get(2), Some(&0), "what follows is not told out of its order");
        assert!(knowledge.behind("x").ends_with("[the rest of this file is left out]"));
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        for name in [
            "../x.md",
            "a/b.md",
            "/etc/passwd",
            "..",
            ".hidden.md",
            "x.pdf",
            "x",
            "soul.md",
            "SOUL.MD",
            "a\u{202e}.md",
            "",
        ] {
            assert!(File::parse(name).is_err(), "{name:?}");
        }
        assert_eq!(File::parse("SOUL.md").unwrap(), File::Soul);
        let home = tempfile::tempdir().unwrap();
        for name in ["..", ".", ".x"] {
            let agent = agent(name);
            let files = Files::of(home.path(), &agent, None);
            assert!(matches!(files.write(&known("a.md"), "x"), Err(FileError::NoDirectory(_))), "{name}");
            assert!(matches!(files.write(&File::Soul, "x"), Err(FileError::NoDirectory(_))), "{name}");
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn nothing_that_opens_something_is_a_persona() {
        let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let agent = agent("a");
        fs::write(outside.path().join("x.md"), "outside").unwrap();
        symlink(outside.path(), home.path().join("linked")).unwrap();
        symlink(outside.path().join("x.md"), home.path().join("link.md")).unwrap();
        let outside_file = outside.path().join("x.md");
        for path in [
            "device.key",
            "admin.token",
            "config.toml",
            "secrets/x.md",
            "../x.md",
            "a/../../x.md",
            outside_file.to_str().unwrap(),
            "linked/x.md",
            "link.md",
        ] {
            let files = Files::of(home.path(), &agent, Some(path));
            assert!(matches!(files.read(&File::Soul), Err(FileError::Elsewhere(_))), "{path}");
            assert!(matches!(files.write(&File::Soul, "x"), Err(FileError::Elsewhere(_))), "{path}");
        }
        assert_eq!(fs::read_to_string(outside_file).unwrap(), "outside");
        symlink(outside.path(), home.path().join("agents")).unwrap();
        assert!(Files::of(home.path(), &agent, None).write(&known("a.md"), "x").is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_file_said_is_kept_and_the_oldest_go() {
        let home = tempfile::tempdir().unwrap();
        let agent = agent("a");
        let files = Files::of(home.path(), &agent, None);
        assert_eq!(files.read(&File::Soul).unwrap(), None);
        for n in 0..14 {
            files.write(&File::Soul, &format!("text {n}")).unwrap();
        }
        files.write(&known("a.md"), "other").unwrap();
        let numbers: Vec<u32> = files.earlier(&File::Soul).unwrap().iter().map(|earlier| earlier.number).collect();
        assert_eq!(numbers, (4..=13).rev().collect::<Vec<_>>());
        assert_eq!(files.read_earlier(&File::Soul, 13).unwrap(), "text 12");
        assert!(matches!(files.read_earlier(&File::Soul, 3), Err(FileError::NoEarlier(_, 3))));
        files.remove(&File::Soul).unwrap();
        assert_eq!(files.read(&File::Soul).unwrap(), None);
        assert_eq!(files.read_earlier(&File::Soul, 14).unwrap(), "text 13");
        assert!(matches!(files.remove(&File::Soul), Err(FileError::NoFile(_))));
        assert_eq!(files.earlier(&known("a.md")).unwrap(), []);
    }

    #[test]
    fn a_text_has_bounds() {
        let home = tempfile::tempdir().unwrap();
        let agent = agent("a");
        let files = Files::of(home.path(), &agent, None);
        assert!(matches!(files.write(&File::Soul, " \n"), Err(FileError::Empty)));
        let long = "x".repeat(MAX_SOUL_BYTES + 1);
        assert!(matches!(files.write(&File::Soul, &long), Err(FileError::TooLong(MAX_SOUL_BYTES))));
        files.write(&known("a.md"), &long).unwrap();
        assert!(matches!(files.write(&known("A.md"), "x"), Err(FileError::Similar(_))));
        assert!(matches!(files.read(&known("b.md")), Err(FileError::NoFile(_))));
        for n in 1..MAX_FILES {
            files.write(&known(&format!("f{n}.md")), "x").unwrap();
        }
        assert!(matches!(files.write(&known("one-more.md"), "x"), Err(FileError::TooMany)));
        files.write(&known("a.md"), "shorter").unwrap();
    }

    proptest! {
        #[test]
        fn what_fits_is_the_beginning_in_whole_lines(text in "(?s).{0,80}", max in 0_usize..100) {
            let told = head(&text, max);
            prop_assert!(text.starts_with(told) && told.len() <= max.max(text.len().min(max)));
            prop_assert!(told.len() == text.len() || told.is_empty() || told.ends_with('\n'));
        }

        #[test]
        fn no_text_that_is_a_name_leaves_its_directory(name in "\\PC{0,20}|[./a-z]{0,12}(\\.md)?") {
            if let Ok(File::Known(name)) = File::parse(&name) {
                let parts: Vec<_> = Path::new(name.as_str()).components().collect();
                prop_assert!(matches!(parts.as_slice(), [Component::Normal(_)]));
            }
        }
    }
}
