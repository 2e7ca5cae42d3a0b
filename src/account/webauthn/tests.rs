use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Answer, Authenticator};

const CHALLENGE: Challenge = [9; CHALLENGE_BYTES];

fn site() -> Site {
    Site::of_host("desk.example.com").unwrap()
}

fn expected<'a>(site: &'a Site, challenge: &'a [u8], presence: Presence) -> Expected<'a> {
    Expected { challenge, site, presence }
}

fn bytes(text: &str) -> Vec<u8> {
    from_text(text).unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    let digits: Vec<u32> = value.as_str().unwrap().chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// The authenticator data in an attestation object: its last member, which CTAP2 sorts behind the others.
fn authenticator_data(attestation_object: &[u8]) -> &[u8] {
    let name = b"hauthData";
    let at = attestation_object.windows(name.len()).rposition(|window| window == name).unwrap();
    match &attestation_object[at + name.len()..] {
        [0x58, length, data @ ..] => {
            assert_eq!(data.len(), usize::from(*length));
            data
        }
        [0x59, high, low, data @ ..] => {
            assert_eq!(data.len(), usize::from(u16::from_be_bytes([*high, *low])));
            data
        }
        other => panic!("{:x?}", &other[..4]),
    }
}

#[test]
fn the_examples_of_the_specification_are_taken_where_we_take_their_kind() {
    let data: Value = serde_json::from_str(include_str!("../../../tests/data/passkeys/webauthn_level_3.json")).unwrap();
    let site = Site::of_host("example.org").unwrap();
    let mut taken = Vec::new();
    for vector in data["vectors"].as_array().unwrap() {
        let (name, one, other) = (vector["name"].as_str().unwrap(), &vector["registration"], &vector["authentication"]);
        let challenge = |of: &Value| hex(&of["challenge"]);
        let attestation = hex(&one["attestation_object"]);
        let (first, second) = (challenge(one), challenge(other));
        let made = made(
            expected(&site, &first, Presence::Present),
            &hex(&one["client_data"]),
            authenticator_data(&attestation),
        );
        // A frame of another page asked for these.
        if name.contains("Origin") {
            assert_eq!(made.unwrap_err(), Refusal::Framed, "{name}");
            continue;
        }
        if ["es384", "es512", "eddsa", "ed448"].iter().any(|kind| name.contains(kind)) {
            assert_eq!(made.unwrap_err(), Refusal::Algorithm, "{name}");
            continue;
        }
        let made = made.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!(made.credential, hex(&vector["credential_id"]), "{name}");
        let (client, data, signature) =
            (hex(&other["client_data"]), hex(&other["authenticator_data"]), hex(&other["signature"]));
        let check = |challenge: &[u8], presence, signature: &[u8]| {
            used(expected(&site, challenge, presence), &made.key, &client, &data, signature)
        };
        let said = check(&second, Presence::Present, &signature).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!(said.can_be_copied, made.said.can_be_copied, "{name}");
        let is_verified = data[32] & VERIFIED != 0;
        assert_eq!(check(&second, Presence::Verified, &signature).is_ok(), is_verified, "{name}");
        assert_eq!(check(&first, Presence::Present, &signature), Err(Refusal::Challenge), "{name}");
        let mut wrong = signature.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(check(&second, Presence::Present, &wrong), Err(Refusal::Signature), "{name}");
        taken.push(name.to_owned());
    }
    assert_eq!(
        taken,
        [
            "none-es256",
            "packed-self-es256",
            "none-es256-long-credential-id",
            "packed-es256",
            "packed-rs256",
            "tpm-es256",
            "android-key-es256",
            "apple-es256",
            "fido-u2f-es256"
        ]
    );
}

#[test]
fn a_passkey_belongs_to_a_name_and_is_asked_for_over_tls_or_on_the_machine() {
    let check = |host: &str, expected: Option<(&str, &[&str])>| {
        let site = Site::of_host(host);
        let found = site.as_ref().map(|site| (site.name.as_str(), site.origins.iter().map(String::as_str).collect()));
        assert_eq!(found, expected.map(|(name, origins)| (name, origins.to_vec())), "{host}");
    };
    check("Frontdesk.local", Some(("frontdesk.local", &["https://frontdesk.local"])));
    check("desk.example.com:8443", Some(("desk.example.com", &["https://desk.example.com:8443"])));
    check("localhost:18789", Some(("localhost", &["https://localhost:18789", "http://localhost:18789"])));
    for host in [
        "",
        "127.0.0.1:18789",
        "192.168.1.7",
        "[::1]:80",
        "[::1]",
        "::1",
        "desk.example.com.",
        "a..b",
        "-a.b",
        "a-.b",
        "desk.example.com:",
        "desk.example.com:080",
        "desk.example.com:99999",
        "a b",
        "a/b",
        "a@b",
        "2130706433",
        "0x7f.1",
        "a.0x7f",
        "dä.example",
    ] {
        check(host, None);
    }
}

/// Makes a passkey, bends how it is used, and says what comes of it.
fn check_used(
    bend: impl Fn(&mut Authenticator),
    mangle: impl Fn(&mut Answer),
    presence: Presence,
) -> Result<Said, Refusal> {
    let (site, mut passkey) = (site(), Authenticator::new("https://desk.example.com", "desk.example.com"));
    let text = to_text(&CHALLENGE);
    let new = passkey.make(&text, "aGFuZGxl");
    let made = made(
        expected(&site, &CHALLENGE, Presence::Verified),
        &bytes(&new.client_data),
        &bytes(&new.authenticator_data),
    )
    .unwrap();
    bend(&mut passkey);
    let mut answer = passkey.used(&text);
    mangle(&mut answer);
    let (client, data) = (bytes(&answer.client_data), bytes(&answer.authenticator_data));
    used(expected(&site, &CHALLENGE, presence), &made.key, &client, &data, &bytes(&answer.signature))
}

#[test]
fn what_does_not_answer_this_page_is_refused() {
    let check = |expected, bend: &dyn Fn(&mut Authenticator)| {
        assert_eq!(check_used(bend, |_| {}, Presence::Verified).map(|_| ()), expected);
    };
    check(Ok(()), &|_| {});
    check(Ok(()), &|one| one.more = json!({ "clientExtensions": {}, "more": "some day" }));
    for origin in [
        "http://desk.example.com",
        "https://desk.example.com:444",
        "https://evil.example",
        "https://desk.example.com.evil.example",
        "https://desk.example.com/",
        "null",
    ] {
        check(Err(Refusal::Origin), &|one| one.origin = origin.to_owned());
    }
    for site in ["example.com", "evil.example", ""] {
        check(Err(Refusal::Site), &|one| one.site = site.to_owned());
    }
    check(Err(Refusal::Challenge), &|one| one.more = json!({ "challenge": to_text(&[8; CHALLENGE_BYTES]) }));
    check(Err(Refusal::Challenge), &|one| one.more = json!({ "challenge": "" }));
    check(Err(Refusal::Form), &|one| one.more = json!({ "challenge": format!("{}=", to_text(&CHALLENGE)) }));
    check(Err(Refusal::Kind), &|one| one.more = json!({ "type": "webauthn.create" }));
    check(Err(Refusal::Framed), &|one| one.more = json!({ "crossOrigin": true }));
    check(Err(Refusal::Framed), &|one| one.more = json!({ "topOrigin": "https://evil.example" }));
    check(Err(Refusal::Form), &|one| one.more = json!({ "crossOrigin": "yes" }));
    check(Err(Refusal::NotPresent), &|one| one.flags = 0b100);
    check(Err(Refusal::NotVerified), &|one| one.flags = 0b001);
    check(Err(Refusal::Backup), &|one| one.flags = 0b1_0101);
    check(Err(Refusal::Form), &|one| one.flags |= EXTENDED);
    check(Err(Refusal::Form), &|one| one.flags |= ATTESTED);
    let second = check_used(|one| one.flags = 0b001, |_| {}, Presence::Present);
    assert_eq!(second, Ok(Said { count: 0, can_be_copied: false, is_copied: false }));
}

#[test]
fn every_bit_of_what_was_signed_counts() {
    for part in 0..3 {
        let flip = |at: usize| {
            move |answer: &mut Answer| {
                let text = [&mut answer.client_data, &mut answer.authenticator_data, &mut answer.signature]
                    .into_iter()
                    .nth(part)
                    .unwrap();
                let mut changed = bytes(text);
                let length = changed.len();
                changed[at / 8 % length] ^= 1 << (at % 8);
                *text = to_text(&changed);
            }
        };
        for at in 0..72 * 8 {
            assert!(check_used(|_| {}, flip(at), Presence::Verified).is_err(), "part {part}, bit {at}");
        }
    }
}

#[test]
fn a_key_of_another_kind_or_form_is_refused() {
    let mut passkey = Authenticator::new("https://desk.example.com", "desk.example.com");
    let new = passkey.make(&to_text(&CHALLENGE), "aGFuZGxl");
    let (client, data, site) = (bytes(&new.client_data), bytes(&new.authenticator_data), site());
    let check = |data: &[u8], wanted: Refusal| {
        assert_eq!(made(expected(&site, &CHALLENGE, Presence::Present), &client, data).unwrap_err(), wanted);
    };
    let key = 37 + 16 + 2 + 16;
    // -7 becomes -8, P-256 another curve, a point none, and the map one with a member more.
    for (at, byte) in [(key + 4, 0x27), (key + 6, 2), (data.len() - 1, data[data.len() - 1] ^ 1), (key, 0xa6)] {
        let mut other = data.clone();
        other[at] = byte;
        check(&other, Refusal::Algorithm);
    }
    check(&data[..data.len() - 1], Refusal::Algorithm);
    check(&[&data[..], &[0]].concat(), Refusal::Form);
    check(&data[..37], Refusal::Form);
    let mut nameless = data.clone();
    nameless[54] = 0;
    check(&nameless, Refusal::Form);
    // What extensions say is at the end, and nothing is done with it.
    let mut extended = [&data[..], &[0xa0]].concat();
    extended[32] |= EXTENDED;
    assert!(made(expected(&site, &CHALLENGE, Presence::Present), &client, &extended).is_ok());
}

fn rsa(modulus: &[u8]) -> Vec<u8> {
    PublicKey::Rs256(modulus.to_vec()).to_bytes()
}

#[test]
fn keys_of_rsa_have_a_length_that_is_safe_and_bearable() {
    let check = |n_bytes: usize, first: u8, expected| {
        let mut modulus = vec![0xff; n_bytes];
        modulus[0] = first;
        assert_eq!(PublicKey::parse(&rsa(&modulus)).is_some(), expected, "{n_bytes}");
    };
    check(256, 0xff, true);
    check(512, 1, true);
    check(256, 0, false);
    check(255, 0xff, false);
    check(513, 0xff, false);
}

#[test]
fn nobodys_key_is_a_key() {
    let bytes = PublicKey::NOBODYS.to_bytes();
    assert_eq!(PublicKey::parse(&bytes), Some((PublicKey::NOBODYS, &[][..])));
}

proptest! {
    #[test]
    fn a_key_is_read_as_it_was_written(modulus in prop::collection::vec(1_u8.., 256..=512), after: Vec<u8>) {
        let es256 = Authenticator::new("", "").make("", "").authenticator_data;
        let (key, rest) = PublicKey::parse(&bytes(&es256)[71..]).map(|(key, rest)| (key, rest.len())).unwrap();
        prop_assert_eq!(rest, 0);
        for key in [PublicKey::Rs256(modulus), key] {
            let written = [key.to_bytes(), after.clone()].concat();
            prop_assert_eq!(PublicKey::parse(&written), Some((key, after.as_slice())));
        }
    }

    #[test]
    fn whatever_is_sent_is_refused_and_nothing_falls_over(client: Vec<u8>, data: Vec<u8>, signature: Vec<u8>) {
        let (site, key) = (site(), PublicKey::NOBODYS);
        let expected = expected(&site, &CHALLENGE, Presence::Present);
        prop_assert!(made(expected, &client, &data).is_err());
        prop_assert!(used(expected, &key, &client, &data, &signature).is_err());
        prop_assert!(AuthenticatorData::parse(&data).is_err() || data.len() >= 37);
        let _ = PublicKey::parse(&[&ES256.0[..], &data].concat());
        let _ = PublicKey::parse(&[&RS256.0[..], &data].concat());
    }
}
