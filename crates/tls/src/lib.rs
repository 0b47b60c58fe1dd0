//! What of TLS is decision, not transport: from PgBouncer's `*_tls_*` settings and the bytes of PEM files to
//! configurations of rustls, with a verifier that accepts what libpq and OpenSSL accept.
//!
//! [`acceptor`] is the pooler's side towards clients, [`connector`] its side towards servers. Every mistake in the
//! settings is reported at once, each with its key ([`Fault`]). Nothing here opens a file or a socket, and there is no
//! process-wide provider: a configuration carries its own.
//!
//! Why a verifier of our own: the web's verifier (`rustls-webpki`) refuses X.509 version 1, a certificate with CA:TRUE
//! as a server's own, and a common name as a host name. All three are what the PostgreSQL manual ("Creating
//! Certificates") tells people to make. See `docs/tls.md` for what is accepted and what is not.

mod ciphers;
mod config;
mod groups;
mod pem;
mod protocols;
mod settings;
mod text;
mod verify;
mod x509;

pub use config::{acceptor, connector};
pub use plimsoll_types::SslMode;
pub use rustls;
pub use settings::{Fault, Key, PemFile, Settings, Side};
pub use text::{common_name, error_text, not_after, server_name, subject};
