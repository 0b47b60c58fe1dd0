//! Client certificates at the door. TLS has verified one before anybody asks here, and that the client has its key; here is
//! only whose credential it is.
//!
//! Anybody may write down anybody's certificate as a credential of an application of their own: certificates are public. So
//! what counts is which of these applications was granted what the client asks for, and there has to be exactly one.

use std::sync::Arc;

use super::judge::judge;
use super::{Asker, Door, Refusal, Visitor, Welcome};
use crate::model::CredentialKind;
use crate::rules::credential_good;
use crate::store::{CertificateAsk, CertificateKeys, KeyFacts};

/// A certificate that a client has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its SHA-256 in hexadecimal digits (0-9, a-f).
    pub sha256: String,
    /// When it ends by itself, milliseconds since 1970.
    pub ends_ms: Option<i64>,
}

impl Door {
    /// The answer where it is known; `None`: the store has to be asked.
    pub(super) fn certificate_known(
        &self,
        visitor: &Visitor,
        certificate: &Certificate,
    ) -> Option<Result<Welcome, Refusal>> {
        let facts = {
            let known = self.known.lock();
            let key_ids = known.certificate(&certificate.sha256, visitor)?;
            key_ids.iter().map(|key_id| known.key(key_id)).collect::<Option<Vec<_>>>()?
        };
        Some(self.judge_certificate(visitor, certificate, &facts))
    }

    /// The answer, with a look into the store.
    pub(super) async fn certificate(
        &self,
        visitor: &Visitor,
        certificate: &Certificate,
    ) -> Result<Welcome, Refusal> {
        let key_ids = self.key_ids_of(&certificate.sha256, visitor).await?;
        let mut facts = Vec::with_capacity(key_ids.len());
        for key_id in &*key_ids {
            facts.extend(self.key_facts(key_id, visitor.now_ms, Asker::Visitor).await?);
        }
        self.judge_certificate(visitor, certificate, &facts)
    }

    fn judge_certificate(
        &self,
        visitor: &Visitor,
        certificate: &Certificate,
        facts: &[Arc<KeyFacts>],
    ) -> Result<Welcome, Refusal> {
        let mut found: Option<Welcome> = None;
        let mut refusal = Refusal::Unknown;
        for facts in facts {
            match judge_one(visitor, certificate, facts) {
                Ok(welcome) => match &found {
                    Some(other) if other.subject != welcome.subject => {
                        let why = "its certificate is a credential of several applications with such a grant";
                        return Err(Refusal::Bad(why.to_owned()));
                    }
                    Some(_) => {}
                    None => found = Some(welcome),
                },
                // The first one is told: behind it may be those that others have written down.
                Err(why) if refusal == Refusal::Unknown => refusal = why,
                Err(_) => {}
            }
        }
        let welcome = found.ok_or(refusal)?;
        if let Some(key_id) = &welcome.key_id {
            self.note_use(key_id, visitor.now_ms, &visitor.from);
        }
        Ok(welcome)
    }

    async fn key_ids_of(&self, sha256: &str, visitor: &Visitor) -> Result<Arc<[String]>, Refusal> {
        let (known, generation) = {
            let known = self.known.lock();
            (known.certificate(sha256, visitor), known.generation())
        };
        if let Some(known) = known.filter(|_| self.is_fresh(visitor.now_ms)) {
            return Ok(known);
        }
        let ask = CertificateAsk { sha256, database: &visitor.database, user: &visitor.user };
        match self.ask(Asker::Visitor, self.store.key_ids_of_certificate(ask)).await? {
            CertificateKeys::All(all) => {
                let key_ids: Arc<[String]> = all.into();
                self.known.lock().put_certificate(sha256, key_ids.clone(), generation);
                Ok(key_ids)
            }
            CertificateKeys::Granted(granted) => {
                let key_ids: Arc<[String]> = granted.into();
                self.known.lock().put_crowded(sha256, visitor, key_ids.clone(), generation);
                Ok(key_ids)
            }
        }
    }
}

fn judge_one(visitor: &Visitor, certificate: &Certificate, facts: &KeyFacts) -> Result<Welcome, Refusal> {
    let credential = &facts.credential;
    if credential.data.kind != CredentialKind::Certificate || credential.data.public != certificate.sha256 {
        return Err(Refusal::Unknown);
    }
    let key_id = &credential.key_id;
    credential_good(credential, visitor.now_ms)
        .map_err(|why| Refusal::Bad(format!("certificate {key_id}: {why}")))?;
    let ends_ms = credential.data.expires_ms.into_iter().chain(certificate.ends_ms).min();
    let mut welcome = judge(visitor, &facts.subject, ends_ms)?;
    welcome.key_id = Some(key_id.clone());
    Ok(welcome)
}
