use super::*;

const NASTY: &str =
    "\"><script>alert('x')</script>&amp;\u{202e}<img src=x onerror=alert(1)>\r\nSet-Cookie: a=b\0";

fn text(page: &Page) -> &str {
    &page.body
}

#[test]
fn nothing_from_outside_is_a_tag_or_leaves_its_attribute() {
    let page = sign_in(&SignInPage {
        app: NASTY,
        origin: Some(NASTY),
        login: NASTY,
        word: NASTY,
        carried: &[("state", NASTY), ("redirect_uri", NASTY)],
        alert: Some(NASTY),
    });
    let plain = sign_in(&SignInPage {
        app: "a",
        origin: Some("b"),
        login: "c",
        word: "d",
        carried: &[("state", "e"), ("redirect_uri", "f")],
        alert: Some("g"),
    });
    let consent = consent(&ConsentPage {
        app: NASTY,
        org: NASTY,
        origin: None,
        login: NASTY,
        word: NASTY,
        pending: NASTY,
        rights: &["be there"],
    });
    // As many tags and quotes as there are without anything nasty.
    for sign in ['<', '>', '"'] {
        assert_eq!(text(&page).matches(sign).count(), text(&plain).matches(sign).count(), "{sign}");
    }
    for page in [&page, &consent, &fault(StatusCode::BAD_REQUEST, NASTY)] {
        let text = text(page);
        assert!(!text.contains("<script") && !text.contains("<img") && !text.contains('\u{202e}'));
        assert!(!text.contains('\0') && !text.contains("\r\n"));
        assert!(text.contains("&lt;script&gt;"));
    }
}

#[test]
fn the_policy_lets_nothing_in() {
    let page = sign_in(&SignInPage {
        app: "a",
        origin: Some("https://app.example"),
        login: "",
        word: "d",
        carried: &[],
        alert: None,
    });
    let style = page.body.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>"));
    let (style, _) = style.expect("a style");
    let hash = BASE64.encode(Sha256::digest(style));
    let response = page.into_response();
    let headers = response.headers();
    let policy = headers.get(CONTENT_SECURITY_POLICY).expect("a policy").to_str().expect("a text");
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self' https://app.example; base-uri 'none'; frame-ancestors 'none'"
        )
    );
    for (name, value) in HEADERS {
        assert_eq!(headers.get(&name).and_then(|value| value.to_str().ok()), Some(value));
    }
}
