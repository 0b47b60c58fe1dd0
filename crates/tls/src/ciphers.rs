//! `*_tls_ciphers` and `*_tls13_ciphers`: OpenSSL's words for the suites that rustls has.
//!
//! The source for the words is the manual page openssl-ciphers(1), "Cipher list format" and "Cipher strings".

#[cfg(test)]
mod tests;

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite as suite;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Authentication {
    Ecdsa,
    Rsa,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cipher {
    Aes256,
    Aes128,
    Chacha20,
}

/// A suite of TLS 1.2 that we have.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// In OpenSSL's spelling.
    name: &'static str,
    authentication: Authentication,
    cipher: Cipher,
    suite: SupportedCipherSuite,
}

/// In the order of OpenSSL's defaults.
const KNOWN: [Known; 6] = [
    known(
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        Authentication::Ecdsa,
        Cipher::Aes256,
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    known(
        "ECDHE-RSA-AES256-GCM-SHA384",
        Authentication::Rsa,
        Cipher::Aes256,
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    known(
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        Authentication::Ecdsa,
        Cipher::Chacha20,
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    known(
        "ECDHE-RSA-CHACHA20-POLY1305",
        Authentication::Rsa,
        Cipher::Chacha20,
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    known(
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        Authentication::Ecdsa,
        Cipher::Aes128,
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    known(
        "ECDHE-RSA-AES128-GCM-SHA256",
        Authentication::Rsa,
        Cipher::Aes128,
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
];

const fn known(
    name: &'static str,
    authentication: Authentication,
    cipher: Cipher,
    suite: SupportedCipherSuite,
) -> Known {
    Known { name, authentication, cipher, suite }
}

/// The suites of TLS 1.3, in the order of OpenSSL's default.
const KNOWN_TLS13: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", suite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
];

/// Groups of OpenSSL in which none of our suites is. They are words all the same: `!aNULL` is in most lists. `RSA` means
/// the key exchange (with authentication by RSA as well), so none of ours is in it, and `SHA256` the HMAC.
const EMPTY_GROUPS: [&str; 53] = [
    "3DES",
    "ADH",
    "AECDH",
    "AESCCM",
    "AESCCM8",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "ARIAGCM",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "DES",
    "DH",
    "DHE",
    "DSS",
    "EDH",
    "EXP",
    "EXPORT",
    "GOST89MAC",
    "GOST94",
    "IDEA",
    "LOW",
    "MD5",
    "MEDIUM",
    "NULL",
    "PSK",
    "RC2",
    "RC4",
    "RSA",
    "SEED",
    "SHA",
    "SHA1",
    "SHA256",
    "SHA384",
    "SRP",
    "SSLV3",
    "TLSV1",
    "TLSV1.0",
    "ADSS",
    "AGOST",
    "ANULL",
    "APSK",
    "ENULL",
    "KDH",
    "KDHE",
    "KEDH",
    "KGOST",
    "KPSK",
    "KRSA",
];

/// The suites of TLS 1.2 that a list allows, most wanted first.
///
/// # Errors
///
/// A suite that we do not have, a word that is none, nothing left.
pub(crate) fn tls12(text: &str) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut list = List::default();
    // `DEFAULT@SECLEVEL=2` is two items, as it is for OpenSSL.
    let separated = text.replace('@', ":@");
    for item in separated.split([':', ',', ';', ' ']).filter(|item| !item.is_empty()) {
        list.apply(item)?;
    }
    if text.trim().is_empty() {
        list.active = (0..KNOWN.len()).collect();
    }
    if list.active.is_empty() {
        return Err(format!("\"{text}\" leaves no cipher: write \"default\", or name some of {}", names()));
    }
    Ok(list.active.iter().map(|at| KNOWN[*at].suite).collect())
}

/// The suites of TLS 1.3 that a list names, most wanted first.
///
/// # Errors
///
/// A name that we do not have.
pub(crate) fn tls13(text: Option<&str>) -> Result<Vec<SupportedCipherSuite>, String> {
    let text = text.unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(KNOWN_TLS13.iter().map(|(_, suite)| *suite).collect());
    }
    let mut suites: Vec<SupportedCipherSuite> = Vec::new();
    for name in text.split([':', ',']).map(str::trim) {
        let found = KNOWN_TLS13.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some((_, suite)) = found else {
            let have: Vec<&str> = KNOWN_TLS13.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "there is no suite \"{name}\" of TLS 1.3 here: there are {}",
                have.join(", ")
            ));
        };
        if !suites.contains(suite) {
            suites.push(*suite);
        }
    }
    Ok(suites)
}

fn names() -> String {
    let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
    names.join(", ")
}

/// What is done with the suites that a word stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Add,
    /// For good.
    Kill,
    /// They may come back.
    Delete,
    MoveToEnd,
}

/// A list as it is built; numbers are places in [`KNOWN`].
#[derive(Debug, Default)]
struct List {
    active: Vec<usize>,
    killed: Vec<usize>,
}

impl List {
    fn apply(&mut self, item: &str) -> Result<(), String> {
        if let Some(command) = item.strip_prefix('@') {
            return self.command(command);
        }
        let (operation, words) = match item.split_at_checked(1) {
            Some(("!", words)) => (Operation::Kill, words),
            Some(("-", words)) => (Operation::Delete, words),
            Some(("+", words)) => (Operation::MoveToEnd, words),
            _ => (Operation::Add, item),
        };
        let mut chosen: Vec<usize> = (0..KNOWN.len()).collect();
        for word in words.split('+') {
            let selection = select(word, operation)?;
            chosen.retain(|at| selection.holds(&KNOWN[*at]));
        }
        self.operate(operation, &chosen);
        Ok(())
    }

    fn operate(&mut self, operation: Operation, chosen: &[usize]) {
        match operation {
            Operation::Add => {
                for at in chosen {
                    if !self.active.contains(at) && !self.killed.contains(at) {
                        self.active.push(*at);
                    }
                }
            }
            Operation::Kill => {
                self.active.retain(|at| !chosen.contains(at));
                self.killed.extend_from_slice(chosen);
            }
            Operation::Delete => self.active.retain(|at| !chosen.contains(at)),
            // A stable sort: false is before true.
            Operation::MoveToEnd => self.active.sort_by_key(|at| chosen.contains(at)),
        }
    }

    fn command(&mut self, command: &str) -> Result<(), String> {
        match command.to_ascii_uppercase().as_str() {
            "STRENGTH" => {
                self.active.sort_by_key(|at| KNOWN[*at].cipher == Cipher::Aes128);
                Ok(())
            }
            "SECLEVEL=1" | "SECLEVEL=2" => Ok(()),
            _ => Err(format!(
                "\"@{command}\" is not known here: there are @STRENGTH, @SECLEVEL=1 and @SECLEVEL=2 (keys and \
                 signatures are held to level 2 in any case)"
            )),
        }
    }
}

/// What a word stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Selection {
    All,
    None,
    Authentication(Authentication),
    Cipher(Cipher),
    Aes,
    Name(&'static str),
}

impl Selection {
    fn holds(self, known: &Known) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Authentication(authentication) => known.authentication == authentication,
            Self::Cipher(cipher) => known.cipher == cipher,
            Self::Aes => known.cipher != Cipher::Chacha20,
            Self::Name(name) => known.name == name,
        }
    }
}

fn select(word: &str, operation: Operation) -> Result<Selection, String> {
    let upper = word.to_ascii_uppercase();
    let selection = match upper.as_str() {
        // Words of libtls, then OpenSSL's groups.
        "SECURE" | "NORMAL" | "FAST" | "COMPAT" | "LEGACY" | "INSECURE" => Selection::All,
        "ALL" | "DEFAULT" | "HIGH" | "TLSV1.2" | "AEAD" => Selection::All,
        "ECDHE" | "EECDH" | "ECDH" | "KECDHE" | "KEECDH" => Selection::All,
        "ECDSA" | "AECDSA" => Selection::Authentication(Authentication::Ecdsa),
        "ARSA" => Selection::Authentication(Authentication::Rsa),
        "AES" | "AESGCM" | "FIPS" => Selection::Aes,
        "AES128" => Selection::Cipher(Cipher::Aes128),
        "AES256" => Selection::Cipher(Cipher::Aes256),
        "CHACHA20" => Selection::Cipher(Cipher::Chacha20),
        group if EMPTY_GROUPS.contains(&group) => Selection::None,
        name => match KNOWN.iter().find(|known| known.name == name) {
            Some(known) => Selection::Name(known.name),
            None => return unknown(word, operation),
        },
    };
    Ok(selection)
}

fn unknown(word: &str, operation: Operation) -> Result<Selection, String> {
    // All of OpenSSL's suites have a dash in their name, none of its groups has.
    let is_suite = word.contains('-') || word.contains('_');
    match operation {
        Operation::Kill | Operation::Delete if is_suite => Ok(Selection::None),
        Operation::Add | Operation::MoveToEnd if is_suite => Err(format!(
            "there is no suite {word} here: take it out of the list. For TLS 1.2 there are {}; those of TLS 1.3 are \
             named in tls13_ciphers",
            names()
        )),
        Operation::Add | Operation::MoveToEnd | Operation::Kill | Operation::Delete => Err(format!(
            "unknown word \"{word}\": write \"default\", words of OpenSSL's cipher lists, or names of suites"
        )),
    }
}
