//! The pages: HTML without a script, rendered here. Whatever comes from outside is escaped, and the policy of the page
//! would run nothing even if it were not.

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use sha2::{Digest, Sha256};

/// The looks. It is part of the page, by its hash in the policy, so that nothing has to be fetched.
const STYLE: &str = include_str!("page/style.css");

/// What a page is.
pub(super) struct Page {
    status: StatusCode,
    body: String,
    /// Where its form may lead to, apart from here.
    leads_to: Option<String>,
    cookie: Option<HeaderValue>,
    retry_after_s: Option<u64>,
}

/// What the page at which people sign in shows.
pub(super) struct SignInPage<'a> {
    pub(super) app: &'a str,
    /// Where they go afterwards.
    pub(super) origin: Option<&'a str>,
    /// What was typed before.
    pub(super) login: &'a str,
    pub(super) word: &'a str,
    pub(super) carried: &'a [(&'static str, &'a str)],
    /// What went wrong before.
    pub(super) alert: Option<&'a str>,
}

/// What the page at which people agree shows.
pub(super) struct ConsentPage<'a> {
    pub(super) app: &'a str,
    /// Whose application it is.
    pub(super) org: &'a str,
    pub(super) origin: Option<&'a str>,
    pub(super) login: &'a str,
    pub(super) word: &'a str,
    /// The name of what is agreed to.
    pub(super) pending: &'a str,
    /// What the application may do afterwards, in words.
    pub(super) rights: &'a [&'static str],
}

/// The page at which people sign in.
pub(super) fn sign_in(page: &SignInPage<'_>) -> Page {
    let mut body = format!(
        "<h1>Sign in</h1>\n<p>to go on to <strong>{}</strong>{}</p>\n",
        escape(page.app),
        at(page.origin)
    );
    if let Some(alert) = page.alert {
        body.push_str(&format!("<p class=\"alert\" role=\"alert\">{}</p>\n", escape(alert)));
    }
    body.push_str("<form method=\"post\" action=\"/oauth/authorize\">\n");
    body.push_str(&hidden("step", "sign_in"));
    body.push_str(&hidden("csrf", page.word));
    for (name, value) in page.carried {
        body.push_str(&hidden(name, value));
    }
    let (login_focus, password_focus) =
        if page.login.is_empty() { (" autofocus", "") } else { ("", " autofocus") };
    body.push_str(&format!(
        "<label for=\"login\">Login</label>\n<input id=\"login\" name=\"login\" value=\"{}\" maxlength=\"200\" \
         autocomplete=\"username\" autocapitalize=\"none\" spellcheck=\"false\" required{login_focus}>\n\
         <label for=\"password\">Password</label>\n<input id=\"password\" name=\"password\" type=\"password\" \
         maxlength=\"1024\" autocomplete=\"current-password\" required{password_focus}>\n\
         <div class=\"buttons\"><button type=\"submit\">Sign in</button></div>\n</form>\n",
        escape(page.login)
    ));
    Page::new(StatusCode::OK, "Sign in", &body).leads_to(page.origin)
}

/// The page at which people agree that an application acts for them.
pub(super) fn consent(page: &ConsentPage<'_>) -> Page {
    let rights: String = page.rights.iter().map(|right| format!("<li>{}</li>\n", escape(right))).collect();
    let body = format!(
        "<h1>Allow {app}?</h1>\n<p><strong>{app}</strong> of <strong>{org}</strong>{at} wants to act for \
         <strong>{login}</strong>. It could then</p>\n<ul>\n{rights}</ul>\n\
         <form method=\"post\" action=\"/oauth/authorize\">\n{step}{word}{pending}\
         <div class=\"buttons\"><button type=\"submit\" name=\"decision\" value=\"deny\" class=\"plain\">Deny</button>\n\
         <button type=\"submit\" name=\"decision\" value=\"allow\">Allow</button></div>\n</form>\n",
        app = escape(page.app),
        org = escape(page.org),
        at = at(page.origin),
        login = escape(page.login),
        step = hidden("step", "consent"),
        word = hidden("csrf", page.word),
        pending = hidden("pending", page.pending),
    );
    Page::new(StatusCode::OK, "Allow access", &body).leads_to(page.origin)
}

/// A page that says what is wrong, and leads nowhere.
pub(super) fn fault(status: StatusCode, why: &str) -> Page {
    let body = format!(
        "<h1>This does not work</h1>\n<p class=\"alert\" role=\"alert\">{}</p>\n\
         <p>Go back to the application and begin anew. If it happens again, tell whoever runs it.</p>\n",
        escape(why)
    );
    Page::new(status, "This does not work", &body)
}

fn at(origin: Option<&str>) -> String {
    origin.map(|origin| format!(" at <span class=\"where\">{}</span>", escape(origin))).unwrap_or_default()
}

fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">\n", escape(name), escape(value))
}

/// A text as it stands between tags and in quoted attributes. What turns the direction of writing round, or is no
/// letter at all, is left out: a name shall not look like another.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\r' => escaped.push_str("&#13;"),
            '\n' => escaped.push_str("&#10;"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            letter if letter.is_control() && letter != '\t' => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}

impl Page {
    fn new(status: StatusCode, title: &str, main: &str) -> Page {
        let body = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n<title>{} - Plimsoll</title>\n<style>{STYLE}</style>\n\
             </head>\n<body>\n<main>\n{main}</main>\n</body>\n</html>\n",
            escape(title)
        );
        Page { status, body, leads_to: None, cookie: None, retry_after_s: None }
    }

    fn leads_to(self, origin: Option<&str>) -> Page {
        Page { leads_to: origin.map(str::to_owned), ..self }
    }

    /// With another status.
    pub(super) fn status(self, status: StatusCode) -> Page {
        Page { status, ..self }
    }

    /// With a cookie that it sets.
    pub(super) fn cookie(self, cookie: Option<HeaderValue>) -> Page {
        Page { cookie, ..self }
    }

    /// With the time after which another try makes sense.
    pub(super) fn retry_after_s(self, retry_after_s: Option<u64>) -> Page {
        Page { retry_after_s, ..self }
    }

    /// Browsers apply `form-action` to where a form is redirected to as well, so the application has to be in it.
    fn policy(&self) -> String {
        let style = BASE64.encode(Sha256::digest(STYLE));
        let leads_to = self.leads_to.as_deref().unwrap_or_default();
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; form-action 'self' {leads_to}; base-uri 'none'; \
             frame-ancestors 'none'"
        )
    }

    /// As it is sent.
    pub(super) fn into_response(self) -> Response {
        let policy = HeaderValue::from_str(&self.policy());
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        // An origin is plain letters; if it were not, there would be a policy without it.
        let strict = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.insert(CONTENT_SECURITY_POLICY, policy.unwrap_or(strict));
        if let Some(cookie) = self.cookie {
            headers.insert(SET_COOKIE, cookie);
        }
        if let Some(after_s) = self.retry_after_s {
            headers.insert(RETRY_AFTER, after_s.into());
        }
        response
    }
}

/// `same-origin`: the address of the page, with all that is in it, is nobody else's business; with `no-referrer` browsers
/// would not say of the form where it comes from.
const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "same-origin"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
];

#[cfg(test)]
mod tests;
