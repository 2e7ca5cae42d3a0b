//! `[gateway.acme]`.

use std::net::IpAddr;

use super::is_label;
use crate::document::{Section, Severity};

/// Let's Encrypt.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// From whom a certificate is asked, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeConfig {
    /// Never empty; in lower case.
    pub domains: Vec<String>,
    /// Where the authority writes to.
    pub email: Option<String>,
    /// What it offers.
    pub directory: String,
}

impl AcmeConfig {
    /// Reads the section. `None`: something is missing, and has been noted.
    #[must_use]
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        const AGREE: &str = "terms_of_service_agreed = true, once you have read the terms of the certificate authority; \
                             those of Let's Encrypt are at https://letsencrypt.org/repository/";
        let domains = section.take_parsed_list("domains", domain);
        let email = section.take_parsed("email", email);
        let directory = section.take_parsed("directory_url", directory).unwrap_or_else(|| DIRECTORY.to_owned());
        let is_agreed = section.take_bool("terms_of_service_agreed");
        section.missing("domains", "domains = [\"desk.example.com\"], which lead to this box from the internet");
        section.missing("terms_of_service_agreed", AGREE);
        if is_agreed == Some(false) {
            let message = "without it no certificate is asked for";
            section.problem(Severity::Error, "terms_of_service_agreed", message, Some(AGREE.to_owned()));
        }
        (is_agreed == Some(true) && !domains.is_empty()).then_some(Self { domains, email, directory })
    }
}

fn domain(text: &str) -> Result<String, String> {
    let is_domain = text.len() <= 253
        && text.contains('.')
        && text.split('.').all(is_label)
        && text.parse::<IpAddr>().is_err()
        && !text.to_ascii_lowercase().ends_with(".local");
    match is_domain {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!(
            "{text:?} is no domain that an authority could vouch for; write a whole name such as \"desk.example.com\""
        )),
    }
}

fn email(text: &str) -> Result<String, String> {
    let is_address = text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
        && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, ',' | '?' | '&' | '%'));
    if is_address { Ok(text.to_owned()) } else { Err(format!("{text:?} is no address of e-mail")) }
}

fn directory(text: &str) -> Result<String, String> {
    match text.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no address of a directory; it begins with https://")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_authority_can_vouch_for_is_a_domain() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(domain(text).ok().as_deref(), expected, "{text}");
        check("Desk.Example.com", Some("desk.example.com"));
        check("a.b", Some("a.b"));
        for bad in
            ["", "desk", "desk.", ".desk.example", "192.0.2.1", "frontdesk.local", "*.example.com", "a b.example"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn an_address_cannot_say_more_than_where_to_write() {
        for good in ["a@example.com", "desk+acme@b.example.org"] {
            assert_eq!(email(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "a", "a@b", "@example.com", "a@example.com?x=y", "a@example.com,b@example.com", "a b@example.com"]
        {
            assert!(email(bad).is_err(), "{bad}");
        }
    }
}
