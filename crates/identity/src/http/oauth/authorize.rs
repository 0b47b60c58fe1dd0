//! `/oauth/authorize`: the page at which people sign in, the one at which they agree, and the way back to the application
//! with a code. Nothing is remembered of who has signed in: each code is asked for with the password.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use plimsoll_types::Secret;
use serde::{Deserialize, Serialize};

use super::ask::Ask;
use super::csrf::{Browser, is_from_elsewhere};
use super::fault::{OAuthError, OAuthFault};
use super::kept::{self, Code};
use super::page::{self, ConsentPage, Page, SignInPage};
use super::params::{Params, with_query};
use super::request::{Request, Return, carried};
use super::{OAuth, wanted};
use crate::http::gate::Count;
use crate::id::{Id, Kind};
use crate::model::{Application, Organisation, Party, Scope, User};
use crate::password::{PasswordFault, Verdict};
use crate::rules::subject_good;
use crate::store::{Holder, SubjectFacts, Who};

/// The store's space of sign-ins that wait for somebody to agree.
const PENDING: &str = "sign_in";

/// How long one waits, milliseconds.
const PENDING_LIFE_MS: i64 = 5 * 60_000;

/// The words for an unknown login, a wrong password, and somebody who may not sign in, are the same.
const WRONG: &str = "The login or the password is wrong.";

/// What is sent back to the browser, good or not.
type Sent = Result<Response, Refused>;

/// Why there is no page: told on one, which leads nowhere.
pub(super) struct Refused(OAuthFault);

impl From<OAuthFault> for Refused {
    fn from(fault: OAuthFault) -> Refused {
        Refused(fault)
    }
}

impl From<crate::store::StoreFault> for Refused {
    fn from(fault: crate::store::StoreFault) -> Refused {
        Refused(fault.into())
    }
}

impl axum::response::IntoResponse for Refused {
    fn into_response(self) -> Response {
        // Browsers show their own window for a 401.
        let status = match self.0.status() {
            StatusCode::UNAUTHORIZED => StatusCode::BAD_REQUEST,
            other => other,
        };
        page::fault(status, &self.0.why).retry_after_s(self.0.retry_after_s()).into_response()
    }
}

/// A sign-in that waits for somebody to agree.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pending {
    /// Who has signed in.
    user: Id,
    /// In which browser.
    browser: String,
    /// What for: the parameters of the request.
    params: String,
}

/// The application of a request.
struct Asking {
    app: Application,
    org: Organisation,
}

/// `GET /oauth/authorize`.
pub(super) async fn show(oauth: OAuth, ask: Result<Ask, OAuthFault>) -> Sent {
    let ask = ask?;
    let asking = Asking::find(&oauth, &ask.params).await?;
    let back = Return::find(&ask.params, &asking.app.data, oauth.signer.url())?;
    if let Err(fault) = Request::read(&ask.params, &oauth.audience) {
        return leave(&back.with_fault(&fault));
    }
    let (browser, is_new) = match Browser::find(&ask.headers, oauth.signer.url()) {
        Some(browser) => (browser, None),
        None => {
            let browser = Browser::new(&oauth.chance()?);
            let cookie = browser.set_cookie(oauth.signer.url());
            (browser, cookie)
        }
    };
    Ok(asking.sign_in_page(&ask.params, &back, &browser, "", None).cookie(is_new).into_response())
}

/// `POST /oauth/authorize`.
pub(super) async fn submit(oauth: OAuth, ask: Result<Ask, OAuthFault>) -> Sent {
    let ask = ask?;
    let refuse = |why: &'static str| Err(OAuthFault::new(OAuthError::AccessDenied, why).into());
    if is_from_elsewhere(&ask.headers) {
        return refuse("This was sent by a page of another site.");
    }
    let Some(browser) = Browser::find(&ask.headers, oauth.signer.url()) else {
        return refuse(
            "The browser did not send the cookie of the sign-in page. Cookies have to be allowed.",
        );
    };
    if !ask.params.find("csrf").is_some_and(|word| browser.knows(word)) {
        return refuse("This is not the form of the sign-in page, or it is too old.");
    }
    match ask.params.find("step") {
        Some("sign_in") => sign_in(&oauth, &ask, &browser).await,
        Some("consent") => decide(&oauth, &ask, &browser).await,
        Some(_) | None => refuse("This is not the form of the sign-in page, or it is too old."),
    }
}

async fn sign_in(oauth: &OAuth, ask: &Ask, browser: &Browser) -> Sent {
    let asking = Asking::find(oauth, &ask.params).await?;
    let back = Return::find(&ask.params, &asking.app.data, oauth.signer.url())?;
    let request = match Request::read(&ask.params, &oauth.audience) {
        Ok(request) => request,
        Err(fault) => return leave(&back.with_fault(&fault)),
    };
    let login = ask.params.find("login").unwrap_or_default();
    let password = Secret::from_text(ask.params.find("password").unwrap_or_default());
    let again = |status, alert: &str, retry_s| {
        let page = asking.sign_in_page(&ask.params, &back, browser, login, Some(alert));
        Ok(page.status(status).retry_after_s(retry_s).into_response())
    };
    let (user, org) = match check_password(oauth, ask, login, password).await? {
        Checked::Right(user, org) => (user, org),
        Checked::Wrong => return again(StatusCode::OK, WRONG, None),
        Checked::TooOften(retry_s) => {
            let alert = format!("Too many tries: wait {retry_s} s before the next one.");
            return again(StatusCode::TOO_MANY_REQUESTS, &alert, Some(retry_s));
        }
    };
    // An application of somebody else acts for a person if that person says so, and so does any that wants to use what
    // the person may do over this API.
    match (asking.app.data.party, asking.org.id == org.id && request.scopes.is_empty()) {
        (Party::First, true) => {
            let to = grant(oauth, ask, &asking, &back, &request, &user).await?;
            leave(&to)
        }
        (Party::First, false) | (Party::Third, _) => {
            asking.ask_consent(oauth, &ask.params, &back, &request, &user, browser).await
        }
    }
}

/// What comes of a login and a password.
enum Checked {
    Right(User, Organisation),
    Wrong,
    TooOften(u64),
}

async fn check_password(oauth: &OAuth, ask: &Ask, login: &str, password: Secret) -> Result<Checked, Refused> {
    let (gate, now_ms) = (oauth.http.gate(), oauth.http.now_ms());
    // Every try of a login is counted before it is made, so that many at once are counted as well; of an address the
    // wrong ones, since a whole office may have one.
    let free = gate
        .look(Count::PasswordsFrom(ask.from), now_ms)
        .and_then(|()| gate.take(Count::PasswordsOf(login), now_ms));
    if let Err(often) = free {
        return Ok(Checked::TooOften(often.retry_s));
    }
    let found = oauth.http.store().user_by_login(login).await?;
    let (user, phc) = found.map_or((None, None), |(user, phc)| (Some(user), phc));
    let wrong = |why: &str| {
        oauth.count(Count::PasswordsFrom(ask.from));
        // What was typed as the login may be a password.
        tracing::info!(from = %ask.from, user = user.as_ref().map(|user| user.id.as_str()), "sign-in refused: {why}");
        Ok(Checked::Wrong)
    };
    match oauth.http.passwords().verify(password, phc).await {
        Ok(Verdict::Right) => {}
        Ok(Verdict::Wrong) => return wrong("unknown login or wrong password"),
        Err(PasswordFault::Busy) => return Ok(Checked::TooOften(1)),
        Err(
            fault @ (PasswordFault::TooShort
            | PasswordFault::TooLong
            | PasswordFault::Unreadable
            | PasswordFault::Failed),
        ) => return wrong(&fault.to_string()),
    }
    let Some(user_id) = user.as_ref().map(|user| user.id.clone()) else { return wrong("unknown login") };
    let facts = oauth.http.store().facts_of_subject(&user_id).await?;
    match facts {
        Some(facts) if subject_good(&facts).is_err() => wrong("the user or the organisation is not active"),
        Some(SubjectFacts { holder: Holder::User(user), org, .. }) => Ok(Checked::Right(user, org)),
        Some(_) | None => wrong("the user is gone"),
    }
}

async fn decide(oauth: &OAuth, ask: &Ask, browser: &Browser) -> Sent {
    let gone =
        || Refused(OAuthFault::new(OAuthError::InvalidRequest, "This page is too old, or was used already."));
    let text = ask.params.find("pending").unwrap_or_default();
    let (store, now_ms) = (oauth.http.store(), oauth.http.now_ms());
    let taken = store.take_thing(PENDING, &kept::hash(text.as_bytes()), now_ms).await?;
    let pending: Pending = taken.as_deref().and_then(kept::read).ok_or_else(gone)?;
    if pending.browser != browser.name() {
        return Err(gone());
    }
    let params = Params::parse(&pending.params)?;
    let asking = Asking::find(oauth, &params).await?;
    let back = Return::find(&params, &asking.app.data, oauth.signer.url())?;
    if ask.params.find("decision") != Some("allow") {
        let fault = OAuthFault::new(OAuthError::AccessDenied, "it was not allowed");
        return leave(&back.with_fault(&fault));
    }
    let request = match Request::read(&params, &oauth.audience) {
        Ok(request) => request,
        Err(fault) => return leave(&back.with_fault(&fault)),
    };
    match store.facts_of_subject(&pending.user).await? {
        Some(facts) if subject_good(&facts).is_err() => Err(gone()),
        Some(SubjectFacts { holder: Holder::User(user), .. }) => {
            let to = grant(oauth, ask, &asking, &back, &request, &user).await?;
            leave(&to)
        }
        Some(_) | None => Err(gone()),
    }
}

/// Makes a code; the address to go to with it.
async fn grant(
    oauth: &OAuth,
    ask: &Ask,
    asking: &Asking,
    back: &Return<'_>,
    request: &Request,
    user: &User,
) -> Result<String, Refused> {
    let (store, now_ms) = (oauth.http.store(), oauth.http.now_ms());
    let text = kept::new_code(&oauth.chance()?);
    let code = Code {
        subject: user.id.clone(),
        client: asking.app.id.clone(),
        redirect_uri: back.uri().to_owned(),
        challenge: request.challenge.clone(),
        audience: request.audience.clone(),
        scope: wanted::words(&wanted::within(&request.scopes, &user.data.scopes)),
    };
    kept::put_code(store, &text, &code, now_ms).await?;
    let who = Who { actor: user.id.as_str(), from: &ask.from.to_string(), now_ms };
    store.note_sign_in(user.id.as_str(), asking.app.id.as_str(), who).await?;
    Ok(back.with_code(text.expose_text().unwrap_or_default()))
}

impl Asking {
    async fn find(oauth: &OAuth, params: &Params) -> Result<Asking, Refused> {
        let unknown = || OAuthFault::new(OAuthError::InvalidRequest, "client_id is no application here");
        let name = params.wanted("client_id", "client_id is missing")?;
        let id = Id::parse(Kind::App, name).map_err(|_| unknown())?;
        let facts = oauth.http.store().facts_of_subject(&id).await?.ok_or_else(unknown)?;
        // Whether an application is there is no secret, but why it is not active is nobody's business here.
        subject_good(&facts).map_err(|_| unknown())?;
        match facts.holder {
            Holder::App(app) => Ok(Asking { app, org: facts.org }),
            Holder::User(_) => Err(unknown().into()),
        }
    }

    fn sign_in_page(
        &self,
        params: &Params,
        back: &Return<'_>,
        browser: &Browser,
        login: &str,
        alert: Option<&str>,
    ) -> Page {
        page::sign_in(&SignInPage {
            app: &self.app.data.name,
            origin: back.origin(),
            login,
            word: &browser.word(),
            carried: &carried(params),
            alert,
        })
    }

    /// Keeps that somebody has signed in, and asks whether the application may act for them.
    async fn ask_consent(
        &self,
        oauth: &OAuth,
        params: &Params,
        back: &Return<'_>,
        request: &Request,
        user: &User,
        browser: &Browser,
    ) -> Sent {
        let name = kept::new_code(&oauth.chance()?);
        let name = name.expose_text().unwrap_or_default();
        let pending = Pending {
            user: user.id.clone(),
            browser: browser.name(),
            params: with_query("", &carried(params)).trim_start_matches('?').to_owned(),
        };
        let (store, now_ms) = (oauth.http.store(), oauth.http.now_ms());
        let ends_ms = now_ms.saturating_add(PENDING_LIFE_MS);
        kept::put(store, PENDING, &kept::hash(name.as_bytes()), &pending, ends_ms, now_ms).await?;
        let page = page::consent(&ConsentPage {
            app: &self.app.data.name,
            org: &self.org.data.name,
            origin: back.origin(),
            login: &user.data.login,
            word: &browser.word(),
            pending: name,
            rights: &rights(&wanted::within(&request.scopes, &user.data.scopes)),
        });
        Ok(page.into_response())
    }
}

/// What an application may do that acts for somebody, in words.
fn rights(scopes: &[Scope]) -> Vec<&'static str> {
    let mut rights = vec!["learn who you are here", "enter the data sets that you were granted, as you"];
    rights.extend(scopes.iter().map(|scope| match scope {
        Scope::Admin => "change everything in this identity service, as you",
        Scope::OrgAdmin => "change everything of your organisation in this identity service, as you",
        Scope::Authorize => "ask what others may do, as you",
    }));
    rights
}

/// Sends the browser away, with a GET whatever it came with (RFC 9700, 4.12).
fn leave(to: &str) -> Sent {
    let location = HeaderValue::from_str(to)
        .map_err(|_| OAuthFault::new(OAuthError::InvalidRequest, "redirect_uri cannot be gone to"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}
