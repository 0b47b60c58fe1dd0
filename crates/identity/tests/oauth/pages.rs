//! The pages at which people sign in and agree.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use plimsoll_identity::{Party, Scope, State, UserData};

use crate::desk::{Answer, BACK, ISSUER, LOGIN, PASSWORD, form, org_data, request, who, with_desk};

const NASTY: &str = "\"><script>alert('x')</script><img src=x onerror=alert(1)>";

/// Every page says what it may do, which is next to nothing.
fn check_page(answer: &Answer) {
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!((answer.header("cache-control"), answer.header("x-frame-options")), ("no-store", "DENY"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let policy = answer.header("content-security-policy");
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !answer.body.contains("<script"), "{answer:?}");
}

#[test]
fn what_goes_back_is_what_came() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        let state = format!("{NASTY}\r\nSet-Cookie: a=b\r\n\r\n<b>&code=stolen&iss=https://evil.example");
        let params = request(&app, &[("state", state.as_str())]);
        let tab = desk.open_page(&params).await;
        check_page(&tab.answer);
        assert!(tab.answer.header("set-cookie").starts_with("__Host-plimsoll_sign_in="));
        assert!(tab.answer.header("set-cookie").ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"));
        assert!(
            tab.answer.header("content-security-policy").contains("form-action 'self' https://app.example;")
        );
        let answer = desk.enter(&tab, &[("login", LOGIN), ("password", PASSWORD)]).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (StatusCode::SEE_OTHER, ""));
        assert!(answer.header("location").starts_with(&format!("{BACK}&code=")));
        assert_eq!(answer.sent("state"), Some(state));
        assert_eq!(answer.sent("iss").as_deref(), Some(ISSUER));
        assert_eq!(answer.header("location").matches("code=").count(), 1);
        assert_eq!(answer.headers.get_all("location").iter().count(), 1);
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
    });
}

#[test]
fn nobody_is_sent_where_the_application_is_not() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        for (name, value) in [
            ("redirect_uri", "https://evil.example/cb"),
            ("redirect_uri", "https://app.example/cb?keep=1&x=2"),
            ("redirect_uri", "https://app.example/cb?keep=1/.."),
            ("redirect_uri", "https://app.example@evil.example/cb?keep=1"),
            ("redirect_uri", "javascript:alert(1)"),
            ("redirect_uri", ""),
            ("client_id", "app_00000000z8zzzzzzzzzzzzzzzz"),
            ("client_id", "' OR 1=1 --"),
            ("client_id", NASTY),
            ("client_id", ""),
        ] {
            let answer =
                desk.get(&format!("/oauth/authorize?{}", form(&request(&app, &[(name, value)])))).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}={value}");
            assert_eq!(answer.header("location"), "", "{name}={value}");
            check_page(&answer);
        }
        let twice = format!("{}&redirect_uri={}", form(&request(&app, &[])), "https%3A%2F%2Fevil.example");
        let answer = desk.get(&format!("/oauth/authorize?{twice}")).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::BAD_REQUEST, ""));
        // What is changed in the form is looked at again.
        let tab = desk.open_page(&request(&app, &[])).await;
        let changed = [("login", LOGIN), ("password", PASSWORD), ("redirect_uri", "https://evil.example/")];
        let answer = desk.enter(&tab, &changed).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::BAD_REQUEST, ""));
        // Everything else goes to the application.
        for (name, value, error) in [
            ("code_challenge_method", "plain", "invalid_request"),
            ("code_challenge", "", "invalid_request"),
            ("response_type", "token", "unsupported_response_type"),
            ("scope", "everything", "invalid_scope"),
            ("resource", "https://other.example", "invalid_target"),
            ("prompt", "none", "login_required"),
        ] {
            let params = request(&app, &[(name, value), ("state", "a b")]);
            let answer = desk.get(&format!("/oauth/authorize?{}", form(&params))).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}={value}: {answer:?}");
            assert_eq!(answer.sent("error").as_deref(), Some(error));
            assert_eq!(
                (answer.sent("state").as_deref(), answer.sent("iss").as_deref()),
                (Some("a b"), Some(ISSUER))
            );
        }
    });
}

#[test]
fn a_form_is_taken_from_its_own_browser_only() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        let tab = desk.open_page(&request(&app, &[])).await;
        let other = desk.open_page(&request(&app, &[])).await;
        let word = |tab: &crate::desk::Tab| {
            tab.fields
                .iter()
                .find(|(name, _)| name == "csrf")
                .map(|(_, value)| value.clone())
                .expect("a word")
        };
        let mut params = vec![("step", "sign_in"), ("login", LOGIN), ("password", PASSWORD)];
        params.extend(request(&app, &[]));
        let (own, others) = (word(&tab), word(&other));
        let cookie = ("cookie", tab.cookie.clone());
        let same = ("sec-fetch-site", "same-origin".to_owned());
        for (csrf, headers) in [
            (own.as_str(), vec![same.clone()]),
            (others.as_str(), vec![cookie.clone(), same.clone()]),
            ("", vec![cookie.clone(), same.clone()]),
            (own.as_str(), vec![cookie.clone(), ("sec-fetch-site", "cross-site".to_owned())]),
            (own.as_str(), vec![cookie.clone(), ("sec-fetch-site", "same-site".to_owned())]),
            (own.as_str(), vec![("cookie", format!("{}; {}", tab.cookie, other.cookie)), same.clone()]),
        ] {
            let mut params = params.clone();
            params.push(("csrf", csrf));
            let answer = desk.post("/oauth/authorize", &params, &headers).await;
            assert_eq!(
                (answer.status, answer.header("location")),
                (StatusCode::FORBIDDEN, ""),
                "{csrf} {headers:?}"
            );
            check_page(&answer);
        }
        params.push(("csrf", own.as_str()));
        let answer = desk.post("/oauth/authorize", &params, &[cookie]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "a browser too old to say where it comes from");
    });
}

#[test]
fn what_is_wrong_with_a_sign_in_is_not_told() {
    with_desk(async |desk| {
        let app = desk.app(NASTY, Party::First).await;
        let locked = UserData {
            org: desk.org.id.clone(),
            login: "locked".to_owned(),
            scopes: Vec::new(),
            state: State::Disabled,
        };
        let locked = desk.store.create_user(locked, who()).await.unwrap();
        let phc = desk.store.user_by_login(LOGIN).await.unwrap().unwrap().1.unwrap();
        desk.store.set_user_password(&locked.id, Some(&phc), who()).await.unwrap();
        let tab = desk.open_page(&request(&app, &[])).await;
        let mut bodies = Vec::new();
        for (login, password) in [
            (LOGIN, "another good password"),
            ("nobody@example.org", PASSWORD),
            ("locked", PASSWORD),
            (NASTY, NASTY),
            ("' OR 1=1 --", PASSWORD),
            ("", ""),
        ] {
            desk.nature.pass(Duration::from_secs(30));
            let answer = desk.enter(&tab, &[("login", login), ("password", password)]).await;
            assert_eq!((answer.status, answer.header("location")), (StatusCode::OK, ""), "{login}");
            check_page(&answer);
            assert!(!answer.body.contains("another good password"));
            let shown = login.replace('&', "&amp;");
            bodies.push(answer.body.replace(&format!("value=\"{shown}\""), "value=\"\""));
        }
        assert!(bodies[1] == bodies[0] && bodies[2] == bodies[0], "{bodies:?}");
        desk.nature.pass(Duration::from_secs(30));
        assert_eq!(
            desk.enter(&tab, &[("login", LOGIN), ("password", PASSWORD)]).await.status,
            StatusCode::SEE_OTHER
        );
    });
}

#[test]
fn an_unknown_login_takes_as_long_as_a_known_one() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        let tab = desk.open_page(&request(&app, &[])).await;
        let mut shortest = [Duration::MAX; 2];
        for _ in 0..5 {
            for (shortest, login) in shortest.iter_mut().zip([LOGIN, "nobody@example.org"]) {
                desk.nature.pass(Duration::from_secs(30));
                let begun = Instant::now();
                desk.enter(&tab, &[("login", login), ("password", "a wrong password")]).await;
                *shortest = begun.elapsed().min(*shortest);
            }
        }
        let [known, unknown] = shortest;
        assert!(unknown * 2 > known && known * 2 > unknown, "{known:?} and {unknown:?}");
    });
}

#[test]
fn guessing_is_slowed_down() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        let tab = desk.open_page(&request(&app, &[])).await;
        let guess = async |login: &str, password: &str| {
            desk.enter(&tab, &[("login", login), ("password", password)]).await
        };
        for _ in 0..4 {
            assert_eq!(guess(LOGIN, "a wrong password").await.status, StatusCode::OK);
        }
        let answer = guess(LOGIN, PASSWORD).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "also with the right one");
        check_page(&answer);
        assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|wait_s| (1..10).contains(&wait_s)));
        assert_eq!(
            guess("nobody", PASSWORD).await.status,
            StatusCode::TOO_MANY_REQUESTS,
            "the address as well"
        );
        desk.nature.pass(Duration::from_secs(30));
        assert_eq!(guess(LOGIN, PASSWORD).await.status, StatusCode::SEE_OTHER);
    });
}

#[test]
fn an_application_of_others_is_agreed_to() {
    with_desk(async |desk| {
        let strangers = desk.store.create_org(org_data("strangers & co"), who()).await.unwrap();
        let user = desk.store.user(&desk.user.id).await.unwrap();
        let data = UserData { scopes: vec![Scope::OrgAdmin], ..user.data };
        desk.store.change_user(&desk.user.id, None, data, who()).await.unwrap();
        for app in [
            desk.app("third", Party::Third).await,
            desk.app_of(&strangers, "first elsewhere", Party::First).await,
        ] {
            let params = request(&app, &[("state", "s1"), ("scope", "org_admin admin")]);
            let tab = desk.open_page(&params).await;
            let entered = [("login", LOGIN), ("password", PASSWORD)];
            let page = desk.enter(&tab, &entered).await;
            assert_eq!((page.status, page.header("location")), (StatusCode::OK, ""));
            check_page(&page);
            assert!(
                page.body.contains("everything of your organisation")
                    && !page.body.contains("everything in this")
            );
            assert!(!page.body.contains(PASSWORD) && page.body.contains(LOGIN));
            let consent = tab.next(page);
            // Another browser cannot agree, and with that it is over.
            let other = desk.open_page(&params).await;
            let mut stolen: Vec<_> = consent.fields.clone();
            let word = other.fields.iter().find(|(name, _)| name == "csrf").expect("a word").1.clone();
            stolen.retain(|(name, _)| name != "csrf");
            stolen.push(("csrf".to_owned(), word));
            let mut fields: Vec<(&str, &str)> =
                stolen.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            fields.push(("decision", "allow"));
            let answer = desk.post("/oauth/authorize", &fields, &[("cookie", other.cookie.clone())]).await;
            assert_eq!((answer.status, answer.header("location")), (StatusCode::BAD_REQUEST, ""));
            for (decision, wanted) in [("deny", "error"), ("", "error"), ("allow", "code")] {
                desk.nature.pass(Duration::from_secs(30));
                let consent = tab.next(desk.enter(&tab, &entered).await);
                let answer = desk.enter(&consent, &[("decision", decision)]).await;
                assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
                assert!(answer.sent(wanted).is_some() && answer.sent("state").as_deref() == Some("s1"));
                assert_eq!(answer.sent("code").is_some(), decision == "allow");
                let again = desk.enter(&consent, &[("decision", "allow")]).await;
                assert_eq!((again.status, again.header("location")), (StatusCode::BAD_REQUEST, ""), "once");
            }
            desk.nature.pass(Duration::from_secs(30));
            let consent = tab.next(desk.enter(&tab, &entered).await);
            desk.nature.pass(Duration::from_mins(6));
            let late = desk.enter(&consent, &[("decision", "allow")]).await;
            assert_eq!(late.status, StatusCode::BAD_REQUEST, "too late");
        }
    });
}
