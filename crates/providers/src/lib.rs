//! Where the secrets of server logins come from: files, commands, the metadata services of clouds.
//!
//! [`lease`] decides when a secret is fetched, renewed and given out, without a clock. [`Providers`] is the thread that
//! carries that out: one for all of them, so that neither a stuck command nor a slow metadata service is ever in the way
//! of a query. It begins with the first login that needs it.
//!
//! Nothing here knows what a pool is: who asks says for which host, port and role.

mod aws;
mod azure;
mod command;
mod expiry;
mod fetch;
mod file;
mod google;
mod http;
mod keeper;
mod lease;
mod source;
#[cfg(test)]
mod testing;

pub use fetch::Environment;
pub use keeper::{Given, Providers, Want};
pub use source::{AwsRdsIam, AzureEntra, ClientSecret, GoogleMetadata, Login, Source};
