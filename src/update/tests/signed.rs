//! Writes repositories by hand, right ones and wrong ones, without the library that reads them.

use std::fs;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::update::Sha256;

pub(super) const LATER: &str = "2999-01-01T00:00:00Z";
pub(super) const LONG_AGO: &str = "2020-01-01T00:00:00Z";

/// Sorted, without blanks: what is signed.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<String> =
                map.iter().map(|(key, value)| format!("{}:{}", json!(key), canonical(value))).collect();
            fields.sort();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key, made from a number.
pub(super) struct Key(Ed25519KeyPair);

impl Key {
    pub(super) fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn public(&self) -> Value {
        json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": hex(self.0.public_key().as_ref()) } })
    }

    fn id(&self) -> String {
        Sha256::of(canonical(&self.public()).as_bytes()).to_string()
    }
}

/// Metadata with signatures.
pub(super) fn signed(body: &Value, keys: &[&Key]) -> Vec<u8> {
    let text = canonical(body);
    let signatures: Vec<Value> =
        keys.iter().map(|key| json!({ "keyid": key.id(), "sig": hex(key.0.sign(text.as_bytes()).as_ref()) })).collect();
    serde_json::to_vec(&json!({ "signatures": signatures, "signed": body })).unwrap()
}

fn role(kind: &str, version: u64, expires: &str) -> Value {
    json!({ "_type": kind, "spec_version": "1.0.0", "version": version, "expires": expires })
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body.as_object_mut().unwrap().insert(name.to_owned(), value);
    body
}

fn meta(version: u64, bytes: &[u8]) -> Value {
    json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": Sha256::of(bytes).to_string() } })
}

/// A root that two of `roots` sign, with one key for each of the other roles.
pub(super) fn root(version: u64, expires: &str, roots: &[&Key], others: [&Key; 3], signers: &[&Key]) -> Vec<u8> {
    let ids = |keys: &[&Key]| keys.iter().map(|key| key.id()).collect::<Vec<_>>();
    let all: serde_json::Map<String, Value> = roots.iter().chain(&others).map(|key| (key.id(), key.public())).collect();
    let [targets, snapshot, timestamp] = others;
    let roles = json!({
        "root": { "keyids": ids(roots), "threshold": 2 },
        "targets": { "keyids": ids(&[targets]), "threshold": 1 },
        "snapshot": { "keyids": ids(&[snapshot]), "threshold": 1 },
        "timestamp": { "keyids": ids(&[timestamp]), "threshold": 1 },
    });
    let body = with(role("root", version, expires), "consistent_snapshot", json!(true));
    signed(&with(with(body, "keys", Value::Object(all)), "roles", roles), signers)
}

/// What a repository says, to be made wrong in one place.
pub(super) struct Content {
    /// Of targets, snapshot and timestamp.
    pub(super) versions: [u64; 3],
    pub(super) expires: [&'static str; 3],
    /// Who signs them.
    pub(super) signers: [u8; 3],
    /// Name, content, and what is said of it.
    pub(super) files: Vec<(String, Vec<u8>, Value)>,
}

/// Keys of the other roles, as they are unless somebody says otherwise.
pub(super) const ONLINE: [u8; 3] = [11, 12, 13];

impl Content {
    /// A program of this version for PCs.
    pub(super) fn program(version: &str, bytes: &[u8]) -> Self {
        let about = json!({ "version": version, "board": "x86_64", "kind": "program", "store_format": 3 });
        Self {
            versions: [1; 3],
            expires: [LATER; 3],
            signers: ONLINE,
            files: vec![(format!("frontdesk-{version}-x86_64.program"), bytes.to_vec(), about)],
        }
    }

    pub(super) fn at(self, version: u64) -> Self {
        Self { versions: [version; 3], ..self }
    }

    /// Writes everything but roots under `directory`.
    pub(super) fn write(&self, directory: &Path) {
        let keys = self.signers.map(Key::new);
        let [targets_version, snapshot_version, timestamp_version] = self.versions;
        let (metadata, files) = (directory.join("metadata"), directory.join("targets"));
        fs::create_dir_all(&metadata).unwrap();
        fs::create_dir_all(&files).unwrap();
        let mut list = serde_json::Map::new();
        for (name, bytes, about) in &self.files {
            let sha256 = Sha256::of(bytes).to_string();
            fs::write(files.join(format!("{sha256}.{name}")), bytes).unwrap();
            let entry =
                json!({ "length": bytes.len(), "hashes": { "sha256": sha256 }, "custom": { "frontdesk": about } });
            list.insert(name.clone(), entry);
        }
        let body = with(role("targets", targets_version, self.expires[0]), "targets", Value::Object(list));
        let targets = signed(&body, &[&keys[0]]);
        fs::write(metadata.join(format!("{targets_version}.targets.json")), &targets).unwrap();
        let listed = json!({ "targets.json": meta(targets_version, &targets) });
        let snapshot = signed(&with(role("snapshot", snapshot_version, self.expires[1]), "meta", listed), &[&keys[1]]);
        fs::write(metadata.join(format!("{snapshot_version}.snapshot.json")), &snapshot).unwrap();
        let listed = json!({ "snapshot.json": meta(snapshot_version, &snapshot) });
        let timestamp =
            signed(&with(role("timestamp", timestamp_version, self.expires[2]), "meta", listed), &[&keys[2]]);
        fs::write(metadata.join("timestamp.json"), timestamp).unwrap();
    }
}
