//! `model import|fetch`: puts the file of a model where `frontdesk-model.service` looks for it, if its checksum is right.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{self, SHA256};
use clap::{Args, Subcommand};

use super::output::{line, progress};
use super::{Context, Exit, Failure, client};
use crate::document::sync_directory;

/// What llama.cpp reads begins so.
const MAGIC: &[u8] = b"GGUF";
/// The longest file.
const MAX_BYTES: u64 = 64 << 30;
/// What stays free on the disk for conversations.
const LEFT_FREE: u64 = 1 << 30;
const PIECE: usize = 1 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum Model {
    /// Take a model from a file, for example on a stick
    Import(Import),
    /// Take a model from the internet
    Fetch(Fetch),
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file, in the format GGUF
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// Where it is: https://… or http://…; the checksum says whether it is the right one
    #[arg(value_name = "URL")]
    url: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// SHA-256 of the file, as whoever offers it says
    #[arg(long, value_name = "HEX")]
    sha256: String,
    /// Where models are
    #[arg(long, value_name = "DIR", default_value = "/var/lib/frontdesk-model")]
    to: PathBuf,
}

pub(super) fn run(_context: &Context, command: &Model) -> Result<(), Failure> {
    let place = match command {
        Model::Import(Import { place, .. }) | Model::Fetch(Fetch { place, .. }) => place,
    };
    let mut arriving = Arriving::new(place)?;
    let taken = match command {
        Model::Import(import) => take(&mut arriving, &import.path),
        Model::Fetch(fetch) => fetch_into(&mut arriving, &fetch.url),
    };
    progress("");
    match taken.and_then(|()| arriving.finish()) {
        Ok(bytes) => {
            line(&format!("the model is there, {bytes} bytes; start it with: systemctl enable --now frontdesk-model"));
            Ok(())
        }
        Err(failure) => {
            // Nothing of it stays.
            drop(fs::remove_file(&arriving.new));
            Err(failure)
        }
    }
}

/// A file that comes in; the one there is stays until this one is whole and right.
struct Arriving {
    file: File,
    digest: digest::Context,
    n_bytes: u64,
    new: PathBuf,
    place: PathBuf,
    expected: String,
    begins: Vec<u8>,
}

impl Arriving {
    fn new(place: &Place) -> Result<Self, Failure> {
        let expected = place.sha256.to_ascii_lowercase();
        if expected.len() != 64 || !expected.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(Exit::Usage.say("--sha256 is no SHA-256; it has 64 hex digits"));
        }
        let failed = |error: io::Error| Exit::TryAgain.say(format!("cannot write {}: {error}", place.to.display()));
        fs::create_dir_all(&place.to).map_err(failed)?;
        let new = place.to.join("model.gguf.new");
        let file = File::create(&new).map_err(failed)?;
        let (digest, place) = (digest::Context::new(&SHA256), place.to.join("model.gguf"));
        Ok(Self { file, digest, n_bytes: 0, new, place, expected, begins: Vec::new() })
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.n_bytes = self.n_bytes.saturating_add(piece.len() as u64);
        let n_missing = MAGIC.len().saturating_sub(self.begins.len());
        self.begins.extend(piece.iter().take(n_missing));
        if self.begins.len() == MAGIC.len() && self.begins != MAGIC {
            return Err(Exit::Usage.say("this is no model in the format GGUF"));
        }
        if self.n_bytes > MAX_BYTES {
            return Err(Exit::Usage.say("the file is longer than any model that this machine could use"));
        }
        let disk = rustix::fs::statvfs(&self.new).map_err(|error| Exit::TryAgain.say(error))?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < LEFT_FREE.saturating_add(piece.len() as u64) {
            return Err(Exit::TryAgain.say("there is not enough room: 1 GiB must stay free for conversations"));
        }
        self.digest.update(piece);
        self.file
            .write_all(piece)
            .map_err(|error| Exit::TryAgain.say(format!("the disk does not take it: {error}")))?;
        progress(&format!("{} MiB", self.n_bytes >> 20));
        Ok(())
    }

    fn finish(&mut self) -> Result<u64, Failure> {
        let found: String = self.digest.clone().finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        if found != self.expected {
            return Err(
                Exit::Usage.say(format!("the file is another one: its SHA-256 is {found}; nothing was changed"))
            );
        }
        let put = || -> io::Result<()> {
            use std::os::unix::fs::PermissionsExt as _;
            // The unit has a user of its own.
            self.file.set_permissions(fs::Permissions::from_mode(0o644))?;
            self.file.sync_all()?;
            fs::rename(&self.new, &self.place)?;
            self.place.parent().map_or(Ok(()), sync_directory)
        };
        put().map_err(|error| Exit::TryAgain.say(format!("cannot write {}: {error}", self.place.display())))?;
        Ok(self.n_bytes)
    }
}

fn take(arriving: &mut Arriving, path: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Exit::Usage.say(format!("cannot read {}: {error}", path.display()));
    let mut file = File::open(path).map_err(failed)?;
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).map_err(failed)? {
            0 => return Ok(()),
            n => arriving.take(piece.get(..n).unwrap_or_default())?,
        }
    }
}

fn fetch_into(arriving: &mut Arriving, url: &str) -> Result<(), Failure> {
    let http = reqwest::Client::builder().user_agent(concat!("frontdesk/", env!("CARGO_PKG_VERSION"))).build();
    let http = http.map_err(anyhow::Error::from)?;
    let failed = |error: reqwest::Error| Exit::TryAgain.because(anyhow::Error::from(error).context("it does not come"));
    client::runtime()?.block_on(async {
        let mut answer = http.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            arriving.take(&piece)?;
        }
        Ok(())
    })
}
