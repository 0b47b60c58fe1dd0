//! The data plane asks for the secrets of server logins, the providers have them: here they meet.

use plimsoll_config as config;
use plimsoll_providers::{
    AwsRdsIam, AzureEntra, ClientSecret, Environment, GoogleMetadata, Login, Providers, Source, Want,
};
use plimsoll_proxy::{Credentials, Given, Giving, Wanted};
use plimsoll_types::Cause;

/// The providers, as the data plane sees them.
#[derive(Debug)]
pub(crate) struct Lender(Providers);

impl Lender {
    /// With the environment of the process.
    pub(crate) fn new() -> Lender {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Lender(Providers::new(Environment::new(std::env::vars_os().filter_map(text))))
    }
}

impl Credentials for Lender {
    fn secret(&self, wanted: Wanted) -> Giving {
        let Wanted { source, host, port, role, refused } = wanted;
        let Some(source) = provider(source) else {
            let why = "the usual secrets are not lent".into();
            return Box::pin(std::future::ready(Err(Cause::NoCredential { provider: "static".into(), why })));
        };
        let login = Login { host, port, role: role.to_string() };
        let asked = self.0.secret(Want { source, login, refused });
        Box::pin(async move {
            let plimsoll_providers::Given { secret, epoch, life } = asked.await?;
            Ok(Given { secret, epoch, life })
        })
    }
}

/// What is written in the file, as the providers know it.
fn provider(source: config::CredentialSource) -> Option<Source> {
    use config::CredentialSource as Written;
    Some(match source {
        Written::Static => return None,
        Written::File { path } => Source::File { path },
        Written::Command { program, args } => Source::Command { program, args },
        Written::AwsRdsIam(config::AwsRdsIam { region, host, port, endpoint, sts, ca_file }) => {
            Source::AwsRdsIam(AwsRdsIam { region, host, port, endpoint, sts, ca_file })
        }
        Written::AzureEntra(azure) => {
            let config::AzureEntra { client_id, tenant, client_secret_file, resource, endpoint, ca_file } =
                azure;
            let secret = match (client_secret_file, tenant, &client_id) {
                (Some(file), Some(tenant), Some(client_id)) => {
                    Some(ClientSecret { tenant, client_id: client_id.clone(), file })
                }
                // The file was read with the three of them or without a secret.
                (Some(_), _, _) | (None, _, _) => None,
            };
            Source::AzureEntra(AzureEntra { secret, client_id, resource, endpoint, ca_file })
        }
        Written::GoogleMetadata(config::GoogleMetadata { account, scopes, endpoint }) => {
            Source::GoogleMetadata(GoogleMetadata { account, scopes, endpoint })
        }
    })
}
