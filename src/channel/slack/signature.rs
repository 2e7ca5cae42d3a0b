//! Slack's request signatures (docs.slack.dev, "Verifying requests from Slack").
//!
//! `X-Slack-Signature: v0=` and the lower-case hex of HMAC-SHA256 under the signing secret over
//! `v0:<X-Slack-Request-Timestamp>:<body as it came>`.

use aws_lc_rs::{constant_time, hmac};
use http::HeaderMap;

use crate::clock::Timestamp;
use crate::document::Secret;

/// How far the sender's clock may be from ours. Slack asks for five minutes.
const MAX_SKEW_SECS: u64 = 5 * 60;

/// Did Slack send exactly these bytes, just now?
///
/// # Errors
/// A sentence for the log. It names no value of the request.
pub(super) fn verify(
    signing_secret: &Secret,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), &'static str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let timestamp = text("x-slack-request-timestamp").ok_or("no timestamp")?;
    let signature = text("x-slack-signature").ok_or("no signature")?;
    let hex = signature.strip_prefix("v0=").ok_or("an unknown signature version")?;

    let sent_at: u64 = timestamp.parse().or(Err("a timestamp that is no number"))?;
    if sent_at.abs_diff(now.as_secs()) > MAX_SKEW_SECS {
        return Err("a timestamp more than five minutes from this clock");
    }

    let expected = hex_digest(signing_secret, timestamp, body);
    constant_time::verify_slices_are_equal(expected.as_bytes(), hex.as_bytes()).or(Err("a signature that does not fit"))
}

fn hex_digest(signing_secret: &Secret, timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, signing_secret.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    for part in [b"v0:", timestamp.as_bytes(), b":", body] {
        context.update(part);
    }
    let nibble = |n: u8| char::from_digit(n.into(), 16).unwrap_or_default();
    context.sign().as_ref().iter().flat_map(|byte| [nibble(byte >> 4), nibble(byte & 0xf)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of Slack's page.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const SENT_AT: u64 = 1_531_420_618;
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
        channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
        response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
        trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn check(timestamp: &str, signature: &str, body: &str, now_secs: u64, expected: Result<(), &'static str>) {
        let mut headers = HeaderMap::new();
        headers.insert("x-slack-request-timestamp", timestamp.parse().unwrap());
        headers.insert("x-slack-signature", signature.parse().unwrap());
        let verdict = verify(&Secret::new(SECRET), &headers, body.as_bytes(), Timestamp(now_secs * 1000));
        assert_eq!(verdict, expected, "{timestamp} {signature} at {now_secs}");
    }

    #[test]
    fn the_example_of_the_documentation_is_accepted() {
        check("1531420618", SIGNATURE, BODY, SENT_AT, Ok(()));
    }

    #[test]
    fn five_minutes_either_way_are_accepted_and_no_more() {
        for now in [SENT_AT - 300, SENT_AT + 300] {
            check("1531420618", SIGNATURE, BODY, now, Ok(()));
        }
        for now in [SENT_AT - 301, SENT_AT + 301, 0] {
            let expected = Err("a timestamp more than five minutes from this clock");
            check("1531420618", SIGNATURE, BODY, now, expected);
        }
    }

    #[test]
    fn one_changed_byte_anywhere_is_refused() {
        let unfit = Err("a signature that does not fit");
        check("1531420619", SIGNATURE, BODY, SENT_AT, unfit);
        check("1531420618", SIGNATURE, &BODY.replace("text=", "text=x"), SENT_AT, unfit);
        check("1531420618", &SIGNATURE.replace("a211", "a212"), BODY, SENT_AT, unfit);
        check("1531420618", "v0=", BODY, SENT_AT, unfit);
        check("1531420618", &SIGNATURE.to_uppercase().replace("V0", "v0"), BODY, SENT_AT, unfit);
    }

    #[test]
    fn what_is_not_a_signature_of_version_0_is_refused() {
        check("1531420618", &SIGNATURE.replace("v0=", "v1="), BODY, SENT_AT, Err("an unknown signature version"));
        check("soon", SIGNATURE, BODY, SENT_AT, Err("a timestamp that is no number"));
        let verdict = verify(&Secret::new(SECRET), &HeaderMap::new(), b"", Timestamp(0));
        assert_eq!(verdict, Err("no timestamp"));
    }
}
