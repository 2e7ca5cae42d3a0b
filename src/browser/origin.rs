//! Web origins: where a request may come from, and where the page may be framed.

use std::fmt;

use axum::http::{Extensions, HeaderMap, HeaderValue, header};

/// `https://host[:port]`, in lower case, without a default port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    authority: Box<str>,
}

/// How something is reached. A request that came over TLS of our own has it among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// That of the connection which the request came by. In front of a proxy it may be another.
    #[must_use]
    pub fn of_connection(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::Http)
    }
}

/// Why a text is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither `http://` nor `https://`.
    #[error("it does not start with `https://` or `http://`")]
    Scheme,
    /// No host, or something that no host name holds.
    #[error("there is no host name after `://`")]
    Host,
    /// More than an origin.
    #[error("it goes on after the host; write only scheme, host and port, as in `https://chat.example.com`")]
    Path,
}

impl Origin {
    /// Reads an address that consists of scheme, host and port. One slash at the end is forgiven.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let lower = text.to_ascii_lowercase();
        let (scheme, rest) = match (lower.strip_prefix("https://"), lower.strip_prefix("http://")) {
            (Some(rest), _) => (Scheme::Https, rest),
            (None, Some(rest)) => (Scheme::Http, rest),
            (None, None) => return Err(Error::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(Error::Path);
        }
        // These are all the characters that a header of ours will ever repeat.
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        if authority.is_empty() || authority.starts_with(':') || !authority.chars().all(is_host) {
            return Err(Error::Host);
        }
        let default_port = match scheme {
            Scheme::Http => ":80",
            Scheme::Https => ":443",
        };
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        Ok(Self { scheme, authority: authority.into() })
    }

    /// Is it reached over TLS?
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// How strictly a request must prove that it comes from our page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It changes something or opens a socket: another site must not be able to make a visitor's
    /// browser do it.
    Required,
    /// It only reads, and browsers keep the answer from other sites: enough that nothing speaks against it.
    IfPresent,
}

/// Does the request come from a page of ours: the origin it was sent to, or the public one?
pub fn is_ours(headers: &HeaderMap, public: Option<&Origin>, proof: Proof) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let fetch_site = text(header::HeaderName::from_static("sec-fetch-site"));
    match (text(header::ORIGIN), fetch_site) {
        (Some(origin), _) => {
            let Ok(origin) = Origin::parse(origin) else { return false };
            public == Some(&origin) || text(header::HOST).is_some_and(|host| is_host_of(&origin, host))
        }
        // Browsers set this one themselves; a page cannot.
        (None, Some(site)) => site == "same-origin" || (site == "none" && proof == Proof::IfPresent),
        (None, None) => proof == Proof::IfPresent,
    }
}

/// Does the cookie travel over TLS? True if the request came over TLS of our own, or the public address does and the
/// request came by it.
///
/// A box with a public address is also visited as `http://frontdesk.local`, where browsers would drop
/// a `Secure` cookie. A proxy that ends TLS keeps the host, says so in `X-Forwarded-Proto`, or sits
/// on this machine.
pub fn is_secure(scheme: Scheme, headers: &HeaderMap, public: Option<&Origin>) -> bool {
    if scheme == Scheme::Https {
        return true;
    }
    let Some(public) = public.filter(|origin| origin.is_https()) else { return false };
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let forwarded = text(header::HeaderName::from_static("x-forwarded-proto"));
    let Some(host) = text(header::HOST) else { return true };
    forwarded == Some("https") || is_host_of(public, host) || is_loopback(host)
}

/// A `Host` header does not say the scheme, so it is read with that of `origin`.
fn is_host_of(origin: &Origin, host: &str) -> bool {
    let scheme = if origin.is_https() { "https" } else { "http" };
    Origin::parse(&format!("{scheme}://{host}")).as_ref() == Ok(origin)
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    name == "localhost" || name == "[::1]" || name.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn origins_are_read_in_one_form() {
        let check = |text, expected: Result<&str, Error>| {
            assert_eq!(Origin::parse(text).map(|o| o.to_string()), expected.map(str::to_owned), "{text}");
        };
        check("https://chat.example.com", Ok("https://chat.example.com"));
        check("https://Chat.Example.com:443/", Ok("https://chat.example.com"));
        check("http://[::1]:8080", Ok("http://[::1]:8080"));
        check("http://localhost:80", Ok("http://localhost"));
        check("null", Err(Error::Scheme));
        check("ftp://example.com", Err(Error::Scheme));
        check("https://", Err(Error::Host));
        check("https://:443", Err(Error::Host));
        check("https://a b", Err(Error::Host));
        check("https://a;script-src *", Err(Error::Host));
        check("https://user@example.com", Err(Error::Host));
        check("https://example.com/chat", Err(Error::Path));
    }

    #[test]
    fn only_our_own_pages_may_write() {
        let public = Origin::parse("https://chat.example.com").unwrap();
        let check = |pairs: &[(&'static str, &str)], proof, expected| {
            assert_eq!(is_ours(&headers(pairs), Some(&public), proof), expected, "{pairs:?}");
        };
        let here = ("host", "127.0.0.1:18789");
        check(&[here, ("origin", "http://127.0.0.1:18789")], Proof::Required, true);
        check(&[here, ("origin", "https://chat.example.com")], Proof::Required, true);
        check(&[here, ("origin", "http://chat.example.com")], Proof::Required, false);
        check(&[here, ("origin", "http://127.0.0.1:18790")], Proof::Required, false);
        check(&[here, ("origin", "https://chat.example.com.evil.example")], Proof::Required, false);
        check(&[here, ("origin", "null")], Proof::Required, false);
        check(&[here, ("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")], Proof::Required, false);
        check(&[here], Proof::Required, false);
        check(&[here, ("sec-fetch-site", "same-origin")], Proof::Required, true);
        check(&[here, ("sec-fetch-site", "cross-site")], Proof::Required, false);
        check(&[here, ("sec-fetch-site", "none")], Proof::Required, false);
        check(&[here], Proof::IfPresent, true);
        check(&[here, ("sec-fetch-site", "same-site")], Proof::IfPresent, false);
        check(&[here, ("origin", "https://evil.example")], Proof::IfPresent, false);
    }

    #[test]
    fn cookies_are_secure_where_the_visitor_came_over_tls() {
        let check = |public: &str, pairs: &[(&'static str, &str)], expected| {
            let public = Origin::parse(public).ok();
            let is_secure = |scheme| is_secure(scheme, &headers(pairs), public.as_ref());
            assert_eq!((is_secure(Scheme::Http), is_secure(Scheme::Https)), (expected, true), "{pairs:?}");
        };
        check("https://chat.example.com", &[("host", "chat.example.com")], true);
        check("https://chat.example.com", &[("host", "127.0.0.1:18789")], true);
        check("https://chat.example.com", &[("host", "10.0.0.7"), ("x-forwarded-proto", "https")], true);
        check("https://chat.example.com", &[("host", "frontdesk.local")], false);
        check("http://chat.example.com", &[("host", "chat.example.com")], false);
        check("", &[("host", "127.0.0.1:18789")], false);
    }
}
