//! What the configuration was: the last texts of it, and the way back.
//!
//! ```text
//! <home>/revisions/0007.toml      was used: a start or a reload succeeded with it
//! <home>/revisions/0007.by        who made it, where that is known
//! <home>/revisions/0008.bad.yml   was in the file and never used, when something else took its place
//! <home>/revisions/replaced       names of configurations that do not count beside another
//! ```
//!
//! Files have mode 600, as there may be secrets in them. A configuration whose syntax changes has two names
//! for a moment. So that no power cut leaves a home with two configurations, or with none, the old name is
//! first written into `replaced`: from then on it counts only while it is alone.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest as sha;

use super::file::{self, Located, Syntax};
use super::{Error, Loaded};
use crate::document::{Document, Secret, Variables, read_at_most, sync_directory, write_whole};

/// How many are kept.
const MAX_REVISIONS: usize = 10;
/// Names that do not count beside another.
const REPLACED: &str = "replaced";
/// Longest name of somebody who made one.
const MAX_NAME_BYTES: usize = 256;

/// Why a revision cannot be kept, found or put in place. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// The disk or the directory refuses.
    #[error("cannot use {}: {source}; see that this user may write there and that the disk is not full", path.display())]
    Disk {
        /// File or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is there now cannot be kept, so nothing takes its place.
    #[error(transparent)]
    Present(#[from] file::Error),
    /// No such number.
    #[error("there is no revision {0}; `config revisions` lists those there are")]
    Unknown(u32),
    /// Nothing to go back to.
    #[error("there is no other good revision; `config revisions` lists those there are")]
    NoneOther,
}

/// A text that the configuration once had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// From 1; a later one has a higher number.
    pub number: u32,
    /// Was it used?
    pub is_good: bool,
    /// How it is written.
    pub syntax: Syntax,
    /// When it was kept.
    pub kept_at: SystemTime,
    /// Length of the text.
    pub size_bytes: u64,
    /// Who made it, where that is known.
    pub by: Option<String>,
    path: PathBuf,
}

impl Revision {
    fn named(directory: &Path, name: &str) -> Option<Self> {
        let (number, rest) = name.split_once('.')?;
        let (is_good, extension) = match rest.strip_prefix("bad.") {
            Some(extension) => (false, extension),
            None => (true, rest),
        };
        let syntax = [Syntax::Toml, Syntax::Yaml].into_iter().find(|syntax| syntax.names().1 == extension)?;
        let path = directory.join(name);
        let metadata = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
        let kept_at = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let by = read_at_most(&signature(directory, number), MAX_NAME_BYTES).ok();
        let by = by.and_then(|by| String::from_utf8(by).ok()).filter(|by| !by.is_empty());
        Some(Self { number: number.parse().ok()?, is_good, syntax, kept_at, size_bytes: metadata.len(), by, path })
    }

    fn name(number: u32, is_good: bool, syntax: Syntax) -> String {
        format!("{number:04}.{}{}", if is_good { "" } else { "bad." }, syntax.names().1)
    }

    fn content(&self) -> Result<Vec<u8>, RevisionError> {
        let bytes = read_at_most(&self.path, crate::document::MAX_BYTES + 1);
        bytes.map_err(|source| RevisionError::Disk { path: self.path.clone(), source })
    }

    /// A digest of the text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn digest(&self) -> Result<String, RevisionError> {
        Ok(digest(&self.content()?))
    }

    /// What it says, one value a line, without its secrets. Problems name the file of the revision.
    ///
    /// # Errors
    /// When it cannot be read, or has errors of syntax.
    pub fn redacted(&self, home: &Path, variables: &dyn Variables) -> Result<Vec<String>, Error> {
        let located = Located { path: self.path.clone(), syntax: self.syntax };
        super::redacted(&located, home, variables)
    }
}

/// Where it stands who made a revision.
fn signature(directory: &Path, number: &str) -> PathBuf {
    directory.join(format!("{number}.by"))
}

/// SHA-256 of a text, in hexadecimal digits: what an editor started from.
#[must_use]
pub fn digest(text: &[u8]) -> String {
    sha::digest(&sha::SHA256, text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The revisions of a home.
#[derive(Debug)]
pub struct Revisions {
    home: PathBuf,
    directory: PathBuf,
}

impl Revisions {
    /// Those of this home. Nothing is read yet.
    #[must_use]
    pub fn of(home: &Path) -> Self {
        Self { home: home.to_owned(), directory: home.join("revisions") }
    }

    /// All of them, the oldest first.
    ///
    /// # Errors
    /// When the directory is there and cannot be read.
    pub fn list(&self) -> Result<Vec<Revision>, RevisionError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.disk(source)),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut revisions: Vec<_> = names.filter_map(|name| Revision::named(&self.directory, &name)).collect();
        revisions.sort_by_key(|revision| (revision.number, revision.is_good));
        Ok(revisions)
    }

    /// The one with this number.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, number: u32) -> Result<Revision, RevisionError> {
        let found = self.list()?.into_iter().find(|revision| revision.number == number);
        found.ok_or(RevisionError::Unknown(number))
    }

    /// Keeps the text of settings that are in use now, unless it is the newest already.
    ///
    /// # Errors
    /// When the disk refuses. The settings are as good as before.
    pub fn keep_used(&self, file: &Path, text: &Secret) -> Result<(), RevisionError> {
        self.keep(text.expose().as_bytes(), Located::at(file)?.syntax, true)
    }

    /// Notes who made the newest text that has this digest.
    ///
    /// # Errors
    /// When the disk refuses; nothing depends on it.
    pub fn sign(&self, digest: &str, by: &str) -> Result<(), RevisionError> {
        let newest = self.list()?.into_iter().rfind(|revision| revision.digest().is_ok_and(|own| own == digest));
        let Some(revision) = newest else { return Ok(()) };
        let path = signature(&self.directory, &format!("{:04}", revision.number));
        write_whole(&path, by.as_bytes(), 0o600).map_err(|source| RevisionError::Disk { path, source })
    }

    /// Ends what a power cut interrupted while a file with another name took the place of the configuration.
    ///
    /// # Errors
    /// When the disk refuses. The file that is on its way out does not count in any case.
    pub fn finish_replacing(&self) -> Result<(), RevisionError> {
        let replaced = replaced(&self.home);
        if replaced.is_empty() {
            return Ok(());
        }
        let present = file::present(&self.home)?;
        if present.iter().any(|name| !replaced.iter().any(|gone| gone == name)) {
            for name in present.iter().filter(|name| replaced.iter().any(|gone| gone == *name)) {
                fs::remove_file(self.home.join(name)).map_err(|source| self.disk(source))?;
            }
            sync_directory(&self.home).map_err(|source| self.disk(source))?;
        }
        let mark = self.directory.join(REPLACED);
        fs::remove_file(&mark).map_err(|source| RevisionError::Disk { path: mark, source })?;
        sync_directory(&self.directory).map_err(|source| self.disk(source))
    }

    /// The newest one that was used, parsed.
    pub(super) fn last_good(&self) -> Option<Document> {
        let revision = self.list().ok()?.into_iter().rfind(|revision| revision.is_good)?;
        let located = Located { path: revision.path, syntax: revision.syntax };
        located.parse(&located.read().ok()?).ok()
    }

    fn keep(&self, text: &[u8], syntax: Syntax, is_good: bool) -> Result<(), RevisionError> {
        let revisions = self.list()?;
        if let Some(newest) = revisions.last()
            && newest.syntax == syntax
            && newest.content().is_ok_and(|content| content == text)
        {
            if is_good && !newest.is_good {
                let good = self.directory.join(Revision::name(newest.number, true, syntax));
                fs::rename(&newest.path, good).map_err(|source| self.disk(source))?;
                sync_directory(&self.directory).map_err(|source| self.disk(source))?;
            }
            return Ok(());
        }
        self.make_directory().map_err(|source| self.disk(source))?;
        let number = revisions.last().map_or(1, |newest| newest.number.saturating_add(1));
        let name = Revision::name(number, is_good, syntax);
        let path = self.directory.join(&name);
        write_whole(&path, text, 0o600).map_err(|source| RevisionError::Disk { path, source })?;
        let mut revisions = revisions;
        revisions.extend(Revision::named(&self.directory, &name));
        let last_good = revisions.iter().rfind(|revision| revision.is_good).map(|revision| revision.number);
        let digests: Vec<_> = revisions.iter().map(|revision| revision.digest().ok()).collect();
        let comes_again =
            |n: usize| digests.get(n).is_some_and(|digest| digests.iter().skip(n + 1).any(|later| later == digest));
        // First those whose text is there once more: going back and forth must not push out what went before.
        let mut old: Vec<(usize, &Revision)> = revisions.iter().enumerate().collect();
        old.sort_by_key(|(n, _)| (!comes_again(*n), *n));
        let n_surplus = revisions.len().saturating_sub(MAX_REVISIONS);
        let old = old.into_iter().map(|(_, revision)| revision).filter(|revision| Some(revision.number) != last_good);
        let old: Vec<&Revision> = old.take(n_surplus).collect();
        for revision in old {
            fs::remove_file(&revision.path)
                .map_err(|source| RevisionError::Disk { path: revision.path.clone(), source })?;
            let _absent = fs::remove_file(signature(&self.directory, &format!("{:04}", revision.number)));
        }
        Ok(())
    }

    /// Keeps what lies in the home now. It is good if it was used before under any number.
    fn keep_present(&self) -> Result<(), RevisionError> {
        for name in file::present(&self.home)? {
            let located = Located::at(&self.home.join(name))?;
            let text = located.read_bytes()?;
            let is_same =
                |revision: &Revision| revision.is_good && revision.content().is_ok_and(|content| content == text);
            let is_good = self.list()?.iter().any(is_same);
            self.keep(&text, located.syntax, is_good)?;
        }
        Ok(())
    }

    fn make_directory(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            made => made?,
        }
        let owner = fs::metadata(&self.home)?;
        if fs::metadata(&self.directory)?.uid() != owner.uid() {
            lchown(&self.directory, Some(owner.uid()), Some(owner.gid()))?;
        }
        sync_directory(&self.home)
    }

    fn disk(&self, source: io::Error) -> RevisionError {
        RevisionError::Disk { path: self.directory.clone(), source }
    }
}

/// Names that do not count beside another.
pub(super) fn replaced(home: &Path) -> Vec<String> {
    let text = fs::read_to_string(home.join("revisions").join(REPLACED)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A text that is to become the configuration of a home.
pub struct Candidate {
    located: Located,
    text: Vec<u8>,
    /// Where it comes from, if it was the configuration before.
    pub revision: Option<Revision>,
}

/// Without the text: there may be secrets in it.
impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("located", &self.located).finish_non_exhaustive()
    }
}

impl Candidate {
    /// A revision: the one with this number, or the last good one that differs from what is there now.
    ///
    /// # Errors
    /// When there is none.
    pub fn revision(home: &Path, number: Option<u32>) -> Result<Self, RevisionError> {
        let revisions = Revisions::of(home);
        let revision = match number {
            Some(number) => revisions.get(number)?,
            None => {
                let now = match file::locate(home) {
                    Ok(Some(located)) => located.read_bytes().ok().map(|text| (located.syntax, text)),
                    Ok(None) | Err(_) => None,
                };
                let is_other = |revision: &Revision| {
                    let text = revision.content().ok().map(|text| (revision.syntax, text));
                    text.is_some() && text != now
                };
                let mut good = revisions.list()?.into_iter().rev().filter(|revision| revision.is_good);
                good.find(is_other).ok_or(RevisionError::NoneOther)?
            }
        };
        let (located, text) = (destination(home, revision.syntax)?, revision.content()?);
        Ok(Self { located, text, revision: Some(revision) })
    }

    /// A text that somebody wrote; in the syntax of what is there now unless another is named.
    ///
    /// # Errors
    /// When nobody can tell what is there now.
    pub fn text(home: &Path, text: String, syntax: Option<Syntax>) -> Result<Self, RevisionError> {
        let now = || Ok::<_, RevisionError>(file::locate(home)?.map_or(Syntax::Toml, |located| located.syntax));
        let syntax = syntax.map_or_else(now, Ok)?;
        Ok(Self { located: destination(home, syntax)?, text: text.into_bytes(), revision: None })
    }

    /// Where it goes.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.located.path
    }

    /// Was it never used? Then it need not be usable now: somebody wants the text back.
    #[must_use]
    pub fn is_known_bad(&self) -> bool {
        self.revision.as_ref().is_some_and(|revision| !revision.is_good)
    }

    /// Reads it as what the file will say.
    ///
    /// # Errors
    /// When it cannot be used as it is.
    pub fn check(&self, home: &Path, variables: &dyn Variables) -> Result<Loaded, Error> {
        super::load_text(&self.located, &self.located.decode(self.text.clone())?, home, variables)
    }

    /// Keeps what is there now as a revision and takes its place.
    ///
    /// # Errors
    /// When either is refused. Then what was there is there.
    pub fn put(&self, home: &Path) -> Result<(), RevisionError> {
        let revisions = Revisions::of(home);
        revisions.finish_replacing()?;
        revisions.keep_present()?;
        // A file that is a link is written where it leads.
        let path = fs::canonicalize(&self.located.path).unwrap_or_else(|_absent| self.located.path.clone());
        let disk = |source| RevisionError::Disk { path: path.clone(), source };
        let present = file::present(home)?;
        let others: Vec<_> = present.iter().filter(|name| home.join(name) != self.located.path).copied().collect();
        // A home that has several configurations already may have them a moment longer.
        let has_mark = present.len() == 1 && !others.is_empty();
        if has_mark {
            revisions.make_directory().map_err(disk)?;
            write_whole(&revisions.directory.join(REPLACED), others.concat().as_bytes(), 0o600).map_err(disk)?;
        }
        let mode = present.iter().find_map(|name| fs::metadata(home.join(name)).ok());
        let mode = mode.map_or(0o600, |metadata| metadata.permissions().mode() & 0o777);
        let written = write_whole(&path, &self.text, mode).map_err(disk);
        if has_mark || written.is_err() {
            // What cannot be removed now does not count, and is removed at the next start.
            let _ = revisions.finish_replacing();
        } else {
            for name in others {
                fs::remove_file(home.join(name)).map_err(disk)?;
            }
            sync_directory(home).map_err(disk)?;
        }
        written
    }
}

fn destination(home: &Path, syntax: Syntax) -> Result<Located, RevisionError> {
    for name in file::present(home)? {
        let located = Located::at(&home.join(name))?;
        if located.syntax == syntax {
            return Ok(located);
        }
    }
    Ok(Located { path: home.join(syntax.names().0), syntax })
}

#[cfg(test)]
mod tests;
