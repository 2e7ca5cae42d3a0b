//! Signatures of Standard Webhooks (spec/standard-webhooks.md): `webhook-id`, `webhook-timestamp`,
//! `webhook-signature: v1,<base64>` over `id.timestamp.body`, several separated by spaces.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use crate::clock::Timestamp;
use crate::document::Secret;
use crate::id::OpaqueId;

/// Age, in either direction, at which a signature stops counting, in seconds.
const TOLERANCE_SECS: u64 = 5 * 60;

/// Keys of Standard Webhooks: the first signs, all verify.
#[derive(Clone, Default)]
pub struct Keys(Vec<hmac::Key>);

/// Why a request is not from our peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("the header {0} is missing or not text")]
    Header(&'static str),
    #[error("webhook-timestamp is not a number of seconds")]
    Timestamp,
    #[error("webhook-timestamp is more than 5 minutes from now")]
    Age,
    #[error("no signature in webhook-signature is right")]
    Signature,
}

impl Keys {
    /// Adds a secret: `whsec_` and base64 as the specification prints it, or any other text as it is.
    pub fn add(&mut self, secret: &Secret) {
        let text = secret.expose();
        let decoded = text.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
        let bytes = decoded.unwrap_or_else(|| text.as_bytes().to_vec());
        self.0.push(hmac::Key::new(hmac::HMAC_SHA256, &bytes));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks a request and returns its `webhook-id`.
    pub(super) fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<OpaqueId, Error> {
        let header =
            |name: &'static str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(Error::Header(name));
        let id = header("webhook-id")?;
        let timestamp = header("webhook-timestamp")?;
        let seconds: u64 = timestamp.parse().ok().ok_or(Error::Timestamp)?;
        if now.as_secs().abs_diff(seconds) > TOLERANCE_SECS {
            return Err(Error::Age);
        }
        let signed = signed_content(id, timestamp, body);
        let given = header("webhook-signature")?.split_ascii_whitespace();
        let given = given.filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
        for tag in given {
            if self.0.iter().any(|key| hmac::verify(key, &signed, &tag).is_ok()) {
                return OpaqueId::new(id).ok().ok_or(Error::Header("webhook-id"));
            }
        }
        Err(Error::Signature)
    }

    /// The headers of a request that we send.
    #[must_use]
    pub fn sign(&self, id: &str, now: Timestamp, body: &[u8]) -> [(&'static str, String); 3] {
        let timestamp = now.as_secs().to_string();
        let signed = signed_content(id, &timestamp, body);
        // The receiver may know the old or the new secret while it is rotated, so every key signs.
        let tags = self.0.iter().map(|key| format!("v1,{}", STANDARD.encode(hmac::sign(key, &signed))));
        let signature = tags.collect::<Vec<_>>().join(" ");
        [("webhook-id", id.to_owned()), ("webhook-timestamp", timestamp), ("webhook-signature", signature)]
    }
}

fn signed_content(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_674_087_231_000);

    fn keys(secrets: &[&str]) -> Keys {
        let mut keys = Keys::default();
        secrets.iter().for_each(|secret| keys.add(&Secret::new(*secret)));
        keys
    }

    fn headers(pairs: impl IntoIterator<Item = (&'static str, String)>) -> HeaderMap {
        pairs.into_iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn check(signer: &[&str], verifier: &[&str], later_secs: u64, expected: Result<(), Error>) {
        let signed = headers(keys(signer).sign("msg_1", NOW, b"{}"));
        let verified = keys(verifier).verify(&signed, b"{}", NOW.plus_ms(later_secs * 1000));
        assert_eq!(verified.map(|id| assert_eq!(id.as_str(), "msg_1")), expected);
    }

    /// The example of the specification.
    #[test]
    fn the_printed_example_verifies() {
        let headers = headers([
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned()),
            ("webhook-timestamp", "1614265330".to_owned()),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned()),
        ]);
        let keys = keys(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
        let body = br#"{"test": 2432232314}"#;
        assert!(keys.verify(&headers, body, Timestamp(1_614_265_330_000)).is_ok());
        assert_eq!(keys.verify(&headers, b"{}", Timestamp(1_614_265_330_000)), Err(Error::Signature));
    }

    #[test]
    fn while_a_secret_is_rotated_both_verify() {
        check(&["old"], &["new", "old"], 0, Ok(()));
        check(&["new", "old"], &["old"], 0, Ok(()));
        check(&["older"], &["new", "old"], 0, Err(Error::Signature));
    }

    #[test]
    fn an_old_signature_does_not_count() {
        check(&["s"], &["s"], TOLERANCE_SECS, Ok(()));
        check(&["s"], &["s"], TOLERANCE_SECS + 1, Err(Error::Age));
    }

    #[test]
    fn a_missing_header_is_named() {
        let mut signed = headers(keys(&["s"]).sign("m", NOW, b""));
        signed.remove("webhook-timestamp");
        assert_eq!(keys(&["s"]).verify(&signed, b"", NOW), Err(Error::Header("webhook-timestamp")));
    }
}
