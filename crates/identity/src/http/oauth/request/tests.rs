use super::*;
use crate::id::{Id, Kind};
use crate::model::{Party, State};

const ISSUER: &str = "https://id.example";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn app(uris: &[&str]) -> AppData {
    AppData {
        org: Id::new(Kind::Org, 1, [1; 10]),
        name: "reports".to_owned(),
        party: Party::Third,
        redirect_uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
        state: State::Active,
    }
}

fn params(text: &str) -> Params {
    Params::parse(text).expect("good parameters")
}

#[test]
fn nobody_is_sent_to_an_address_that_is_not_the_applications() {
    let app = app(&["https://app.example/cb", "http://127.0.0.1:8080/cb?x=1"]);
    for uri in [
        "https://app.example/cb/",
        "https://app.example/cb?x=1",
        "https://app.example/cb/../evil",
        "https://app.example/cb%2f..",
        "https://APP.example/cb",
        "https://app.example.evil.example/cb",
        "https://app.example@evil.example/cb",
        "http://app.example/cb",
        "//app.example/cb",
        "http://127.0.0.1:8081/cb?x=1",
        "javascript:alert(1)",
        "https://app.example/cb\r\nX: y",
    ] {
        let text = with_query("", &[("redirect_uri", uri)]);
        let params = params(text.trim_start_matches('?'));
        let fault = Return::find(&params, &app, ISSUER).expect_err(uri);
        assert_eq!(fault.error, OAuthError::InvalidRequest);
    }
    assert!(Return::find(&params("state=1"), &app, ISSUER).is_err());
}

#[test]
fn what_goes_back_is_in_its_place() {
    let app = app(&["https://app.example/cb", "http://127.0.0.1:8080/cb?x=1"]);
    let asked = params("redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Fcb%3Fx%3D1&state=a%26code%3Dmine%0D%0A");
    let back = Return::find(&asked, &app, ISSUER).expect("its address");
    assert_eq!(
        back.with_code("c0de"),
        "http://127.0.0.1:8080/cb?x=1&code=c0de&state=a%26code%3Dmine%0D%0A&iss=https%3A%2F%2Fid.example"
    );
    assert_eq!(back.origin(), Some("http://127.0.0.1:8080"));
    let asked = params("redirect_uri=https%3A%2F%2Fapp.example%2Fcb");
    let back = Return::find(&asked, &app, ISSUER).expect("its address");
    assert_eq!(
        back.with_fault(&OAuthFault::new(OAuthError::AccessDenied, "no \"really\" & not")),
        "https://app.example/cb?error=access_denied&error_description=no%20%27really%27%20%26%20not&iss=https%3A%2F%2Fid.example"
    );
    assert_eq!(back.origin(), Some("https://app.example"));
}

#[test]
fn a_request_without_a_good_proof_key_is_refused() {
    let good = format!("response_type=code&code_challenge={CHALLENGE}&code_challenge_method=S256");
    let read = |text: &str| Request::read(&params(text), "plimsoll").map_err(|fault| fault.error);
    assert_eq!(
        read(&format!("{good}&scope=authorize")),
        Ok(Request {
            challenge: CHALLENGE.to_owned(),
            scopes: vec![Scope::Authorize],
            audience: "plimsoll".to_owned()
        })
    );
    let long = format!("{good}&state={}", "x".repeat(2049));
    for (text, error) in [
        (format!("response_type=code&code_challenge={CHALLENGE}"), OAuthError::InvalidRequest),
        (
            format!("response_type=code&code_challenge={CHALLENGE}&code_challenge_method=plain"),
            OAuthError::InvalidRequest,
        ),
        (good.replace(CHALLENGE, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cMx"), OAuthError::InvalidRequest),
        (
            "response_type=code&code_challenge=short&code_challenge_method=S256".to_owned(),
            OAuthError::InvalidRequest,
        ),
        ("response_type=code&code_challenge_method=S256".to_owned(), OAuthError::InvalidRequest),
        (good.replace("type=code", "type=token"), OAuthError::UnsupportedResponseType),
        (good.replace("type=code", "type=code+id_token"), OAuthError::UnsupportedResponseType),
        (good.replace("response_type=code&", ""), OAuthError::InvalidRequest),
        (format!("{good}&response_mode=fragment"), OAuthError::InvalidRequest),
        (format!("{good}&request=e30"), OAuthError::RequestNotSupported),
        (format!("{good}&request_uri=https%3A%2F%2Fevil.example"), OAuthError::RequestUriNotSupported),
        (format!("{good}&scope=everything"), OAuthError::InvalidScope),
        (format!("{good}&resource=https%3A%2F%2Fother.example"), OAuthError::InvalidTarget),
        (format!("{good}&prompt=none"), OAuthError::LoginRequired),
        (long, OAuthError::InvalidRequest),
    ] {
        assert_eq!(read(&text), Err(error), "{text}");
    }
}
