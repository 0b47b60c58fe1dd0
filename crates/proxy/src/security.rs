//! Who may enter how, and TLS: made of the plan and of the files it names, at the start and with each reload.

use std::path::Path;
use std::sync::Arc;

use plimsoll_auth::hba::Hba;
use plimsoll_auth::ident::IdentMaps;
use plimsoll_auth::ldap::LdapOptions;
use plimsoll_auth::{Effect, LineFault};
use plimsoll_config::{AuthType, Plan, SslMode, Tls};
use plimsoll_tls::{Fault, PemFile, Settings, Side};
use rustls::{ClientConfig, ServerConfig};

/// Largest file of certificates, keys or rules that is read, bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where Debian and its kin keep the certificates of public authorities.
const SYSTEM_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// See the module.
pub(crate) struct Security {
    /// Rules of auth_hba_file; `None` without `auth_type = hba`, or where there is no such file.
    pub(crate) hba: Option<Hba>,
    /// Maps of auth_ident_file.
    pub(crate) idents: IdentMaps,
    /// For clients, unless they are to come without.
    pub(crate) client_tls: Option<Arc<ServerConfig>>,
    /// For servers, unless they are to be reached without.
    pub(crate) server_tls: Option<Arc<ClientConfig>>,
    /// `auth_ldap_options`.
    pub(crate) ldap: Ldap,
    /// For LDAP servers; `None` where it cannot be had, which is in the log.
    pub(crate) ldap_tls: Option<Arc<ClientConfig>>,
    /// What the two were made of.
    made_of: [Settings; 2],
}

/// `auth_ldap_options`, as far as `auth_type = ldap` wants to know.
pub(crate) enum Ldap {
    /// Another auth_type.
    Unwanted,
    /// They are missing, or wrong, which is in the log: nobody gets in.
    Unusable,
    /// What they say.
    As(Arc<LdapOptions>),
}

impl Security {
    /// Reads the files of a plan. Rules that cannot be read are logged and let nobody in.
    ///
    /// # Errors
    /// TLS cannot be had as the plan wants it: every reason, with the place of the key.
    pub(crate) fn load(plan: &Plan) -> Result<Security, Vec<String>> {
        let (client, client_faults) = tls_settings(&plan.general.client_tls);
        let (server, server_faults) = tls_settings(&plan.general.server_tls);
        let mut faults = Vec::new();
        faults.extend(client_faults.into_iter().map(|fault| told(plan, Side::Client, &fault)));
        faults.extend(server_faults.into_iter().map(|fault| told(plan, Side::Server, &fault)));
        let mut client_tls = None;
        let mut server_tls = None;
        if faults.is_empty() {
            client_tls = made(&client, plimsoll_tls::acceptor, plan, Side::Client, &mut faults);
            server_tls = made(&server, plimsoll_tls::connector, plan, Side::Server, &mut faults);
        }
        if plan.general.auth_type == AuthType::Cert && plan.general.client_tls.mode != SslMode::VerifyFull {
            let place = place(plan, "auth_type");
            faults.push(format!("{place}auth_type = cert needs client_tls_sslmode = verify-full"));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let (hba, idents) = rules(plan);
        let (ldap, ldap_tls) = (ldap(plan), ldap_connector(plan));
        Ok(Security { hba, idents, client_tls, server_tls, ldap, ldap_tls, made_of: [client, server] })
    }

    /// Rules from the files of a new plan, TLS as it was.
    pub(crate) fn with_rules_of(&self, plan: &Plan) -> Security {
        let (hba, idents) = rules(plan);
        Security {
            hba,
            idents,
            client_tls: self.client_tls.clone(),
            server_tls: self.server_tls.clone(),
            ldap: ldap(plan),
            ldap_tls: ldap_connector(plan),
            made_of: self.made_of.clone(),
        }
    }

    /// `client_tls_sslmode` in force: a plan whose TLS was refused may have another.
    pub(crate) fn client_mode(&self) -> SslMode {
        self.made_of[0].mode
    }

    /// `server_tls_sslmode` in force, likewise.
    pub(crate) fn server_mode(&self) -> SslMode {
        self.made_of[1].mode
    }

    /// Whether servers are reached as with the other one.
    pub(crate) fn reaches_servers_like(&self, other: &Security) -> bool {
        self.made_of[1] == other.made_of[1]
    }
}

fn made<T>(
    settings: &Settings,
    make: fn(&Settings) -> Result<Arc<T>, Vec<Fault>>,
    plan: &Plan,
    which: Side,
    faults: &mut Vec<String>,
) -> Option<Arc<T>> {
    if settings.mode == SslMode::Disable {
        return None;
    }
    match make(settings) {
        Ok(config) => Some(config),
        Err(found) => {
            faults.extend(found.iter().map(|fault| told(plan, which, fault)));
            None
        }
    }
}

/// The settings of one side with the files they name, and what cannot be read of them. Who verifies and names no
/// authority trusts the system's.
pub fn tls_settings(tls: &Tls) -> (Settings, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut file = |path: &Option<std::path::PathBuf>, key| {
        let path = path.as_deref()?;
        if tls.mode == SslMode::Disable {
            return None;
        }
        match read(path) {
            Ok(pem) => Some(PemFile { name: path.display().to_string(), pem }),
            Err(e) => {
                faults.push(Fault { key, message: format!("cannot read {}: {e}", path.display()) });
                None
            }
        }
    };
    let mut ca = file(&tls.ca_file, plimsoll_tls::Key::CaFile);
    let cert = file(&tls.cert_file, plimsoll_tls::Key::CertFile);
    let key = file(&tls.key_file, plimsoll_tls::Key::KeyFile);
    if tls.mode.verifies() && tls.ca_file.is_none() {
        let pem = read(Path::new(SYSTEM_CA_FILE)).ok();
        ca = pem.map(|pem| PemFile { name: SYSTEM_CA_FILE.to_string(), pem });
    }
    let settings = Settings {
        mode: tls.mode,
        protocols: tls.protocols.clone(),
        ciphers: tls.ciphers.clone(),
        tls13_ciphers: tls.tls13_ciphers.clone(),
        ecdhcurve: tls.ecdhcurve.clone(),
        dheparams: tls.dheparams.clone(),
        ca,
        cert,
        key,
    };
    (settings, faults)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other("the file is too large"));
    }
    std::fs::read(path)
}

fn read_text(path: &Path) -> std::io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| std::io::Error::other("the file is not UTF-8"))
}

/// What `auth_ldap_options` say. What is wrong in them is logged, as PgBouncer does when a client comes.
fn ldap(plan: &Plan) -> Ldap {
    if plan.general.auth_type != AuthType::Ldap {
        return Ldap::Unwanted;
    }
    let Some(text) = &plan.general.auth_ldap_options else {
        tracing::error!("{}auth_type = ldap needs auth_ldap_options", place(plan, "auth_type"));
        return Ldap::Unusable;
    };
    match LdapOptions::parse(text.expose()) {
        Ok(options) => Ldap::As(Arc::new(options)),
        Err(why) => {
            tracing::error!("{}auth_ldap_options: {why}: nobody gets in", place(plan, "auth_ldap_options"));
            Ldap::Unusable
        }
    }
}

/// TLS to LDAP servers: the certificate must be signed by an authority of `ldap_ca_file`, else of the system's, and bear
/// the server's name.
fn ldap_connector(plan: &Plan) -> Option<Arc<ClientConfig>> {
    // Only who may need it: an unreadable file of authorities is no news to others.
    if !matches!(plan.general.auth_type, AuthType::Ldap | AuthType::Hba) {
        return None;
    }
    let (config, faults) = ldap_tls(plan.own.vouch.ldap_ca_file.as_deref());
    for fault in &faults {
        tracing::error!("{}ldap_ca_file: {fault}", place(plan, "ldap_ca_file"));
    }
    config
}

/// See [`ldap_connector`]; and what is wrong with the file.
pub fn ldap_tls(ca_file: Option<&Path>) -> (Option<Arc<ClientConfig>>, Vec<String>) {
    let tls = Tls { ca_file: ca_file.map(Path::to_path_buf), ..Tls::new(SslMode::VerifyFull) };
    let (settings, mut faults) = tls_settings(&tls);
    let made = match faults.is_empty() {
        true => plimsoll_tls::connector(&settings).map_err(|found| faults.extend(found)).ok(),
        false => None,
    };
    let config = made.map(|config| {
        let mut config = ClientConfig::clone(&config);
        // It is not PostgreSQL that is spoken.
        config.alpn_protocols.clear();
        Arc::new(config)
    });
    (config, faults.into_iter().map(|fault| fault.message).collect())
}

/// A fault with the place of its key, as all mistakes of the configuration are told.
fn told(plan: &Plan, which: Side, fault: &Fault) -> String {
    let key = fault.key.name(which);
    format!("{}{key}: {}", place(plan, &key), fault.message)
}

fn place(plan: &Plan, key: &str) -> String {
    plan.set_at.get(key).map(|at| format!("{}: ", at.place)).unwrap_or_default()
}

/// Reads auth_hba_file and auth_ident_file; what is wrong in them is logged, as PgBouncer does.
fn rules(plan: &Plan) -> (Option<Hba>, IdentMaps) {
    let general = &plan.general;
    let mut idents = IdentMaps::default();
    if let Some(path) = &general.auth_ident_file {
        match read_text(path) {
            Ok(text) => {
                let (maps, faults) = IdentMaps::parse(&text);
                idents = maps;
                log(path, "ident", &faults);
            }
            Err(e) => tracing::error!("could not open ident map file {}: {e}", path.display()),
        }
    }
    let path = general.auth_hba_file.as_ref().filter(|_| general.auth_type == AuthType::Hba);
    let hba = path.and_then(|path| match read_text(path) {
        Ok(text) => {
            let folder = path.parent().unwrap_or(Path::new("."));
            let (mut hba, mut faults) = Hba::parse(&text, &mut |name| read_text(&folder.join(name)));
            faults.extend(hba.retain_known_maps(&idents));
            log(path, "hba", &faults);
            Some(hba)
        }
        Err(e) => {
            tracing::error!("could not open hba config file {}: {e}", path.display());
            None
        }
    });
    (hba, idents)
}

fn log(path: &Path, kind: &str, faults: &[LineFault]) {
    for fault in faults {
        tracing::warn!("{}: {}", path.display(), fault.message);
        match fault.effect {
            Effect::Skipped => tracing::warn!("could not parse {kind} config line {}", fault.line),
            Effect::Kept => {}
            Effect::Closed => {
                tracing::warn!("{kind} line {} lets nobody in until it is corrected", fault.line);
            }
        }
    }
}
