//! Issuers outside: the lines of `[issuers]` made into what the pooler's door verifies tokens with, at the start and at every
//! reload, and where clients without a token are sent.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use plimsoll_config::{IssuerLine, IssuerRule, Plan, TokenType};
use plimsoll_identity::Id;
use plimsoll_identity::token::{Alg, ClaimRule, OutsideIssuer, OutsideIssuers, Typ, Types};
use plimsoll_proxy::Discovery;

/// The issuers of the plan in force. Cheap to clone.
#[derive(Clone)]
pub struct Issuers {
    shared: Arc<Shared>,
}

struct Shared {
    outside: Arc<OutsideIssuers>,
    /// Where a line sends clients without a token.
    discovery: RwLock<Option<Discovery>>,
    /// The lines that this was made of.
    lines: Mutex<Vec<IssuerLine>>,
}

impl Issuers {
    /// Those of a plan.
    ///
    /// # Errors
    /// A line cannot be used; which, where, and why.
    pub fn new(plan: &Plan) -> Result<Issuers, String> {
        let shared =
            Shared { outside: Arc::default(), discovery: RwLock::default(), lines: Mutex::default() };
        let issuers = Issuers { shared: Arc::new(shared) };
        issuers.put(plan)?;
        Ok(issuers)
    }

    /// Another plan is in force. A line that cannot be used is logged, and all of them stay as they were.
    pub fn follow(&self, plan: &Plan) {
        if let Err(why) = self.put(plan) {
            tracing::error!("{why}; [issuers] goes on as before");
        }
    }

    /// What verifies their tokens.
    pub(crate) fn outside(&self) -> Arc<OutsideIssuers> {
        self.shared.outside.clone()
    }

    /// Where clients without a token are sent, if a line says so.
    pub(crate) fn discovery(&self) -> Option<Discovery> {
        self.shared.discovery.read().clone()
    }

    fn put(&self, plan: &Plan) -> Result<(), String> {
        let mut lines = self.shared.lines.lock();
        if *lines == plan.issuers {
            return Ok(());
        }
        let mut all = Vec::with_capacity(plan.issuers.len());
        for line in &plan.issuers {
            let checked = outside(line).and_then(|issuer| match issuer.check() {
                Ok(()) => Ok(issuer),
                Err(fault) => Err(fault.to_string()),
            });
            all.push(checked.map_err(|why| {
                let place = plan.place_of_issuer(&line.name).map(|place| format!(" ({place})"));
                format!("issuer {}: {why}{}", line.name, place.unwrap_or_default())
            })?);
        }
        self.shared.outside.set(all).map_err(|fault| fault.to_string())?;
        *self.shared.discovery.write() = plan.issuers.iter().find_map(|line| {
            Some(Discovery { url: line.discovery_url()?, scope: line.scope.clone().unwrap_or_default() })
        });
        lines.clone_from(&plan.issuers);
        Ok(())
    }
}

/// The loader has looked at all of it; what it let through all the same is told.
fn outside(line: &IssuerLine) -> Result<OutsideIssuer, String> {
    let id = |text: &str| Id::parse_any(text).ok_or_else(|| format!("{text} is no id"));
    let rule = |rule: &IssuerRule| {
        Ok(match rule {
            IssuerRule::Map { claim, value, subject } => {
                ClaimRule::Value { claim: claim.clone(), value: value.clone(), subject: id(subject)? }
            }
            IssuerRule::Subject { claim } => ClaimRule::Subject { claim: claim.clone() },
            IssuerRule::User { claim } => ClaimRule::Login { claim: claim.clone() },
        })
    };
    let algorithm = |word: &&str| Alg::parse(word).ok_or_else(|| format!("{word} is no algorithm"));
    let typ = |typ: &TokenType| match typ {
        TokenType::AtJwt => Typ::AtJwt,
        TokenType::Jwt => Typ::Jwt,
        TokenType::Missing => Typ::Missing,
    };
    Ok(OutsideIssuer {
        name: line.name.clone(),
        issuer: line.url.clone(),
        audience: line.audience.clone(),
        jwks_uri: line.jwks.clone(),
        ca_file: line.ca_file.clone(),
        algorithms: line.algorithms.iter().map(algorithm).collect::<Result<_, String>>()?,
        types: Types::of(&line.types.iter().map(typ).collect::<Vec<Typ>>()),
        rules: line.rules.iter().map(rule).collect::<Result<_, String>>()?,
        org: line.org.as_deref().map(id).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const LINE: &str =
        "corp = url=https://a/x audience=us jwks=https://a/keys org=org_01m80gg69c96a6cbvj0s1n5fzm";
    const APP: &str = "app_01m80gg6cjn4qpdvfkssbnga6t";

    fn plan(lines: &str) -> Plan {
        let text = format!("[pgbouncer]\n[issuers]\n{lines}\n");
        plimsoll_config::load(Path::new("a.ini"), &mut |_| Ok(text.clone())).expect("a good file")
    }

    #[test]
    fn every_line_that_loads_can_be_used() {
        let line = format!(
            "{LINE} ca_file=/ca.pem algorithms=ES256,ES384,RS256,PS256,EdDSA types=at+jwt,jwt,none map='a=b -> {APP}' \
             subject=azp user=login discovery=openid scope=x"
        );
        let issuers = Issuers::new(&plan(&line)).expect("it can");
        let keys = issuers.outside().find("https://a/x").expect("it is there");
        assert_eq!(keys.issuer().algorithms, Alg::ALL);
        assert_eq!((keys.issuer().name.as_str(), keys.issuer().rules.len()), ("corp", 3));
        let discovery = issuers.discovery().expect("clients are sent there");
        assert_eq!(discovery.url, "https://a/x/.well-known/openid-configuration");
        assert_eq!(discovery.scope, "x");
    }

    #[test]
    fn a_reload_brings_others() {
        let issuers = Issuers::new(&plan("")).expect("none");
        assert!(issuers.outside().is_empty() && issuers.discovery().is_none());
        issuers.follow(&plan(&format!("{LINE} subject=azp discovery=oauth")));
        assert!(issuers.outside().find("https://a/x").is_some() && issuers.discovery().is_some());
        issuers.follow(&plan(""));
        assert!(issuers.outside().is_empty() && issuers.discovery().is_none());
    }
}
