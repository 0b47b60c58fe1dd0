//! `plimsoll run URL`: one database, no file.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use plimsoll_config::Plan;
use plimsoll_proxy::StartError;

use crate::args::RunArgs;
use crate::boot::{Ended, Start, live, report};
use crate::logging::Terminal;
use crate::source::Source;

/// What a URL does not carry as it is (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Pools the database until the process is told to end.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let source = Source::Url(args.clone());
    let verbose = u32::from(args.verbose);
    let how = Start {
        terminal: Terminal::Shown,
        verbose,
        ready: Box::new(invite),
        explain,
        offer: None,
        activated: Vec::new(),
    };
    let plan = source.load().map_err(|mistakes| report(&mistakes, "cannot pool without a good URL"));
    match plan.and_then(|plan| live(plan, source, how)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended) => ExitCode::FAILURE,
    }
}

fn explain(error: &StartError) -> String {
    match error {
        StartError::Listen { source, .. } if source.kind() == ErrorKind::AddrInUse => {
            format!("{error}; choose another port with --port N")
        }
        StartError::UnixSocketInUse => format!("{error}; choose another port with --port N"),
        StartError::Listen { .. }
        | StartError::NothingToListenOn
        | StartError::Tls(_)
        | StartError::Takeover(_)
        | StartError::Thread(_) => error.to_string(),
    }
}

/// Prints how to connect.
fn invite(plan: &Plan) {
    // With nowhere to print to the pooler works all the same.
    let _ = writeln!(
        std::io::stdout(),
        "psql {}\n(the same user and secret as in the URL; Ctrl-C ends it)",
        url(plan)
    );
}

/// Where to connect to, without the secret.
fn url(plan: &Plan) -> String {
    let name = plan.databases.first().map_or("", |database| &database.name);
    let user = plan.logins.keys().next().map_or("", String::as_str);
    let encoded = |text| utf8_percent_encode(text, RESERVED);
    format!("postgres://{}@127.0.0.1:{}/{}", encoded(user), plan.general.listen_port, encoded(name))
}

#[cfg(test)]
mod tests {
    use plimsoll_config::Budget;

    use super::*;

    fn args(url: &str) -> RunArgs {
        RunArgs { url: url.to_string(), port: 7000, pool_size: Some(3), budget: Some(9), verbose: 0 }
    }

    #[test]
    fn the_way_to_connect_is_the_pools_and_never_has_the_secret() {
        let source = Source::Url(args("postgres://ada%40home:s3cret@db.example:5433/my%20app_db"));
        let plan = source.load().expect("a good URL");
        assert_eq!(url(&plan), "postgres://ada%40home@127.0.0.1:7000/my%20app_db");
    }

    #[test]
    fn the_command_line_stands_above_the_url() {
        let plan = Source::Url(args("postgres://ada:s@localhost/app")).load().expect("a good URL");
        assert_eq!((plan.general.listen_port, plan.general.default_pool_size), (7000, 3));
        assert_eq!(plan.own.target_budget, Budget::Max(9));
        let shown =
            |key| plan.shown.iter().find(|line| line.key == key).and_then(|line| line.value.as_deref());
        assert_eq!((shown("listen_port"), shown("default_pool_size")), (Some("7000"), Some("3")));
    }

    #[test]
    fn a_port_in_use_is_explained() {
        let listen = |kind| StartError::Listen { address: "127.0.0.1:6432".to_string(), source: kind };
        let taken = explain(&listen(ErrorKind::AddrInUse.into()));
        assert!(
            taken.starts_with("cannot listen on 127.0.0.1:6432: ") && taken.ends_with("--port N"),
            "{taken}"
        );
        assert!(!explain(&listen(ErrorKind::PermissionDenied.into())).contains("--port"));
    }
}
