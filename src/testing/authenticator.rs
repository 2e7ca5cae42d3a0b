//! An authenticator in software, with a browser around it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// One passkey, and how it answers. What it says can be bent before it is asked.
#[derive(Debug)]
pub struct Authenticator {
    key: EcdsaKeyPair,
    credential: Vec<u8>,
    /// Base64url of what the page called the account.
    pub handle: String,
    /// Where the browser is.
    pub origin: String,
    /// What the browser takes the page for.
    pub site: String,
    /// Bits 0 and 2: somebody is there, and was looked at.
    pub flags: u8,
    /// What it says at the next use; 0: it does not count.
    pub count: u32,
    /// What the browser says of the page besides.
    pub more: Value,
}

/// What a form has after a passkey was made or used, in base64url.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Which passkey.
    pub credential: String,
    /// Whose.
    pub handle: String,
    /// `clientDataJSON`.
    pub client_data: String,
    /// `authenticatorData`.
    pub authenticator_data: String,
    /// Of a passkey that was used.
    pub signature: String,
}

/// `{1: 2, 3: -7, -1: 1, -2: x, -3: y}` around x and y.
const KEY: ([u8; 10], [u8; 3]) = ([0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 0x20], [0x22, 0x58, 0x20]);

#[expect(clippy::expect_used, reason = "only tests call it")]
impl Authenticator {
    /// A new key, in a browser that has a page open.
    #[must_use]
    pub fn new(origin: &str, site: &str) -> Self {
        let mut credential = vec![0; 16];
        rand::fill(&mut credential).expect("random numbers");
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        let (origin, site) = (origin.to_owned(), site.to_owned());
        Self { key, credential, handle: String::new(), origin, site, flags: 0b101, count: 0, more: json!({}) }
    }

    /// Answers that it is made, for the account of this handle.
    pub fn make(&mut self, challenge: &str, handle: &str) -> Answer {
        handle.clone_into(&mut self.handle);
        let (_, point) = self.key.public_key().as_ref().split_at(1);
        let (x, y) = point.split_at(32);
        let length = u16::try_from(self.credential.len()).expect("a short credential").to_be_bytes();
        let head = self.head(self.flags | 0x40);
        let data = [&head[..], &[7; 16], &length, &self.credential, &KEY.0, x, &KEY.1, y].concat();
        self.answer("webauthn.create", challenge, data)
    }

    /// Answers that it is used.
    pub fn used(&mut self, challenge: &str) -> Answer {
        let data = self.head(self.flags);
        let answer = self.answer("webauthn.get", challenge, data);
        if self.count > 0 {
            self.count += 1;
        }
        answer
    }

    /// The answer to another kind of question.
    pub fn answered(&mut self, kind: &str, challenge: &str) -> Answer {
        let data = self.head(self.flags);
        self.answer(kind, challenge, data)
    }

    fn head(&self, flags: u8) -> Vec<u8> {
        let site = digest::digest(&digest::SHA256, self.site.as_bytes());
        [site.as_ref(), &[flags], &self.count.to_be_bytes()].concat()
    }

    fn answer(&self, kind: &str, challenge: &str, data: Vec<u8>) -> Answer {
        let mut client = json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false });
        for (name, value) in self.more.as_object().into_iter().flatten() {
            client.as_object_mut().expect("an object").insert(name.clone(), value.clone());
        }
        let client = client.to_string();
        let signed = [&data, digest::digest(&digest::SHA256, client.as_bytes()).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).expect("a signature");
        Answer {
            credential: URL_SAFE_NO_PAD.encode(&self.credential),
            handle: self.handle.clone(),
            client_data: URL_SAFE_NO_PAD.encode(client),
            authenticator_data: URL_SAFE_NO_PAD.encode(data),
            signature: URL_SAFE_NO_PAD.encode(signature.as_ref()),
        }
    }
}
