//! Authorization codes and refresh tokens.

use std::time::Duration;

use axum::http::StatusCode;
use plimsoll_identity::http::Nature as _;
use plimsoll_identity::{Application, Party, Scope, State};
use plimsoll_testkit::{Postgres, TempDir};

use crate::desk::{
    Desk, Issuing, VERIFIER, basic, exchange, form, post_elsewhere, who, with_desk, with_desk_at,
};

fn bad_grant() -> (u16, String) {
    (400, "invalid_grant".to_owned())
}

#[test]
fn somebody_signs_in_and_goes_on() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        let code = desk.code(&app, &[("scope", "authorize admin")]).await;
        let answer = desk.exchange(&app, &code).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        let claims = desk.claims(&answer.text("access_token"), "plimsoll");
        assert_eq!(
            (claims.subject.as_str(), claims.client_id.as_deref()),
            (desk.user.id.as_str(), Some(app.id.as_str()))
        );
        // What the user does not have is not given, however it is asked for.
        assert_eq!(
            (claims.scope.as_deref(), answer.text("scope").as_str()),
            (Some("authorize"), "authorize")
        );
        assert_eq!(claims.kid_used, None);
        let mut token = answer.text("refresh_token");
        for _ in 0..3 {
            desk.nature.pass(Duration::from_hours(24));
            let answer = desk.refresh(&app, &token).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            let next = answer.text("refresh_token");
            assert_ne!(next, token);
            token = next;
        }
        let fewer = [
            ("grant_type", "refresh_token"),
            ("refresh_token", &*token),
            ("client_id", app.id.as_str()),
            ("scope", "admin"),
        ];
        let answer = desk.token(&fewer, &[]).await;
        assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
        // A mistake in the request does not use the token up.
        let answer = desk.refresh(&app, &token).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        // Not used for too long.
        desk.nature.pass(Duration::from_hours(24 * 8));
        assert_eq!(desk.refresh(&app, &answer.text("refresh_token")).await.error(), bad_grant());
        let signed_in = desk.store.changes_since(0).await.unwrap();
        assert!(
            signed_in
                .iter()
                .any(|entry| entry.action == "user.sign_in" && entry.object == desk.user.id.as_str())
        );
    });
}

#[test]
fn a_sign_in_has_an_end_however_often_it_is_used() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        let code = desk.code(&app, &[]).await;
        let mut answer = desk.exchange(&app, &code).await;
        for _ in 0..5 {
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            desk.nature.pass(Duration::from_hours(24 * 6));
            answer = desk.refresh(&app, &answer.text("refresh_token")).await;
        }
        assert_eq!(answer.error(), bad_grant(), "after 30 days");
    });
}

#[test]
fn a_code_is_good_once_and_for_a_minute() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        let code = desk.code(&app, &[]).await;
        let (one, two) = tokio::join!(desk.exchange(&app, &code), desk.exchange(&app, &code));
        let wins = [&one, &two].into_iter().find(|answer| answer.status == StatusCode::OK);
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 400], "of two at once one wins");
        // And nobody has anything of it: one of the two has stolen it.
        let (access, refresh) =
            wins.map(|won| (won.text("access_token"), won.text("refresh_token"))).unwrap();
        let teller = desk.key(&desk.app("teller", Party::First).await, &[Scope::Authorize]).await;
        assert!(!desk.is_active(&teller, &access).await && !desk.is_active(&teller, &refresh).await);
        assert_eq!(desk.refresh(&app, &refresh).await.error(), bad_grant());
        let code = desk.code(&app, &[]).await;
        desk.nature.pass(Duration::from_secs(61));
        assert_eq!(desk.exchange(&app, &code).await.error(), bad_grant());
    });
}

#[test]
fn a_code_that_comes_again_ends_what_came_of_it() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        let teller = desk.key(&desk.app("teller", Party::First).await, &[Scope::Authorize]).await;
        let code = desk.code(&app, &[]).await;
        let first = desk.exchange(&app, &code).await;
        let (access, refresh) = (first.text("access_token"), first.text("refresh_token"));
        assert!(desk.is_active(&teller, &access).await && desk.is_active(&teller, &refresh).await);
        assert_eq!(desk.exchange(&app, &code).await.error(), bad_grant());
        assert!(!desk.is_active(&teller, &access).await && !desk.is_active(&teller, &refresh).await);
        assert_eq!(desk.refresh(&app, &refresh).await.error(), bad_grant());
    });
}

#[test]
fn a_code_without_what_belongs_to_it_is_used_up() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        let other = desk.app("other", Party::First).await;
        let key = desk.key(&desk.app("keyed", Party::First).await, &[]).await;
        let other_verifier = "a".repeat(43);
        for (name, value, header) in [
            ("code_verifier", other_verifier.as_str(), None),
            ("code_verifier", "short", None),
            ("redirect_uri", "https://app.example/cb", None),
            ("client_id", other.id.as_str(), None),
            ("client_id", key.id.as_str(), Some(key.basic())),
        ] {
            let code = desk.code(&app, &[]).await;
            let mut params = exchange(&app, &code).to_vec();
            params.retain(|(known, _)| *known != name);
            params.push((name, value));
            let headers: Vec<_> = header.into_iter().collect();
            assert_eq!(desk.token(&params, &headers).await.error(), bad_grant(), "{name} {value}");
            assert_eq!(
                desk.exchange(&app, &code).await.error(),
                bad_grant(),
                "{name} {value}: again, as it should be"
            );
            desk.nature.pass(Duration::from_secs(60));
        }
        // What is only left out is not tried.
        let code = desk.code(&app, &[]).await;
        for left_out in ["code_verifier", "redirect_uri", "code"] {
            let mut params = exchange(&app, &code).to_vec();
            params.retain(|(known, _)| *known != left_out);
            assert_eq!(
                desk.token(&params, &[]).await.error(),
                (400, "invalid_request".to_owned()),
                "{left_out}"
            );
        }
        assert_eq!(desk.exchange(&app, &code).await.status, StatusCode::OK);
        for code in ["", "../x", "'; DROP TABLE plimsoll_things; --", VERIFIER] {
            let (status, _) = desk.exchange(&app, code).await.error();
            assert_eq!(status, 400, "{code}");
        }
    });
}

#[test]
fn an_application_with_a_key_shows_it() {
    with_desk(async |desk| {
        let app = desk.app("server", Party::First).await;
        let key = desk.key(&app, &[]).await;
        let code = desk.code(&app, &[]).await;
        assert_eq!(desk.exchange(&app, &code).await.error(), (401, "invalid_client".to_owned()));
        let answer = desk.token(&exchange(&app, &code), &[basic(app.id.as_str(), &key.text)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let claims = desk.claims(&answer.text("access_token"), "plimsoll");
        assert_eq!(
            (claims.subject.as_str(), claims.kid_used.as_deref()),
            (desk.user.id.as_str(), Some(key.id.as_str()))
        );
        let refresh = answer.text("refresh_token");
        assert_eq!(desk.refresh(&app, &refresh).await.error(), (401, "invalid_client".to_owned()));
        let params = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
        assert_eq!(desk.token(&params, &[key.basic()]).await.status, StatusCode::OK);
    });
}

#[test]
fn a_refresh_token_that_comes_again_ends_the_sign_in() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        let teller = desk.key(&desk.app("teller", Party::First).await, &[Scope::Authorize]).await;
        let code = desk.code(&app, &[]).await;
        let first = desk.exchange(&app, &code).await.text("refresh_token");
        let second = desk.refresh(&app, &first).await;
        let access = second.text("access_token");
        assert!(desk.is_active(&teller, &access).await);
        // The thief comes after the owner.
        assert_eq!(desk.refresh(&app, &first).await.error(), bad_grant());
        assert_eq!(desk.refresh(&app, &second.text("refresh_token")).await.error(), bad_grant());
        assert!(!desk.is_active(&teller, &access).await);
        // Another application has it.
        let other = desk.app("other", Party::First).await;
        let code = desk.code(&app, &[]).await;
        let token = desk.exchange(&app, &code).await.text("refresh_token");
        assert_eq!(desk.refresh(&other, &token).await.error(), bad_grant());
        assert_eq!(desk.refresh(&app, &token).await.error(), bad_grant());
        // Two at once: one wins at most.
        let code = desk.code(&app, &[]).await;
        let token = desk.exchange(&app, &code).await.text("refresh_token");
        let (one, two) = tokio::join!(desk.refresh(&app, &token), desk.refresh(&app, &token));
        let wins = [one, two].iter().filter(|answer| answer.status == StatusCode::OK).count();
        assert_eq!(wins, 1);
        for text in ["", "plimr_", "plimr_../../x", "plim_test_x_y", &token[..token.len() - 1]] {
            assert_eq!(desk.refresh(&app, text).await.status, StatusCode::BAD_REQUEST, "{text}");
        }
    });
}

#[test]
fn what_ends_a_person_ends_their_sign_ins() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        let teller = desk.key(&desk.app("teller", Party::First).await, &[Scope::Authorize]).await;
        let begin = async || {
            let code = desk.code(&app, &[]).await;
            let answer = desk.exchange(&app, &code).await;
            (answer.text("access_token"), answer.text("refresh_token"))
        };
        let (access, refresh) = begin().await;
        desk.set_password("another good password").await;
        assert!(!desk.is_active(&teller, &refresh).await);
        assert!(desk.is_active(&teller, &access).await, "it ends by itself");
        assert_eq!(desk.refresh(&app, &refresh).await.error(), bad_grant());
        desk.set_password(crate::desk::PASSWORD).await;
        let (access, refresh) = begin().await;
        let code = desk.code(&app, &[]).await;
        let user = desk.store.user(&desk.user.id).await.unwrap();
        let disabled = plimsoll_identity::UserData { state: State::Disabled, ..user.data };
        desk.store.change_user(&desk.user.id, None, disabled, who()).await.unwrap();
        assert!(!desk.is_active(&teller, &access).await && !desk.is_active(&teller, &refresh).await);
        assert_eq!(desk.refresh(&app, &refresh).await.error(), bad_grant());
        assert_eq!(desk.exchange(&app, &code).await.error(), bad_grant());
    });
}

/// A sign-in: the application, and its refresh token.
async fn begun(desk: &Desk, name: &str) -> (Application, String) {
    let app = desk.app(name, Party::First).await;
    let code = desk.code(&app, &[]).await;
    let refresh = desk.exchange(&app, &code).await.text("refresh_token");
    (app, refresh)
}

/// In both orders, between two instances on one store.
async fn a_revocation_beside_a_refresh_is_not_survived(desk: Desk) {
    let teller = desk.key(&desk.app("teller", Party::First).await, &[Scope::Authorize]).await;
    let now_ms = desk.nature.now_ms();
    let revocation = |app: &Application, token: &str| {
        let (url, body) = (desk.url.clone(), form(&[("token", token), ("client_id", app.id.as_str())]));
        move || assert_eq!(post_elsewhere(&url, now_ms, "/oauth/revoke", body), 200)
    };
    // The refresh has read the sign-in, and draws the number of the new token: now it is revoked elsewhere.
    let (app, refresh) = begun(&desk, "first").await;
    desk.nature.meanwhile(2, revocation(&app, &refresh));
    assert_eq!(desk.refresh(&app, &refresh).await.error(), bad_grant());
    assert!(desk.nature.has_happened());
    assert_eq!(desk.refresh(&app, &refresh).await.error(), bad_grant());
    assert!(desk.store.things("refresh", now_ms, 9).await.unwrap().is_empty(), "nothing was put back");
    // It is revoked by the token of before, when the refresh has just been done.
    let (app, refresh) = begun(&desk, "second").await;
    let next = desk.refresh(&app, &refresh).await;
    let (access, next) = (next.text("access_token"), next.text("refresh_token"));
    revocation(&app, &refresh)();
    assert_eq!(desk.refresh(&app, &next).await.error(), bad_grant());
    assert!(!desk.is_active(&teller, &access).await && !desk.is_active(&teller, &next).await);
    // The same token is used elsewhere beside it: two have it.
    let (app, refresh) = begun(&desk, "third").await;
    let (url, body) = (
        desk.url.clone(),
        form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
            ("client_id", app.id.as_str()),
        ]),
    );
    desk.nature.meanwhile(2, move || assert_eq!(post_elsewhere(&url, now_ms, "/oauth/token", body), 200));
    assert_eq!(desk.refresh(&app, &refresh).await.error(), bad_grant());
    assert!(desk.store.things("refresh", now_ms, 9).await.unwrap().is_empty(), "it has ended for both");
}

#[test]
fn a_revocation_beside_a_refresh_is_not_survived_on_sqlite() {
    let dir = TempDir::new("oauth");
    let url = format!("sqlite:{}", dir.path().join("identity.db").display());
    with_desk_at(url, Issuing::On, a_revocation_beside_a_refresh_is_not_survived);
}

#[test]
fn a_revocation_beside_a_refresh_is_not_survived_on_postgresql() {
    let postgres = Postgres::start();
    let url = format!("postgres://postgres@127.0.0.1:{}/p0", postgres.port());
    with_desk_at(url, Issuing::On, a_revocation_beside_a_refresh_is_not_survived);
}

/// Between two instances on one store: whoever is second ends what the first one got.
async fn a_code_that_is_used_twice_at_once_is_good_for_nobody(desk: Desk) {
    let teller = desk.key(&desk.app("teller", Party::First).await, &[Scope::Authorize]).await;
    let app = desk.app("desktop", Party::First).await;
    let now_ms = desk.nature.now_ms();
    // The code has been looked at, and chance is drawn for the access token, for the refresh token: now it is used
    // elsewhere.
    for draw in 1..=3 {
        let code = desk.code(&app, &[]).await;
        let (url, body) = (desk.url.clone(), form(&exchange(&app, &code)));
        desk.nature
            .meanwhile(draw, move || assert_eq!(post_elsewhere(&url, now_ms, "/oauth/token", body), 200));
        assert_eq!(desk.exchange(&app, &code).await.error(), bad_grant());
        assert!(desk.nature.has_happened());
        assert!(desk.store.things("refresh", now_ms, 9).await.unwrap().is_empty(), "it has ended for both");
        let ended = desk.store.revoked_tokens(now_ms, 9).await.unwrap();
        assert_eq!(ended.len(), usize::try_from(draw).unwrap(), "the access token with it");
    }
    // The next sign-in is another matter.
    let code = desk.code(&app, &[]).await;
    let access = desk.exchange(&app, &code).await.text("access_token");
    assert!(desk.is_active(&teller, &access).await);
}

#[test]
fn a_code_that_is_used_twice_at_once_is_good_for_nobody_on_sqlite() {
    let dir = TempDir::new("oauth");
    let url = format!("sqlite:{}", dir.path().join("identity.db").display());
    with_desk_at(url, Issuing::On, a_code_that_is_used_twice_at_once_is_good_for_nobody);
}

#[test]
fn a_code_that_is_used_twice_at_once_is_good_for_nobody_on_postgresql() {
    let postgres = Postgres::start();
    let url = format!("postgres://postgres@127.0.0.1:{}/p0", postgres.port());
    with_desk_at(url, Issuing::On, a_code_that_is_used_twice_at_once_is_good_for_nobody);
}
