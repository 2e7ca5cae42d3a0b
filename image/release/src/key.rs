//! Ed25519 keys in files: PKCS #8 in PEM for the secret half, the key as metadata has it for the other one.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use olpc_cjson::CanonicalFormatter;
use serde::Serialize;
use tough::schema::decoded::{Decoded, Hex};
use tough::schema::key::Key;
use tough::schema::{Role, Root, Signature, Signed};
use tough::sign::Sign as _;

/// The id of a key: the digest of its public half.
pub(crate) type Id = Decoded<Hex>;

/// A key that signs.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    pub(crate) id: Id,
}

impl Signer {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read the key {}", path.display()))?;
        let pem = pem::parse(text).with_context(|| format!("{} is no key in PEM", path.display()))?;
        let pair = Ed25519KeyPair::from_pkcs8(pem.contents())
            .map_err(|error| anyhow!("{} holds no Ed25519 key: {error}", path.display()))?;
        let id = pair.tuf_key().key_id()?;
        Ok(Self { pair, id })
    }

    /// Signs what is signed of metadata.
    pub(crate) fn sign<T: Serialize>(&self, body: &T) -> Result<Signature> {
        let mut bytes = Vec::new();
        body.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, CanonicalFormatter::new()))?;
        Ok(Signature { keyid: self.id.clone(), sig: self.pair.sign(&bytes).as_ref().to_vec().into() })
    }
}

/// Signs metadata with those of `signers` that `root` names for it.
pub(crate) fn sign<T: Role + Serialize>(body: T, root: &Root, signers: &[Signer]) -> Result<Signed<T>> {
    let role = root.roles.get(&T::TYPE).with_context(|| format!("the root names no keys for {}", T::TYPE))?;
    let named = signers.iter().filter(|signer| role.keyids.contains(&signer.id));
    let signatures = named.map(|signer| signer.sign(&body)).collect::<Result<Vec<_>>>()?;
    let signed = Signed { signed: body, signatures };
    root.verify_role(&signed)
        .with_context(|| format!("more keys are needed to sign {}: name them with --key", T::TYPE))?;
    Ok(signed)
}

pub(crate) fn make(path: &Path) -> Result<String> {
    let secret = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| anyhow!("cannot make a key"))?;
    let pair =
        Ed25519KeyPair::from_pkcs8(secret.as_ref()).map_err(|error| anyhow!("cannot use the new key: {error}"))?;
    let text = pem::encode(&pem::Pem::new("PRIVATE KEY", secret.as_ref()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let key = pair.tuf_key();
    let public = public_path(path);
    fs::write(&public, serde_json::to_vec_pretty(&key)?)
        .with_context(|| format!("cannot write {}", public.display()))?;
    Ok(format!("{}: keep it where nobody else reads it; {} may be known to anybody", path.display(), public.display()))
}

fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// The public half.
pub(crate) fn read_public(path: &Path) -> Result<(Id, Key)> {
    let bytes = fs::read(path).with_context(|| format!("cannot read the key {}", path.display()))?;
    let key: Key = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is no public key; they end with .pub", path.display()))?;
    Ok((key.key_id()?, key))
}
