//! What browsers and authenticators answer (Web Authentication Level 3), read and verified.
//!
//! Pure. Nothing here reads CBOR: a key in authenticator data is in the CTAP2 canonical form and has no optional members
//! (§6.5.2), so that for each algorithm every byte but the numbers is fixed, and what differs is refused.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Of a challenge (§13.4.3 wants 16 at least).
pub(super) const CHALLENGE_BYTES: usize = 32;
/// Longest name of a credential that an authenticator may give (§4).
const MAX_CREDENTIAL_BYTES: usize = 1023;
/// A modulus of 2048 to 4096 bits, in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// 65537, as CBOR and as a number.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// What a browser answers to, once.
pub(super) type Challenge = [u8; CHALLENGE_BYTES];

/// Bytes as pages and files have them: base64url without padding.
pub(super) fn to_text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of such a text.
pub(super) fn from_text(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The name that browsers reach the page by. Passkeys belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    name: String,
    origins: Vec<String>,
}

impl Site {
    /// That of a `Host` header; `None`: passkeys do not work there. They belong to names, not to addresses in numbers, and
    /// browsers have them over TLS only, or on the machine itself.
    #[must_use]
    pub fn of_host(host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        let (name, port) = host.split_once(':').map_or((host.as_str(), None), |(name, port)| (name, Some(port)));
        let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port));
        let is_label = |label: &str| {
            let is_inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            (1..=63).contains(&label.len())
                && label.bytes().all(is_inside)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // Browsers take a name whose last label is a number for an address.
        let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit()) || label.starts_with("0x");
        let is_name =
            name.len() <= 253 && name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number);
        if !is_name || !is_port {
            return None;
        }
        let mut origins = vec![format!("https://{host}")];
        if name == "localhost" {
            origins.push(format!("http://{host}"));
        }
        Some(Self { name: name.to_owned(), origins })
    }

    /// Without a port: the RP ID of Web Authentication.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Why an answer does not prove what it should. For the log: whoever sent it hears that it was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not what browsers send.
    #[error("the answer has not the form that it should")]
    Form,
    /// Making a passkey is not using one.
    #[error("the answer is to another question")]
    Kind,
    /// It answers to another challenge.
    #[error("the challenge is another")]
    Challenge,
    /// Another page asked for it.
    #[error("another origin asked for it")]
    Origin,
    /// It was asked for in a frame of another page.
    #[error("it was asked for in a frame of another page")]
    Framed,
    /// It belongs to another name.
    #[error("it belongs to another name than that of this page")]
    Site,
    /// Nobody touched the authenticator.
    #[error("nobody was there")]
    NotPresent,
    /// The authenticator did not see who that is.
    #[error("the device did not look at who used it")]
    NotVerified,
    /// A key of a kind that is not asked for.
    #[error("the key is of a kind that is not taken")]
    Algorithm,
    /// Somebody else signed it, or something else was signed.
    #[error("the signature is wrong")]
    Signature,
    /// A passkey that could not be copied to other devices now can, or is said to be where it cannot.
    #[error("it says something else of its copies than before")]
    Backup,
    /// Nobody has it, or somebody else.
    #[error("nobody here has this passkey")]
    Unknown,
}

/// How sure the authenticator must be of who uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Somebody touched it.
    Present,
    /// It saw by a fingerprint, a face or a PIN who that is.
    Verified,
}

/// What an answer must be an answer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) challenge: &'a [u8],
    pub(super) site: &'a Site,
    pub(super) presence: Presence,
}

/// What an authenticator said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    /// How often it has signed; 0: it does not count.
    pub(super) count: u32,
    pub(super) can_be_copied: bool,
    pub(super) is_copied: bool,
}

/// A passkey that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) credential: Vec<u8>,
    pub(super) key: PublicKey,
    pub(super) said: Said,
}

/// Reads a passkey that a browser has made (§7.1). Nothing is asked of who built the authenticator, so this proves no more
/// than that a browser answered: what counts is whose session asked for it.
///
/// # Errors
/// [`Refusal`].
pub(super) fn made(expected: Expected<'_>, client_data: &[u8], authenticator_data: &[u8]) -> Result<Made, Refusal> {
    check_client_data(expected, "webauthn.create", client_data)?;
    let data = AuthenticatorData::parse(authenticator_data)?;
    let said = data.check(expected)?;
    let (credential, key) = data.attested.ok_or(Refusal::Form)?;
    Ok(Made { credential: credential.to_vec(), key, said })
}

/// Verifies that whoever has the private part of a key answered (§7.2). What it says of its count is for the caller.
///
/// # Errors
/// [`Refusal`].
pub(super) fn used(
    expected: Expected<'_>,
    key: &PublicKey,
    client_data: &[u8],
    authenticator_data: &[u8],
    signature: &[u8],
) -> Result<Said, Refusal> {
    check_client_data(expected, "webauthn.get", client_data)?;
    let data = AuthenticatorData::parse(authenticator_data)?;
    let said = data.check(expected)?;
    if data.attested.is_some() {
        return Err(Refusal::Form);
    }
    let signed = [authenticator_data, digest::digest(&digest::SHA256, client_data).as_ref()].concat();
    if key.has_signed(&signed, signature) { Ok(said) } else { Err(Refusal::Signature) }
}

/// What browsers say of the page (§5.8.1). They may add members some day.
#[derive(Deserialize)]
struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(rename = "crossOrigin", default)]
    cross_origin: bool,
    #[serde(rename = "topOrigin")]
    top_origin: Option<String>,
}

fn check_client_data(expected: Expected<'_>, kind: &str, client_data: &[u8]) -> Result<(), Refusal> {
    // A list would be taken for the members in their order.
    if !client_data.starts_with(b"{") {
        return Err(Refusal::Form);
    }
    let data: ClientData = serde_json::from_slice(client_data).map_err(|_words| Refusal::Form)?;
    let challenge = from_text(&data.challenge).ok_or(Refusal::Form)?;
    if data.r#type != kind {
        return Err(Refusal::Kind);
    }
    if constant_time::verify_slices_are_equal(&challenge, expected.challenge).is_err() {
        return Err(Refusal::Challenge);
    }
    if !expected.site.origins.contains(&data.origin) {
        return Err(Refusal::Origin);
    }
    if data.cross_origin || data.top_origin.is_some() {
        return Err(Refusal::Framed);
    }
    Ok(())
}

/// §6.1.
#[derive(Debug)]
struct AuthenticatorData<'a> {
    site: &'a [u8],
    flags: u8,
    count: u32,
    attested: Option<(&'a [u8], PublicKey)>,
}

const PRESENT: u8 = 1;
const VERIFIED: u8 = 1 << 2;
const CAN_BE_COPIED: u8 = 1 << 3;
const IS_COPIED: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENDED: u8 = 1 << 7;

impl<'a> AuthenticatorData<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let (site, rest) = bytes.split_at_checked(32).ok_or(Refusal::Form)?;
        let (&flags, rest) = rest.split_first().ok_or(Refusal::Form)?;
        let (&count, mut rest) = rest.split_first_chunk::<4>().ok_or(Refusal::Form)?;
        let mut attested = None;
        if flags & ATTESTED != 0 {
            // Which model it is does not matter here.
            let (_aaguid, after) = rest.split_at_checked(16).ok_or(Refusal::Form)?;
            let (&length, after) = after.split_first_chunk::<2>().ok_or(Refusal::Form)?;
            let length = usize::from(u16::from_be_bytes(length));
            let (credential, after) = after.split_at_checked(length).ok_or(Refusal::Form)?;
            if !(1..=MAX_CREDENTIAL_BYTES).contains(&length) {
                return Err(Refusal::Form);
            }
            let (key, after) = PublicKey::parse(after).ok_or(Refusal::Algorithm)?;
            (attested, rest) = (Some((credential, key)), after);
        }
        // Extensions are the end of it. None is asked for, and what they say is not used.
        if rest.is_empty() == (flags & EXTENDED != 0) {
            return Err(Refusal::Form);
        }
        Ok(Self { site, flags, count: u32::from_be_bytes(count), attested })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn check(&self, expected: Expected<'_>) -> Result<Said, Refusal> {
        let site = digest::digest(&digest::SHA256, expected.site.name.as_bytes());
        if self.site != site.as_ref() {
            return Err(Refusal::Site);
        }
        if !self.has(PRESENT) {
            return Err(Refusal::NotPresent);
        }
        if expected.presence == Presence::Verified && !self.has(VERIFIED) {
            return Err(Refusal::NotVerified);
        }
        if self.has(IS_COPIED) && !self.has(CAN_BE_COPIED) {
            return Err(Refusal::Backup);
        }
        Ok(Said { count: self.count, can_be_copied: self.has(CAN_BE_COPIED), is_copied: self.has(IS_COPIED) })
    }
}

/// A key that signatures are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// ECDSA on P-256 with SHA-256: the point, uncompressed. What nearly all authenticators make.
    Es256([u8; 65]),
    /// RSASSA-PKCS1-v1_5 with SHA-256, exponent 65537: the modulus. What some computers with Windows make.
    Rs256(Vec<u8>),
}

/// `{1: 2, 3: -7, -1: 1, -2: x, -3: y}`, as far as to the 32 bytes of x, and from there to those of y.
const ES256: ([u8; 10], [u8; 3]) = ([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20], [0x22, 0x58, 0x20]);
/// `{1: 3, 3: -257, -1: n, -2: 65537}`, as far as to the length of n in two bytes, and from its end.
const RS256: ([u8; 9], [u8; 5]) =
    ([0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20, 0x59], [0x21, 0x43, 0x01, 0x00, 0x01]);

impl PublicKey {
    /// Of nobody: what is verified with it takes as long as with that of somebody. It is the generator of P-256, whose
    /// private part is 1, so a signature by it is still nobody's.
    pub(super) const NOBODYS: Self = Self::Es256([
        0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77,
        0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42,
        0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b,
        0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
    ]);

    /// A `COSE_Key` at the beginning, and what stands behind it.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        match bytes.strip_prefix(&ES256.0) {
            Some(rest) => {
                let (x, rest) = rest.split_first_chunk::<32>()?;
                let (y, rest) = rest.strip_prefix(&ES256.1)?.split_first_chunk::<32>()?;
                let mut point = [4; 65];
                point.iter_mut().skip(1).zip(x.iter().chain(y)).for_each(|(to, from)| *to = *from);
                // Not every pair of numbers is a point.
                ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).ok()?;
                Some((Self::Es256(point), rest))
            }
            None => {
                let (length, rest) = bytes.strip_prefix(&RS256.0)?.split_first_chunk::<2>()?;
                let (modulus, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                let is_modulus = RSA_BYTES.contains(&modulus.len()) && modulus.first() != Some(&0);
                let rest = rest.strip_prefix(&RS256.1)?;
                is_modulus.then(|| (Self::Rs256(modulus.to_vec()), rest))
            }
        }
    }

    /// As [`Self::parse`] reads it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Es256([_, point @ ..]) => {
                let (x, y) = point.split_at(32);
                [&ES256.0[..], x, &ES256.1[..], y].concat()
            }
            Self::Rs256(modulus) => {
                let length = u16::try_from(modulus.len()).unwrap_or_default().to_be_bytes();
                [&RS256.0[..], &length[..], modulus, &RS256.1[..]].concat()
            }
        }
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Es256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature),
            Self::Rs256(modulus) => {
                let key = RsaPublicKeyComponents { n: modulus.as_slice(), e: RSA_EXPONENT.as_slice() };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        };
        verified.is_ok()
    }
}

#[cfg(test)]
mod tests;
