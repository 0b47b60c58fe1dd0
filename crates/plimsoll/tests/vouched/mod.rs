//! Logins of which somebody else says whether they are good, by LDAP or PAM: `app` has the password of its role.

use plimsoll_testkit::{Login, Plimsoll, ServerError};

pub(crate) fn login(plimsoll: &Plimsoll, user: &str, password: &str) -> Login {
    plimsoll.login(user, "p0").password(password)
}

#[track_caller]
pub(crate) fn comes_in(plimsoll: &Plimsoll) {
    let mut client = login(plimsoll, "app", "app-secret").client();
    assert_eq!(client.value("SELECT current_user"), "app");
}

/// That it was refused with this message and SQLSTATE, and told what to do.
#[track_caller]
pub(crate) fn refused(error: &ServerError, sqlstate: &str, message: &str) {
    let seen = (error.severity.as_str(), error.sqlstate.as_str(), error.message.as_str());
    assert_eq!(seen, ("FATAL", sqlstate, message), "{error:?}");
    assert!(error.hint.is_some(), "{error:?}");
}

/// A wrong password, nobody's name, and a password of which nobody may be asked: an LDAP server would say yes to it.
#[track_caller]
pub(crate) fn wrong_ones_stay_out(plimsoll: &Plimsoll, message: &str) {
    refused(&login(plimsoll, "app", "wrong-one").refusal(), "28000", message);
    refused(&login(plimsoll, "nobody", "app-secret").refusal(), "28000", message);
    let empty = login(plimsoll, "app", "").refusal();
    assert_eq!(
        (empty.sqlstate.as_str(), empty.message.as_str()),
        ("28P01", "empty password returned by client")
    );
}
