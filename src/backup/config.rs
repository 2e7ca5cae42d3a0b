//! The `[backup]` section.

use std::path::Path;

use super::s3::Client;
use super::{Destination, Error, Schedule, SealWith};
use crate::document::{Secret, Section, Severity};

/// The `[backup]` section.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What backups are encrypted with.
    pub key: Option<SealWith>,
    /// Where they go: a directory, or `s3://bucket/prefix`.
    pub to: Option<String>,
    /// When they are made by the clock; `None`: only when somebody orders one.
    pub schedule: Option<Schedule>,
    /// So many stay, and the full ones that they need.
    pub keep: usize,
    /// Of so many that are made by the clock one is full, the others are incremental.
    pub full_every: u64,
    /// How buckets are reached.
    pub s3: Option<S3>,
}

/// How buckets are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// The server, without the bucket.
    pub endpoint: String,
    /// Signed with every request.
    pub region: String,
    /// Who asks.
    pub access_key: Secret,
    /// What is signed with.
    pub secret_key: Secret,
}

impl Config {
    /// Without a section.
    #[must_use]
    pub fn absent() -> Self {
        Self { keep: 7, full_every: 7, ..Self::default() }
    }

    /// Takes the section's keys. Problems are noted there.
    pub fn read(section: &mut Section<'_>) -> Self {
        let absent = Self::absent();
        let number = |n: u64| usize::try_from(n).ok();
        let config = Self {
            key: read_key(section),
            to: section.take_string("to"),
            schedule: read_schedule(section),
            keep: section.take_integer("keep", 1..=1_000).and_then(number).unwrap_or(absent.keep),
            full_every: section.take_integer("full_every", 1..=100).unwrap_or(absent.full_every),
            s3: read_s3(section),
        };
        let is_bucket = config.to.as_ref().is_some_and(|to| to.starts_with("s3://"));
        if config.schedule.is_some() && config.to.is_none() {
            section.missing("to", "to = \"/media/backup\", or \"s3://bucket/prefix\": where backups go");
        }
        if (config.schedule.is_some() || config.to.is_some())
            && config.key.is_none()
            && !section.has("passphrase")
            && !section.has("recipients")
        {
            section.missing(
                "passphrase",
                "passphrase = \"${BACKUP_PASSPHRASE}\", or recipients: nothing is written in clear",
            );
        }
        if is_bucket && config.s3.is_none() && !section.has("s3_endpoint") {
            section.missing("s3_endpoint", "s3_endpoint = \"https://s3.example.com\", where the bucket is");
        }
        config
    }

    /// Where backups go, if the configuration says so. `client` sends what goes to buckets.
    ///
    /// # Errors
    /// When it names no place.
    pub fn destination(&self, home: &Path, client: &Client) -> Result<Option<Destination>, Error> {
        self.to.as_ref().map(|to| Destination::parse(to, home, self.s3.as_ref(), client)).transpose()
    }
}

fn read_schedule(section: &mut Section<'_>) -> Option<Schedule> {
    let every_hours = section.take_integer("every_hours", 1..=8_760).map(Schedule::EveryHours);
    let daily = section.take_parsed("at", Schedule::daily_at);
    if every_hours.is_some() && daily.is_some() {
        let message = "backups are made at a time of day or every so many hours, not both";
        section.problem(Severity::Error, "at", message, Some("leave one of them out".to_owned()));
    }
    daily.or(every_hours)
}

fn read_key(section: &mut Section<'_>) -> Option<SealWith> {
    let passphrase = section.take_secret("passphrase").map(SealWith::passphrase).transpose();
    let recipients =
        section.take_parsed_list("recipients", |text| SealWith::check_recipient(text).map(|()| text.to_owned()));
    let passphrase = match passphrase {
        Ok(passphrase) => passphrase,
        Err(error) => {
            section.problem(Severity::Error, "passphrase", error.to_string(), None);
            return None;
        }
    };
    match (passphrase, recipients.is_empty()) {
        (Some(_), false) => {
            let message = "age encrypts for a passphrase or for recipients, not for both";
            section.problem(Severity::Error, "recipients", message, Some("leave one of them out".to_owned()));
            None
        }
        (Some(passphrase), true) => Some(passphrase),
        (None, false) => Some(SealWith::Recipients(recipients)),
        (None, true) => None,
    }
}

fn read_s3(section: &mut Section<'_>) -> Option<S3> {
    let endpoint =
        section.take_parsed("s3_endpoint", |text: &str| Client::check_endpoint(text).map(|()| text.to_owned()));
    let region = section.take_string("s3_region").unwrap_or_else(|| "us-east-1".to_owned());
    let (access_key, secret_key) = (section.take_secret("s3_access_key"), section.take_secret("s3_secret_key"));
    if section.has("s3_endpoint") {
        if access_key.is_none() {
            section.missing("s3_access_key", "s3_access_key = \"${S3_ACCESS_KEY}\", who asks the bucket");
        }
        if secret_key.is_none() {
            section.missing("s3_secret_key", "s3_secret_key = \"${S3_SECRET_KEY}\", what requests are signed with");
        }
    }
    Some(S3 { endpoint: endpoint?, region, access_key: access_key?, secret_key: secret_key? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, NoVariables};

    /// Paths of the problems of a section, each with a word that it must have.
    fn check(section: &str, expected: &[(&str, &str)]) {
        let document = Document::parse_toml("config.toml", &format!("[backup]\n{section}")).unwrap();
        let config = Config::read(&mut document.root(&NoVariables).take_section("backup").unwrap());
        let problems = document.problems();
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, expected.iter().map(|(path, _)| *path).collect::<Vec<_>>(), "{config:?}: {problems:?}");
        for (problem, (_, words)) in problems.iter().zip(expected) {
            assert!(problem.to_string().contains(words), "{problem}");
        }
    }

    const PASSPHRASE: &str = "passphrase = \"correct horse\"\n";

    #[test]
    fn what_cannot_work_is_named() {
        let age = "recipients = [\"age1auzgdvjdm7e0eay0mj2schjv78vuyafgm8acs87w5955ufqfr32s8fjj4w\"]\n";
        check(PASSPHRASE, &[]);
        check(&format!("{PASSPHRASE}to = \"/media/stick\"\nevery_hours = 24"), &[]);
        check(&format!("{PASSPHRASE}to = \"/media/stick\"\nat = \"03:00\""), &[]);
        check("keep = 3", &[]);
        check("at = \"3 am\"", &[("backup.at", "no time of day")]);
        check("at = \"03:00\"", &[("backup", "\"to\" is missing"), ("backup", "in clear")]);
        check(
            &format!("{PASSPHRASE}to = \"/media/stick\"\nat = \"03:00\"\nevery_hours = 24"),
            &[("backup.at", "not both")],
        );
        check(age, &[]);
        check(&format!("{PASSPHRASE}{age}"), &[("backup.recipients", "not for both")]);
        check("every_hours = 24", &[("backup", "\"to\" is missing"), ("backup", "in clear")]);
        check("to = \"/media/stick\"", &[("backup", "\"passphrase\" is missing")]);
        check("passphrase = \"short\"", &[("backup.passphrase", "at least 12")]);
        check("passphrase = \"${NONE}\"\nto = \"a\"", &[("backup.passphrase", "not set")]);
        check("recipients = [\"ssh-ed25519 AAAA\"]", &[("backup.recipients[0]", "begin with age1")]);
        check(&format!("{PASSPHRASE}to = \"s3://bucket\""), &[("backup", "\"s3_endpoint\" is missing")]);
        check(
            "s3_endpoint = \"bucket.example\"",
            &[("backup", "s3_access_key"), ("backup", "s3_secret_key"), ("backup.s3_endpoint", "https://")],
        );
        check(&format!("{PASSPHRASE}s3_endpont = \"https://a\""), &[("backup.s3_endpont", "did you mean")]);
    }
}
