//! What a backup is encrypted with, and opened with.

use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr as _;

use age::secrecy::SecretString;
use age::stream::{StreamReader, StreamWriter};
use age::{Decryptor, Encryptor, scrypt, x25519};

use super::record::damage;
use super::{Error, MIN_PASSPHRASE_CHARS};
use crate::document::Secret;

/// Work of a passphrase, as the exponent of two: 64 MiB for about a second on a small computer. Twice that is more than
/// such a one has to spare.
const WORK: u8 = if cfg!(test) { 4 } else { 16 };
/// Most work that is done to open one: 1 GiB.
const MAX_WORK: u8 = 20;

/// What it is encrypted with: one passphrase, or people with identities of age.
#[derive(Clone)]
pub enum SealWith {
    /// Whoever knows it opens it.
    Passphrase(Secret),
    /// Each of them opens it.
    Recipients(Vec<String>),
}

impl SealWith {
    /// One that is long enough. What opens may be of any length.
    ///
    /// # Errors
    /// [`Error::ShortPassphrase`].
    pub fn passphrase(passphrase: Secret) -> Result<Self, Error> {
        let is_long_enough = passphrase.expose().chars().count() >= MIN_PASSPHRASE_CHARS;
        is_long_enough.then_some(Self::Passphrase(passphrase)).ok_or(Error::ShortPassphrase)
    }

    /// Is this a recipient?
    ///
    /// # Errors
    /// [`Error::Recipient`].
    pub fn check_recipient(text: &str) -> Result<(), Error> {
        recipient(text).map(drop)
    }

    /// Encrypts what is written into it.
    pub(super) fn seal<W: Write>(&self, out: W) -> Result<StreamWriter<W>, Error> {
        let encryptor = match self {
            Self::Passphrase(passphrase) => {
                let mut recipient = scrypt::Recipient::new(secret(passphrase));
                recipient.set_work_factor(WORK);
                Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
            }
            Self::Recipients(recipients) => {
                let recipients = recipients.iter().map(|text| recipient(text)).collect::<Result<Vec<_>, _>>()?;
                Encryptor::with_recipients(recipients.iter().map(|recipient| recipient as &dyn age::Recipient))
            }
        };
        let encryptor = encryptor.map_err(|_error| Error::NoKey)?;
        Ok(encryptor.wrap_output(out)?)
    }
}

fn recipient(text: &str) -> Result<x25519::Recipient, Error> {
    x25519::Recipient::from_str(text).map_err(|_error| Error::Recipient(text.to_owned()))
}

fn secret(secret: &Secret) -> SecretString {
    SecretString::from(secret.expose().to_owned())
}

impl fmt::Debug for SealWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passphrase(_) => f.write_str("Passphrase(…)"),
            Self::Recipients(recipients) => f.debug_tuple("Recipients").field(recipients).finish(),
        }
    }
}

/// What it is opened with.
#[derive(Debug, Clone)]
pub enum OpenWith {
    /// The passphrase.
    Passphrase(Secret),
    /// The text of a file with identities, as `age-keygen` makes it.
    Identities(Secret),
}

impl OpenWith {
    /// Decrypts what it reads; bytes that were changed, or are missing at the end, are an error of the reader.
    pub(super) fn open<R: Read>(&self, input: R) -> Result<StreamReader<R>, Error> {
        let cannot = |error: age::DecryptError| match error {
            age::DecryptError::Io(source) => damage(source),
            age::DecryptError::InvalidHeader | age::DecryptError::UnknownFormat => Error::NoBackup,
            error => Error::Open(error.to_string()),
        };
        let decryptor = Decryptor::new(input).map_err(cannot)?;
        match self {
            Self::Passphrase(passphrase) => {
                let mut identity = scrypt::Identity::new(secret(passphrase));
                identity.set_max_work_factor(MAX_WORK);
                decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))
            }
            Self::Identities(text) => {
                let lines = text.expose().lines().map(str::trim).filter(|line| line.starts_with("AGE-SECRET-KEY-"));
                let identities: Vec<x25519::Identity> =
                    lines.map(str::parse).collect::<Result<_, _>>().map_err(|_reason| Error::Identity)?;
                if identities.is_empty() {
                    return Err(Error::Identity);
                }
                decryptor.decrypt(identities.iter().map(|identity| identity as &dyn age::Identity))
            }
        }
        .map_err(cannot)
    }
}
