//! Where `${NAME}` is looked up.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::expand::is_name;

/// Where `${NAME}` is looked up.
pub trait Variables {
    /// The value of `NAME`, or `None` if there is none.
    fn get(&self, name: &str) -> Option<String>;

    /// Where the value of `NAME` comes from; `None`: there is none.
    fn source(&self, name: &str) -> Option<Source> {
        self.get(name).map(|_value| Source::Environment)
    }

    /// Why [`Variables::get`] has nothing for `name`.
    fn absence(&self, name: &str) -> Absence {
        Absence { reason: format!("${{{name}}} is not set"), help: format!("set the environment variable {name}") }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The environment of the process.
    Environment,
    /// What systemd keeps for it.
    Credentials,
    /// `<home>/secrets/NAME`.
    Secrets,
}

/// No variables at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _name: &str) -> Option<String> {
        None
    }
}

/// Why there is no value, and what to do about it. Neither shows a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// One sentence without a full stop.
    pub reason: String,
    /// What makes it present.
    pub help: String,
}

/// The variables of the product, in this order: the environment of the process,
/// `$CREDENTIALS_DIRECTORY/NAME` (systemd.exec(5), `LoadCredential=`), `<home>/secrets/NAME`.
///
/// A file holds one value; one line end at its end is not part of it. An empty value counts as absent.
/// Names are `[A-Za-z_][A-Za-z0-9_]*`, so that none leads out of a directory. Files under `secrets/`
/// that group or others could read are refused; systemd keeps its own directory.
pub struct SystemVariables {
    environment: BTreeMap<String, String>,
    credentials: Option<PathBuf>,
    secrets: PathBuf,
}

/// Largest file that is taken for a value.
const MAX_VALUE_BYTES: u64 = super::MAX_SECRET_BYTES as u64;

impl SystemVariables {
    /// `environment` is a snapshot: what the process changes later does not count.
    pub fn new(environment: impl IntoIterator<Item = (String, String)>, home: &Path) -> Self {
        let environment: BTreeMap<_, _> = environment.into_iter().collect();
        let credentials = environment.get("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { environment, credentials, secrets: home.join("secrets") }
    }

    fn find(&self, name: &str) -> Result<(String, Source), Absence> {
        if !is_name(name) {
            return Err(Absence {
                reason: format!("{name:?} is not the name of a variable"),
                help: "use letters, digits and `_`".to_owned(),
            });
        }
        if let Some(value) = self.environment.get(name).filter(|value| !value.is_empty()) {
            return Ok((value.clone(), Source::Environment));
        }
        if let Some(directory) = &self.credentials
            && let Some(value) = read(&directory.join(name), name, Access::Any)?
        {
            return Ok((value, Source::Credentials));
        }
        let path = self.secrets.join(name);
        let value = read(&path, name, Access::OwnerOnly)?.ok_or_else(|| self.not_found(name, &path))?;
        Ok((value, Source::Secrets))
    }

    fn not_found(&self, name: &str, path: &Path) -> Absence {
        let credentials = match &self.credentials {
            Some(directory) => format!(", {}", directory.display()),
            None => String::new(),
        };
        Absence {
            reason: format!("${{{name}}} is neither in the environment nor in{credentials} {}", self.secrets.display()),
            help: format!(
                "set the environment variable {name}, or write the value into {} with mode 600",
                path.display()
            ),
        }
    }
}

impl Variables for SystemVariables {
    fn get(&self, name: &str) -> Option<String> {
        self.find(name).ok().map(|(value, _)| value)
    }

    fn source(&self, name: &str) -> Option<Source> {
        self.find(name).ok().map(|(_, source)| source)
    }

    fn absence(&self, name: &str) -> Absence {
        match self.find(name) {
            Err(absence) => absence,
            Ok(_) => Absence {
                reason: format!("${{{name}}} was not there a moment ago"),
                help: "read the configuration again".to_owned(),
            },
        }
    }
}

/// Without the values.
impl fmt::Debug for SystemVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemVariables")
            .field("credentials", &self.credentials)
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}

/// Who may be able to read a file that holds a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Any,
    OwnerOnly,
}

/// The value in a file; `None` if there is no file or nothing in it.
fn read(path: &Path, name: &str, access: Access) -> Result<Option<String>, Absence> {
    let refuse = |why: String, help: String| {
        Err(Absence { reason: format!("${{{name}}} cannot be read from {}: {why}", path.display()), help })
    };
    // Asked by path first: opening a pipe would wait for somebody to write into it.
    let kind = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return refuse(error.to_string(), "make it readable for the user that runs this".to_owned()),
    };
    if !kind.is_file() {
        return refuse("it is not a file".to_owned(), "put the value into a file of that name".to_owned());
    }
    let mut bytes = Vec::new();
    let mode = match read_bytes(path, &mut bytes) {
        Ok(mode) => mode,
        Err(error) => return refuse(error.to_string(), "make it readable for the user that runs this".to_owned()),
    };
    if access == Access::OwnerOnly && mode & 0o077 != 0 {
        let why = format!("group or others may use it (mode {:o})", mode & 0o777);
        return refuse(why, format!("run: chmod 600 {}", path.display()));
    }
    if bytes.len() as u64 > MAX_VALUE_BYTES {
        return refuse(format!("it is longer than {MAX_VALUE_BYTES} bytes"), "put only the value into it".to_owned());
    }
    let Ok(mut text) = String::from_utf8(bytes) else {
        return refuse("it is not UTF-8 text".to_owned(), "write the value as text".to_owned());
    };
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Reads a little more than is allowed, and answers the mode of the very file that was read.
fn read_bytes(path: &Path, bytes: &mut Vec<u8>) -> io::Result<u32> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    file.take(MAX_VALUE_BYTES + 1).read_to_end(bytes)?;
    Ok(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        directory: tempfile::TempDir,
        environment: Vec<(String, String)>,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let credentials = directory.path().join("credentials");
            fs::create_dir(&credentials).unwrap();
            fs::create_dir_all(directory.path().join("home/secrets")).unwrap();
            let variable = ("CREDENTIALS_DIRECTORY".to_owned(), credentials.to_str().unwrap().to_owned());
            Self { directory, environment: vec![variable] }
        }

        fn variable(mut self, name: &str, value: &str) -> Self {
            self.environment.push((name.to_owned(), value.to_owned()));
            self
        }

        fn file(self, path: &str, content: &[u8], mode: u32) -> Self {
            let path = self.directory.path().join(path);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            self
        }

        fn variables(&self) -> SystemVariables {
            SystemVariables::new(self.environment.clone(), &self.directory.path().join("home"))
        }

        fn check(&self, name: &str, expected: Option<&str>) {
            assert_eq!(self.variables().get(name).as_deref(), expected, "{name}");
        }

        fn check_absent(&self, name: &str, pieces: &[&str]) {
            self.check(name, None);
            let Absence { reason, help } = self.variables().absence(name);
            for piece in pieces {
                assert!(format!("{reason}; {help}").contains(piece), "{reason}; {help}");
            }
        }
    }

    #[test]
    fn the_environment_comes_before_credentials_and_these_before_secrets() {
        let place = Place::new()
            .variable("A", "from the environment")
            .variable("B", "")
            .file("credentials/A", b"no", 0o400)
            .file("credentials/B", b"from credentials\n", 0o440)
            .file("home/secrets/B", b"no", 0o600)
            .file("home/secrets/C", b"from secrets\r\n", 0o600);
        place.check("A", Some("from the environment"));
        place.check("B", Some("from credentials"));
        place.check("C", Some("from secrets"));
    }

    #[test]
    fn one_line_end_is_not_part_of_the_value() {
        let place = Place::new().file("home/secrets/A", b" a\n b \n\n", 0o400).file("home/secrets/B", b"\n", 0o600);
        place.check("A", Some(" a\n b \n"));
        place.check("B", None);
    }

    #[test]
    fn an_absent_variable_says_where_it_was_sought_and_how_to_set_it() {
        let place = Place::new();
        let path = place.directory.path().join("home/secrets/TOKEN");
        place.check_absent("TOKEN", &["${TOKEN}", "environment", "/credentials", path.to_str().unwrap(), "mode 600"]);
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o777] {
            let place = Place::new().file("home/secrets/A", b"hunter2", mode);
            place.check_absent("A", &[&format!("mode {mode:o}"), "chmod 600 "]);
        }
    }

    #[test]
    fn what_is_no_text_file_is_refused() {
        let place = Place::new().file("home/secrets/A", &[0xff, 0xfe], 0o600).file(
            "home/secrets/B",
            &vec![b'x'; 70_000],
            0o600,
        );
        fs::create_dir(place.directory.path().join("home/secrets/C")).unwrap();
        place.check_absent("A", &["not UTF-8"]);
        place.check_absent("B", &["longer than"]);
        place.check_absent("C", &["not a file"]);
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let place = Place::new().file("home/A", b"no", 0o600).file("home/secrets/A", b"yes", 0o600);
        for name in ["../A", "/etc/passwd", "..", ".", "", "a/b", "A\0", "A.b", "1A"] {
            place.check_absent(name, &["not the name of a variable"]);
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let place = Place::new().variable("A", "hunter2");
        assert!(!format!("{:?}", place.variables()).contains("hunter2"));
    }
}
