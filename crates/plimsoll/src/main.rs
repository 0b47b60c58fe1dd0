//! The program: arguments, boot, signals. What the pooler does is in the crates below.

mod args;
mod boot;
mod check;
mod completions;
mod credentials;
mod identity;
mod limits;
mod logging;
mod manager;
mod manpages;
mod parts;
mod pidfile;
mod run;
mod signals;
mod source;
mod sys;
mod vouch;

use std::process::ExitCode;

use args::{Asked, IdentityVerb};

fn main() -> ExitCode {
    let asked = match args::parse(std::env::args_os()) {
        Ok(asked) => asked,
        Err(refusal) => return refusal.print(),
    };
    match asked {
        Asked::Serve(serve) => boot::serve(serve),
        Asked::Run(run) => run::run(&run),
        Asked::Check(args) => check::check(&args),
        Asked::Ask(ask) => plimsoll_cli::ask(&ask),
        Asked::Manage(manage) => plimsoll_cli::manage(&manage, identity::api_tls),
        Asked::Identity(IdentityVerb::Init(args)) => identity::init(&args),
        Asked::Identity(IdentityVerb::Status(args)) => {
            plimsoll_cli::identity_status(&args, identity::api_tls)
        }
        Asked::Completions(shell) => completions::print(shell),
        Asked::ManPages(args) => manpages::write(&args),
    }
}
