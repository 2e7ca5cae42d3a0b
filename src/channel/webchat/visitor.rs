//! Who a visitor is: a random id in a cookie that only this device can have signed.
//!
//! The value is `<32 hex digits>.<base64url of HMAC-SHA256>` over purpose, entry and id, so that a
//! cookie of one entry is worth nothing at another. There is no other way to name a visitor.

use aws_lc_rs::hmac;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::id::EntryId;

/// As long as browsers keep a cookie at most: 400 days. Every visit starts it anew.
const MAX_AGE_SECONDS: u32 = 400 * 24 * 60 * 60;

/// `anon_<32 hex digits>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Visitor(Box<str>);

impl Visitor {
    /// Somebody who was not here before. `None`: the system gives no random bytes.
    pub(super) fn new() -> Option<Self> {
        Some(Self(format!("anon_{}", crate::id::random()?).into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn from_hex(hex: &str) -> Option<Self> {
        let is_id = hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| Self(format!("anon_{hex}").into()))
    }

    fn hex(&self) -> &str {
        self.0.strip_prefix("anon_").unwrap_or(&self.0)
    }
}

/// From where the browser must send the cookie back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Plain HTTP: on our own pages only.
    OwnPages,
    /// TLS: also in a frame on another site, where each site gets a visitor of its own.
    AnySite,
}

/// Signs and checks the cookies of one entry.
pub(super) struct Cookies {
    name: String,
    path: String,
    entry: EntryId,
    key: hmac::Key,
}

impl Cookies {
    pub(super) fn new(entry: &EntryId, signing_key: &[u8; 32]) -> Self {
        Self {
            name: format!("frontdesk-{entry}"),
            path: format!("/chat/{entry}"),
            entry: entry.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA256, signing_key),
        }
    }

    /// The visitor whose cookie came with the request. A cookie that we did not sign counts for nothing.
    pub(super) fn read(&self, headers: &HeaderMap) -> Option<Visitor> {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name)
            .find_map(|(_, value)| self.verify(value))
    }

    /// The `Set-Cookie` header.
    pub(super) fn write(&self, visitor: &Visitor, reach: Reach) -> Option<HeaderValue> {
        let Self { name, path, .. } = self;
        let value = self.sign(visitor);
        let attributes = match reach {
            Reach::OwnPages => "SameSite=Lax",
            Reach::AnySite => "Secure; SameSite=None; Partitioned",
        };
        let cookie = format!("{name}={value}; Path={path}; Max-Age={MAX_AGE_SECONDS}; HttpOnly; {attributes}");
        HeaderValue::try_from(cookie).ok()
    }

    fn sign(&self, visitor: &Visitor) -> String {
        let tag = hmac::sign(&self.key, &self.signed_bytes(visitor));
        format!("{}.{}", visitor.hex(), URL_SAFE_NO_PAD.encode(tag))
    }

    fn verify(&self, value: &str) -> Option<Visitor> {
        let (hex, tag) = value.split_once('.')?;
        let visitor = Visitor::from_hex(hex)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, &self.signed_bytes(&visitor), &tag).ok()?;
        Some(visitor)
    }

    /// An entry's name has no NUL and the id has a fixed length, so no two pairs give the same bytes.
    fn signed_bytes(&self, visitor: &Visitor) -> Vec<u8> {
        format!("webchat visitor\0{}\0{}", self.entry, visitor.as_str()).into_bytes()
    }
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cookies").field("entry", &self.entry).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(entry: &str, key: u8) -> Cookies {
        Cookies::new(&EntryId::new(entry).unwrap(), &[key; 32])
    }

    fn read(cookies: &Cookies, header: &str) -> Option<Visitor> {
        cookies.read(&HeaderMap::from_iter([(header::COOKIE, header.parse().unwrap())]))
    }

    fn pair(cookies: &Cookies, visitor: &Visitor) -> String {
        format!("{}={}", cookies.name, cookies.sign(visitor))
    }

    #[test]
    fn a_signed_cookie_comes_back_as_the_same_visitor() {
        let cookies = cookies("webchat", 1);
        let visitor = Visitor::new().unwrap();
        assert_eq!(visitor.as_str().len(), "anon_".len() + 32);
        let header = format!("other=1; {}; more=2", pair(&cookies, &visitor));
        assert_eq!(read(&cookies, &header), Some(visitor));
    }

    #[test]
    fn any_change_makes_a_stranger() {
        let cookies = cookies("webchat", 1);
        let good = pair(&cookies, &Visitor::from_hex(&"ab".repeat(16)).unwrap());
        for (at, old) in good.char_indices().skip(cookies.name.len() + 1) {
            // The last character of the tag holds two bits that decode to nothing: change more than those.
            let new = if old == 'A' || old == '0' { 'f' } else { 'A' };
            let mut forged = good.clone();
            forged.replace_range(at..=at, &new.to_string());
            assert_eq!(read(&cookies, &forged), None, "{forged}");
        }
        for value in ["", ".", "anon_", &"ab".repeat(16), &format!("{}.", "ab".repeat(16))] {
            assert_eq!(read(&cookies, &format!("{}={value}", cookies.name)), None, "{value}");
        }
    }

    #[test]
    fn a_cookie_of_another_entry_or_device_is_worth_nothing() {
        let visitor = Visitor::new().unwrap();
        let ours = cookies("webchat", 1);
        for theirs in [cookies("webchat-2", 1), cookies("webchat", 2)] {
            assert_eq!(read(&ours, &format!("{}={}", ours.name, theirs.sign(&visitor))), None);
        }
    }

    #[test]
    fn a_forged_cookie_beside_the_good_one_does_not_hide_it() {
        let cookies = cookies("webchat", 1);
        let visitor = Visitor::new().unwrap();
        let header = format!("{}=forged.AAAA; {}", cookies.name, pair(&cookies, &visitor));
        assert_eq!(read(&cookies, &header), Some(visitor));
    }

    #[test]
    fn attributes_follow_the_transport() {
        let cookies = cookies("web", 1);
        let visitor = Visitor::from_hex(&"0".repeat(32)).unwrap();
        let check = |reach, expected: &str| {
            let header = cookies.write(&visitor, reach).unwrap();
            let (_, attributes) = header.to_str().unwrap().split_once("; ").unwrap();
            assert_eq!(attributes, expected);
        };
        check(Reach::OwnPages, "Path=/chat/web; Max-Age=34560000; HttpOnly; SameSite=Lax");
        check(Reach::AnySite, "Path=/chat/web; Max-Age=34560000; HttpOnly; Secure; SameSite=None; Partitioned");
    }
}
