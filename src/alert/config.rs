//! The `[alerts]` section.

use std::fmt;
use std::net::IpAddr;

use lettre::Address;
use reqwest::Url;

use super::Target;
use crate::channel::SigningKeys;
use crate::document::{Secret, Section, Severity};

/// People who get e-mails, at most.
const MAX_PEOPLE: usize = 10;

/// Who is told what is wrong.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// By e-mail.
    pub email: Option<Email>,
    /// By a signed POST.
    pub post: Option<Post>,
    /// Messages a day at most, over all ways.
    pub per_day: u32,
}

/// E-mails and the server that takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    /// Who gets them.
    pub to: Vec<Address>,
    /// Who they are from.
    pub from: Address,
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way to it is protected.
    pub security: Security,
    /// Who sends, as the server knows it.
    pub login: Option<(String, Secret)>,
}

/// How the way to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// From the first byte on.
    Tls,
    /// From the command `STARTTLS` on, and never without.
    StartTls,
    /// Not at all: for a server on this machine or in the local network.
    None,
}

/// A program that is told.
#[derive(Clone)]
pub struct Post {
    /// Where.
    pub url: Url,
    /// What it is signed with.
    pub keys: SigningKeys,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl Config {
    /// Without a section.
    #[must_use]
    pub fn absent() -> Self {
        Self { per_day: 20, ..Self::default() }
    }

    /// Takes the section's keys. Problems are noted there.
    pub fn read(section: &mut Section<'_>) -> Self {
        let absent = Self::absent();
        let per_day = section.take_integer("max_per_day", 1..=1_000).and_then(|n| u32::try_from(n).ok());
        Self { email: read_email(section), post: read_post(section), per_day: per_day.unwrap_or(absent.per_day) }
    }

    /// The ways by which somebody is told.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let ways = [(Target::Email, self.email.is_some()), (Target::Webhook, self.post.is_some())];
        ways.into_iter().filter(|(_, is_there)| *is_there).map(|(target, _)| target).collect()
    }
}

/// The server that takes e-mails for a mailbox, and its port: of vendors that are known for it, else a guess.
#[must_use]
pub fn server_of(address: &str) -> Option<(String, u16)> {
    const KNOWN: [(&[&str], &str, u16); 9] = [
        (&["gmail.com", "googlemail.com"], "smtp.gmail.com", 465),
        (&["gmx.de", "gmx.net", "gmx.at", "gmx.ch"], "mail.gmx.net", 465),
        (&["web.de"], "smtp.web.de", 587),
        (&["t-online.de", "magenta.de"], "securesmtp.t-online.de", 465),
        (&["icloud.com", "me.com", "mac.com"], "smtp.mail.me.com", 587),
        (&["yahoo.com", "yahoo.de"], "smtp.mail.yahoo.com", 465),
        (&["outlook.com", "outlook.de", "hotmail.com", "hotmail.de", "live.com"], "smtp-mail.outlook.com", 587),
        (&["freenet.de"], "mx.freenet.de", 465),
        (&["posteo.de", "posteo.net"], "posteo.de", 465),
    ];
    let address: Address = address.trim().parse().ok()?;
    let domain = address.domain().to_ascii_lowercase();
    let known = KNOWN.iter().find(|(domains, _, _)| domains.contains(&domain.as_str()));
    Some(known.map_or_else(|| (format!("smtp.{domain}"), 465), |(_, host, port)| ((*host).to_owned(), *port)))
}

impl Security {
    /// As the configuration has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::StartTls => "starttls",
            Self::None => "none",
        }
    }
}

fn read_email(section: &mut Section<'_>) -> Option<Email> {
    let mut to = section.take_parsed_list("email", address);
    if to.len() > MAX_PEOPLE {
        let help = Some("use the address of a list".to_owned());
        section.problem(Severity::Error, "email", format!("there are more than {MAX_PEOPLE} addresses"), help);
        to.truncate(MAX_PEOPLE);
    }
    let host = section.take_parsed("smtp_host", host);
    let port = section.take_integer("smtp_port", 1..=65_535).and_then(|port| u16::try_from(port).ok());
    let choices = [("tls", Security::Tls), ("starttls", Security::StartTls), ("none", Security::None)];
    let security = section.take_choice("smtp_security", &choices).unwrap_or(match port {
        Some(587) => Security::StartTls,
        _ => Security::Tls,
    });
    let (user, password) = (section.take_string("smtp_user"), section.take_secret("smtp_password"));
    let from = section.take_parsed("from", address);
    if !section.has("email") {
        if section.has("smtp_host") {
            section.missing("email", "email = [\"owner@example.com\"], who is told");
        }
        return None;
    }
    section.missing("smtp_host", "smtp_host = \"smtp.example.com\", the server that takes the e-mails");
    if user.is_some() != password.is_some() && section.has("smtp_user") != section.has("smtp_password") {
        section.missing("smtp_user", "smtp_user = \"owner@example.com\", who logs in to the mail server");
        section.missing("smtp_password", "smtp_password = \"${SMTP_PASSWORD}\"");
    }
    let host = host?;
    if security == Security::None && !is_near(&host) {
        let message = "the e-mails, and the password, would travel unencrypted";
        section.problem(Severity::Error, "smtp_security", message, Some("write \"tls\" or \"starttls\"".to_owned()));
        return None;
    }
    let port = port.unwrap_or(match security {
        Security::Tls => 465,
        Security::StartTls => 587,
        Security::None => 25,
    });
    let from = from.or_else(|| user.as_deref().and_then(|user| user.parse().ok())).or_else(|| to.first().cloned())?;
    (!to.is_empty()).then(|| Email { to, from, host, port, security, login: user.zip(password) })
}

fn read_post(section: &mut Section<'_>) -> Option<Post> {
    let url = section.take_parsed("webhook_url", |text: &str| match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(format!("{text:?} is not an http or https address")),
    });
    let secret = section.take_secret("webhook_secret");
    if section.has("webhook_url") {
        section.missing(
            "webhook_secret",
            "webhook_secret = \"${ALERT_SECRET}\", what the receiver checks signatures with",
        );
    }
    if section.has("webhook_secret") {
        section.missing("webhook_url", "webhook_url = \"https://example.com/alerts\", where alerts are posted");
    }
    let (url, secret) = (url?, secret?);
    let mut keys = SigningKeys::default();
    keys.add(&secret);
    Some(Post { url, keys })
}

fn address(text: &str) -> Result<Address, String> {
    text.trim().parse().map_err(|_error| format!("{text:?} is no e-mail address"))
}

fn host(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':'));
    match is_name && (!text.contains(':') || text.parse::<IpAddr>().is_ok()) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no host name; write it without scheme and port, as in \"smtp.example.com\"")),
    }
}

/// Is the server on this machine or in a private network, as far as its name tells?
fn is_near(host: &str) -> bool {
    match host.parse() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        Err(_) => !host.contains('.') || host.ends_with(".local") || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, NoVariables};

    fn read(toml: &str, expected: &[&str]) -> Config {
        let document = Document::parse_toml("t", toml).unwrap();
        let mut section = document.root(&NoVariables);
        let config = Config::read(&mut section);
        section.finish();
        let problems: Vec<String> = document.problems().into_iter().map(|problem| problem.message).collect();
        assert_eq!(problems, expected, "{toml}");
        config
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let email = |toml: &str| read(&format!("email = ['a@example.com']\n{toml}"), &[]).email.unwrap();
        let plain = email("smtp_host = 'smtp.example.com'");
        assert_eq!((plain.port, plain.security, plain.from.as_ref()), (465, Security::Tls, "a@example.com"));
        let login = "smtp_host = 'mx'\nsmtp_port = 587\nsmtp_user = 'desk@example.com'\nsmtp_password = 'p'";
        let login = email(login);
        assert_eq!((login.security, login.from.as_ref()), (Security::StartTls, "desk@example.com"));
        assert_eq!(email("smtp_host = '127.0.0.1'\nsmtp_security = 'none'").port, 25);
        assert_eq!(read("", &[]).targets(), []);
        let posts = read("webhook_url = 'https://example.com/a'\nwebhook_secret = 's'\nmax_per_day = 3", &[]);
        assert_eq!((posts.targets(), posts.per_day), (vec![Target::Webhook], 3));
    }

    #[test]
    fn a_mailbox_tells_its_server() {
        let check = |address: &str, expected: Option<(&str, u16)>| {
            assert_eq!(server_of(address), expected.map(|(host, port)| (host.to_owned(), port)), "{address}");
        };
        check("Ada@GMail.com", Some(("smtp.gmail.com", 465)));
        check("desk@pine.example", Some(("smtp.pine.example", 465)));
        check("nobody", None);
    }

    #[test]
    fn what_cannot_work_is_said() {
        read("smtp_host = 'a'", &["\"email\" is missing"]);
        read("email = ['a@b.c']", &["\"smtp_host\" is missing"]);
        read("email = ['nobody']\nsmtp_host = 'a'", &["\"nobody\" is no e-mail address"]);
        read(
            "email = ['a@b.c']\nsmtp_host = 'smtp://a'",
            &["\"smtp://a\" is no host name; write it without scheme and port, as in \"smtp.example.com\""],
        );
        read(
            "email = ['a@b.c']\nsmtp_host = 'smtp.example.com'\nsmtp_security = 'none'",
            &["the e-mails, and the password, would travel unencrypted"],
        );
        read("email = ['a@b.c']\nsmtp_host = 'a'\nsmtp_user = 'u'", &["\"smtp_password\" is missing"]);
        read("webhook_url = 'https://a'", &["\"webhook_secret\" is missing"]);
        read("webhook_secret = 's'", &["\"webhook_url\" is missing"]);
        read("webhook_url = 'ftp://a'\nwebhook_secret = 's'", &["\"ftp://a\" is not an http or https address"]);
    }
}
