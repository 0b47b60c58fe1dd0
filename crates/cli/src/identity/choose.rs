//! From options to the fields of the API.

use serde_json::{Map, Value, json};

use super::args::{
    AppFields, AppMade, DatasetFields, DatasetMade, Expires, GrantFields, GrantMade, KeyFields, KeyMade,
    LimitFields, OrgFields, OrgMade, Party, Scope, UserFields, UserMade, YesNo,
};
use super::desk::Desk;
use super::fault::Fault;
use super::noun::Noun;

/// Options that say what something should be like.
pub(crate) trait Choose {
    /// The fields that were chosen; null takes one away.
    ///
    /// # Errors
    /// A name cannot be found, or a value makes no sense now.
    fn chosen(&self, desk: &mut Desk) -> Result<Map<String, Value>, Fault>;
}

/// Fields, one after the other.
#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(mut self, name: &str, value: impl Into<Value>) -> Fields {
        self.0.insert(name.to_string(), value.into());
        self
    }

    fn maybe(self, name: &str, value: Option<impl Into<Value>>) -> Fields {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    fn scopes(self, scopes: &[Scope]) -> Fields {
        match scopes {
            [] => self,
            scopes => self.put("scopes", scopes.iter().map(|scope| scope.word()).collect::<Vec<_>>()),
        }
    }

    fn list(self, name: &str, values: &[String]) -> Fields {
        match values {
            [] => self,
            values => self.put(name, values.to_vec()),
        }
    }

    fn limits(self, limits: &LimitFields) -> Fields {
        let each = [
            ("clients", &limits.clients),
            ("holds", &limits.holds),
            ("weight", &limits.weight),
            ("statement_ms", &limits.statement),
            ("hold_ms", &limits.hold),
        ];
        let chosen: Map<String, Value> =
            each.into_iter().filter_map(|(name, value)| Some((name.to_string(), value.clone()?))).collect();
        if chosen.is_empty() { self } else { self.put("limits", chosen) }
    }

    fn expires(self, expires: Option<&Expires>, desk: &Desk) -> Result<Fields, Fault> {
        let at = expires.map(|expires| expires.value(desk.now, &desk.clock.zone)).transpose()?;
        Ok(self.maybe("expires_ms", at))
    }
}

impl Choose for OrgMade {
    fn chosen(&self, _: &mut Desk) -> Result<Map<String, Value>, Fault> {
        Ok(Fields::default().put("name", self.name.as_str()).0)
    }
}

impl Choose for OrgFields {
    fn chosen(&self, _: &mut Desk) -> Result<Map<String, Value>, Fault> {
        Ok(Fields::default().maybe("name", self.name.as_deref()).0)
    }
}

impl Choose for DatasetMade {
    fn chosen(&self, desk: &mut Desk) -> Result<Map<String, Value>, Fault> {
        let fields = Fields::default()
            .put("org", desk.id(Noun::Org, &self.org)?)
            .put("name", self.name.as_str())
            .put("database", self.database.as_str())
            .maybe("schema", self.schema.as_deref());
        Ok(fields.0)
    }
}

impl Choose for DatasetFields {
    fn chosen(&self, _: &mut Desk) -> Result<Map<String, Value>, Fault> {
        let fields = Fields::default()
            .maybe("name", self.name.as_deref())
            .maybe("database", self.database.as_deref())
            .maybe("schema", self.schema.as_deref())
            .maybe("schema", self.no_schema.then_some(Value::Null));
        Ok(fields.0)
    }
}

impl Choose for UserMade {
    fn chosen(&self, desk: &mut Desk) -> Result<Map<String, Value>, Fault> {
        let fields = Fields::default()
            .put("org", desk.id(Noun::Org, &self.org)?)
            .put("login", self.login.as_str())
            .scopes(&self.scopes);
        Ok(fields.0)
    }
}

impl Choose for UserFields {
    fn chosen(&self, _: &mut Desk) -> Result<Map<String, Value>, Fault> {
        let fields = Fields::default()
            .maybe("login", self.login.as_deref())
            .scopes(&self.scopes)
            .maybe("scopes", self.no_scopes.then(|| json!([])));
        Ok(fields.0)
    }
}

impl Choose for AppMade {
    fn chosen(&self, desk: &mut Desk) -> Result<Map<String, Value>, Fault> {
        let fields = Fields::default()
            .put("org", desk.id(Noun::Org, &self.org)?)
            .put("name", self.name.as_str())
            .put("party", party(if self.third_party { Party::Third } else { Party::First }))
            .list("redirect_uris", &self.redirect_uris);
        Ok(fields.0)
    }
}

impl Choose for AppFields {
    fn chosen(&self, _: &mut Desk) -> Result<Map<String, Value>, Fault> {
        let fields = Fields::default()
            .maybe("name", self.name.as_deref())
            .maybe("party", self.party.map(party))
            .list("redirect_uris", &self.redirect_uris)
            .maybe("redirect_uris", self.no_redirect_uris.then(|| json!([])));
        Ok(fields.0)
    }
}

fn party(party: Party) -> &'static str {
    match party {
        Party::First => "first",
        Party::Third => "third",
    }
}

impl Choose for GrantMade {
    fn chosen(&self, desk: &mut Desk) -> Result<Map<String, Value>, Fault> {
        let subject = subject(desk, self.app.as_deref(), self.user.as_deref())?;
        let fields = Fields::default()
            .maybe("subject", subject)
            .put("dataset", desk.id(Noun::Dataset, &self.dataset)?)
            .put("role", self.role.as_str())
            .list("actions", &self.actions)
            .limits(&self.limits)
            .maybe("shared", self.shared.then_some(true))
            .expires(self.expires.as_ref(), desk)?;
        Ok(fields.0)
    }
}

/// The application or the user that is named.
///
/// # Errors
/// There is none of that name, or several.
pub(crate) fn subject(
    desk: &mut Desk,
    app: Option<&str>,
    user: Option<&str>,
) -> Result<Option<String>, Fault> {
    match (app, user) {
        (Some(app), _) => desk.id(Noun::App, app).map(Some),
        (None, Some(user)) => desk.id(Noun::User, user).map(Some),
        (None, None) => Ok(None),
    }
}

impl Choose for GrantFields {
    fn chosen(&self, desk: &mut Desk) -> Result<Map<String, Value>, Fault> {
        let fields = Fields::default()
            .list("actions", &self.actions)
            .limits(&self.limits)
            .maybe("shared", self.shared.map(|shared| shared == YesNo::Yes))
            .expires(self.expires.as_ref(), desk)?;
        Ok(fields.0)
    }
}

impl Choose for KeyMade {
    fn chosen(&self, desk: &mut Desk) -> Result<Map<String, Value>, Fault> {
        let (kind, public) = match (&self.public_key, &self.certificate) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Fault::File { path: path.clone(), error })?;
                ("public_key", Some(text.trim().to_string()))
            }
            (None, Some(digest)) => ("certificate", Some(digest.clone())),
            (None, None) => ("key", None),
        };
        let fields = Fields::default()
            .put("app", desk.id(Noun::App, &self.app)?)
            .put("kind", kind)
            .put("env", self.env.as_str())
            .maybe("public", public)
            .maybe("name", self.name.as_deref())
            .scopes(&self.scopes)
            .expires(self.expires.as_ref(), desk)?;
        Ok(fields.0)
    }
}

impl Choose for KeyFields {
    fn chosen(&self, desk: &mut Desk) -> Result<Map<String, Value>, Fault> {
        let fields = Fields::default()
            .maybe("name", self.name.as_deref())
            .scopes(&self.scopes)
            .maybe("scopes", self.no_scopes.then(|| json!([])))
            .expires(self.expires.as_ref(), desk)?;
        Ok(fields.0)
    }
}
