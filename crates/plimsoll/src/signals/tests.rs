use super::*;

const STATES: [State; 4] = [State::Running, State::Paused, State::Suspended, State::ShuttingDown];

#[test]
fn each_signal_has_pgbouncers_step_and_words() {
    let clients = Step::ShutDown(Shutdown::WaitForClients);
    let servers = Step::ShutDown(Shutdown::WaitForServers);
    let at_once = Step::ShutDown(Shutdown::Immediate);
    let term = "got SIGTERM, shutting down, waiting for all clients disconnect";
    let int = "got SIGINT, shutting down, waiting for all servers connections to be released";
    let usr1 = "got SIGUSR1, but already paused/suspended";
    for (got, running, paused, suspended, shutting_down) in [
        (
            Got::Term,
            (clients, term),
            (clients, term),
            (clients, term),
            (at_once, "got SIGTERM while shutting down, fast exit"),
        ),
        (
            Got::Int,
            (servers, int),
            (servers, int),
            (servers, int),
            (at_once, "got SIGINT while shutting down, fast exit"),
        ),
        (
            Got::Usr1,
            (Step::Pause, "got SIGUSR1, pausing all activity"),
            (Step::Nothing, usr1),
            (Step::Nothing, usr1),
            (Step::Nothing, usr1),
        ),
        (
            Got::Usr2,
            (Step::Nothing, "got SIGUSR2, but not paused/suspended"),
            (Step::Resume, "got SIGUSR2, continuing from PAUSE"),
            (Step::Resume, "got SIGUSR2, continuing from SUSPEND"),
            (Step::Nothing, "got SIGUSR2 while shutting down, ignoring"),
        ),
    ] {
        assert_eq!(
            STATES.map(|state| decide(got, state)),
            [running, paused, suspended, shutting_down],
            "{got:?}"
        );
    }
    for state in STATES {
        assert_eq!(decide(Got::Quit, state), (at_once, "got SIGQUIT, fast exit"));
        assert_eq!(decide(Got::Hup, state), (Step::Reload, "got SIGHUP, re-reading config"));
    }
}
