//! Logins by PAM, with the system's library and services of our own.

#![allow(clippy::unwrap_used)]

mod common;
mod vault;
mod vouched;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use common::SOON;
use plimsoll_testkit::{Ini, Plimsoll, Postgres, PostgresOptions, ServerAuth, ServerError, eventually};
use vault::Vault;
use vouched::{comes_in, login, wrong_ones_stay_out};

const FAILED: &str = "PAM authentication failed";

/// A file in `/etc/pam.d` with a name that nobody else has, removed when dropped.
struct Service(PathBuf);

impl Service {
    /// `None`: we may not write there, and nobody asks for everything.
    fn write(lines: &str) -> Option<Service> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/etc/pam.d/plimsoll-test-{}-{number}", std::process::id()));
        match std::fs::write(&path, lines) {
            Ok(()) => Some(Service(path)),
            Err(error) => {
                assert!(std::env::var_os("PLIMSOLL_REQUIRE_ALL").is_none(), "{}: {error}", path.display());
                None
            }
        }
    }

    fn name(&self) -> String {
        self.0.file_name().unwrap().to_string_lossy().into_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It was ours; nobody can be told.
        drop(std::fs::remove_file(&self.0));
    }
}

/// A service that asks a program: it has the user in `PAM_USER`, the password as its input, and stands in a folder
/// where it may write.
fn program(vault: &Vault, lines: &str) -> Option<Service> {
    let folder = vault.path("").display().to_string();
    vault.put("check", &format!("cd {folder} || exit 9\nread -r password\n{lines}\n"));
    Service::write(&format!(
        "auth required pam_exec.so quiet expose_authtok /bin/sh {folder}/check\naccount required pam_permit.so\n"
    ))
}

/// `app` with the password of its role gets in, `hangs` hears nothing until there is a file `open`.
const CHECK: &str = "echo \"$PAM_USER $PAM_RHOST\" >> asked
if [ \"$PAM_USER\" = hangs ]; then
  echo $$ >> hanging
  while [ ! -e open ]; do sleep 0.02; done
fi
test \"$PAM_USER\" = app && test \"$password\" = app-secret";

fn house(service: &Service, change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    let postgres = Postgres::start_with(PostgresOptions { auth: ServerAuth::Scram, ..Default::default() });
    let ini =
        Ini::new(&postgres).without_login("app").set("auth_type", "pam").own("pam_service", &service.name());
    let plimsoll = common::pooler(change(ini));
    (postgres, plimsoll)
}

#[track_caller]
fn refused(error: &ServerError, sqlstate: &str) {
    vouched::refused(error, sqlstate, FAILED);
}

#[test]
fn a_password_that_pam_takes_is_the_servers_too() {
    let vault = Vault::new();
    let Some(service) = program(&vault, CHECK) else { return };
    let (_postgres, plimsoll) = house(&service, |ini| ini);
    comes_in(&plimsoll);
    wrong_ones_stay_out(&plimsoll, FAILED);
    // PAM was told where they are, and was not asked about nothing.
    let asked = std::fs::read_to_string(vault.path("asked")).unwrap();
    assert_eq!(asked, "app 127.0.0.1\napp 127.0.0.1\nnobody 127.0.0.1\n");
    let log = plimsoll.log();
    assert!(log.contains("pam_authenticate() failed: System error"), "{log}");
    assert!(!log.contains("app-secret") && !log.contains("wrong-one"), "{log}");
}

#[test]
fn the_modules_that_everybody_has() {
    let permit = "auth required pam_permit.so\naccount required pam_permit.so\n";
    let Some(service) = Service::write(permit) else { return };
    let (_postgres, plimsoll) = house(&service, |ini| ini);
    comes_in(&plimsoll);
    let mut console = plimsoll.console();
    let mut own = |service: &str| console.query(&format!("SET pam_service = '{service}'"));
    let deny = Service::write("auth required pam_deny.so\naccount required pam_permit.so\n").unwrap();
    own(&deny.name());
    refused(&login(&plimsoll, "app", "app-secret").refusal(), "28000");
    // Good password, and an account that may not come in.
    let locked = Service::write("auth required pam_permit.so\naccount required pam_deny.so\n").unwrap();
    own(&locked.name());
    refused(&login(&plimsoll, "app", "app-secret").refusal(), "28000");
    plimsoll.wait_for_log("pam_acct_mgmt() failed", SOON);
    // No user of this system has this password.
    let unix = Service::write("auth required pam_unix.so nodelay\naccount required pam_unix.so\n").unwrap();
    own(&unix.name());
    refused(&login(&plimsoll, "app", "app-secret").refusal(), "28000");
    // A module that is not there lets nobody in: PAM says no more of it to those who ask.
    let broken =
        Service::write("auth required pam_plimsoll_is_not_there.so\naccount required pam_permit.so\n");
    own(&broken.unwrap().name());
    refused(&login(&plimsoll, "app", "app-secret").refusal(), "28000");
}

#[test]
fn a_line_of_an_hba_file_names_its_service() {
    let vault = Vault::new();
    let Some(service) = program(&vault, CHECK) else { return };
    vault.put(
        "hba",
        &format!(
            "host all app all pam pamservice={}\nhost all all all pam pamservice=../x\nhost all all all trust\n",
            service.name()
        ),
    );
    let (_postgres, plimsoll) = house(&service, |ini| {
        let ini = ini.set("auth_type", "hba").own("pam_service", "plimsoll-is-not-there");
        ini.set("auth_hba_file", &vault.path("hba").display().to_string())
    });
    comes_in(&plimsoll);
    refused(&login(&plimsoll, "app", "wrong-one").refusal(), "28000");
    // A line that cannot be understood is no line that is not there.
    assert_eq!(login(&plimsoll, "other", "x").refusal().message, "login rejected");
    plimsoll.wait_for_log("hba line 2 lets nobody in", SOON);
}

/// Threads of the pooler that are in PAM.
fn threads(plimsoll: &mut Plimsoll) -> usize {
    let pid = plimsoll.process().pid();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let name =
        |task: &std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.filter_map(Result::ok).filter(|task| name(task) == "pam\n").count()
}

#[test]
fn modules_that_hang_hold_so_many_threads_and_nobody_else() {
    let vault = Vault::new();
    let Some(service) = program(&vault, CHECK) else { return };
    vault.put("hba", "host all other all scram-sha-256\nhost all all all pam\n");
    let (_postgres, mut plimsoll) = house(&service, |ini| {
        ini.set("auth_type", "hba")
            .set("auth_hba_file", &vault.path("hba").display().to_string())
            .login("other", "other-secret")
            .own("pam_threads", "2")
            .own("pam_timeout", "2s")
    });
    let hanging = || std::fs::read_to_string(vault.path("hanging")).unwrap_or_default().lines().count();
    let errors: Vec<ServerError> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..6).map(|_| scope.spawn(|| login(&plimsoll, "hangs", "x").refusal())).collect();
        eventually("two modules to hang", SOON, || hanging() == 2);
        // Who comes by another way is let in meanwhile: known to us, if not to the server.
        let other = plimsoll.login("other", "nowhere").password("other-secret").refusal();
        assert_eq!(other.message, "no such database: nowhere");
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut details: Vec<String> = errors
        .into_iter()
        .map(|error| {
            refused(&error, "57P03");
            error.detail.unwrap()
        })
        .collect();
    details.sort();
    assert_eq!(&details[..2], ["no answer within 2 s", "no answer within 2 s"], "{details:?}");
    for detail in &details[2..] {
        let words = [
            "no turn within 2 s: all 2 threads are at work",
            "2 checks hang, and there are 2 threads for them",
        ];
        assert!(words.contains(&detail.as_str()), "{details:?}");
    }
    // From here on nobody waits in vain.
    let error = login(&plimsoll, "app", "app-secret").refusal();
    assert_eq!(error.detail.as_deref(), Some("2 checks hang, and there are 2 threads for them"));
    assert_eq!((hanging(), threads(&mut plimsoll)), (2, 2));
    // When they come back, their places are free.
    vault.put("open", "");
    eventually("the threads to end", SOON, || threads(&mut plimsoll) == 0);
    comes_in(&plimsoll);
    plimsoll.wait_for_log("a check has come back after", SOON);
}
