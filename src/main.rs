//! The `frontdesk` program; called `openclaw` it is the same with another home.

use std::process::ExitCode;

fn main() -> ExitCode {
    frontdesk::cli::main(std::env::args_os(), std::env::vars_os())
}
