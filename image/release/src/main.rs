//! Makes and signs the directory that devices take updates from. See `docs/releases.md`.
//!
//! Keys are files. Those of the root stay offline: a root is drafted, carried to whoever holds a key, signed there, and adopted
//! when enough have signed. The others sign what changes often: targets, snapshot, timestamp. Nothing of this is on a device.

mod key;
mod publish;
mod root;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser};

/// Makes and signs the directory that devices take updates from
#[derive(Debug, Parser)]
#[command(name = "frontdesk-release", version, about, max_term_width = 100)]
enum Command {
    /// Make a key: FILE holds the secret half, FILE with .pub at its end the other one
    Key {
        /// Where to; nothing may be there yet
        file: PathBuf,
    },
    /// Draft the first root of a repository, or the next one
    Draft(root::Draft),
    /// Sign a draft with one of the keys of the old root or of the new one
    Sign {
        /// What `draft` wrote
        draft: PathBuf,
        /// The secret half of a key
        key: PathBuf,
    },
    /// Put a draft that enough have signed in its place
    Adopt {
        /// What `draft` wrote and `sign` signed
        draft: PathBuf,
        /// The repository
        #[arg(long, value_name = "DIR")]
        repository: PathBuf,
    },
    /// Add a release for one board
    Add(publish::Add),
    /// Say anew who takes a release when
    Waves(publish::Waves),
    /// Take a release back; devices that have it keep it
    Withdraw(publish::Withdraw),
    /// Sign everything again before it expires
    Renew(publish::Signing),
    /// Look at a repository as a device does that trusts this root
    Check(Check),
}

/// Look at a repository as a device does that trusts this root
#[derive(Debug, Args)]
struct Check {
    /// The repository
    #[arg(long, value_name = "DIR")]
    repository: PathBuf,
    /// A root that devices were given, for example 1.root.json
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
}

#[expect(clippy::print_stdout, reason = "it says what it did")]
fn main() -> Result<()> {
    let said = match Command::parse() {
        Command::Key { file } => key::make(&file)?,
        Command::Draft(draft) => root::draft(&draft)?,
        Command::Sign { draft, key } => root::sign(&draft, &key)?,
        Command::Adopt { draft, repository } => root::adopt(&draft, &repository)?,
        Command::Add(add) => publish::add(&add)?,
        Command::Waves(waves) => publish::waves(&waves)?,
        Command::Withdraw(withdraw) => publish::withdraw(&withdraw)?,
        Command::Renew(signing) => publish::renew(&signing)?,
        Command::Check(check) => publish::check(&check.repository, &check.root)?,
    };
    println!("{said}");
    Ok(())
}
