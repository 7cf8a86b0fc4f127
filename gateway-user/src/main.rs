//! The command `gateway`: runs the command line and turns its result into an exit status.
use std::process::ExitCode;

fn main() -> ExitCode {
    gateway_user::cli::main()
}
