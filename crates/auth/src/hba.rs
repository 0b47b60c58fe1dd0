//! Which way of showing who one is goes for whom: the HBA file, as PgBouncer reads it (reference 3.4; PostgreSQL
//! manual, "The pg_hba.conf File").

mod line;

use std::net::IpAddr;

use line::Token;
pub(crate) use line::tokens;

/// A line of a file that was skipped, or is doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFault {
    /// Its number, from 1.
    pub line: u32,
    /// What is wrong with it.
    pub message: String,
}

/// The rules of a file, in its order.
#[derive(Clone, Debug, Default)]
pub struct Hba {
    rules: Vec<Rule>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Rule {
    kind: Kind,
    databases: Names,
    users: Names,
    net: Option<Net>,
    /// How whoever it fits has to show who it is.
    pub method: HbaMethod,
    /// `map=`, for peer and cert.
    pub map: Option<Box<str>>,
    /// Its number in the file, from 1.
    pub line: u32,
}

/// The method of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HbaMethod {
    /// Anybody listed.
    Trust,
    /// Nobody.
    Reject,
    /// Clear text.
    Password,
    /// MD5, or SCRAM where the secret is one.
    Md5,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// By the system user, over a Unix socket.
    Peer,
    /// By the certificate.
    Cert,
    /// By an LDAP server.
    Ldap,
    /// By PAM.
    Pam,
}

const METHODS: [(&str, HbaMethod); 9] = [
    ("trust", HbaMethod::Trust),
    ("reject", HbaMethod::Reject),
    ("password", HbaMethod::Password),
    ("md5", HbaMethod::Md5),
    ("scram-sha-256", HbaMethod::ScramSha256),
    ("peer", HbaMethod::Peer),
    ("cert", HbaMethod::Cert),
    ("ldap", HbaMethod::Ldap),
    ("pam", HbaMethod::Pam),
];

/// Who wants to come in, and how.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// On which way.
    pub way: Way,
    /// The database it names.
    pub database: &'a str,
    /// The user it names.
    pub user: &'a str,
    /// Whether it wants to replicate.
    pub replication: Replication,
}

/// On which way a client comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over a Unix socket.
    Local,
    /// Over TCP.
    Tcp {
        /// From where.
        ip: IpAddr,
        /// Whether it is encrypted.
        tls: Tls,
    },
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Whether a client wants to replicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// It does not.
    No,
    /// `replication=true`: no database; only lines with the keyword `replication` fit.
    Physical,
    /// `replication=database`.
    Logical,
}

/// The first word of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Local,
    Host,
    HostSsl,
    HostNoSsl,
}

/// A list of databases or users.
#[derive(Clone, Debug, Default)]
struct Names {
    all: Is,
    same_user: Is,
    replication: Is,
    names: Vec<Box<str>>,
}

/// Whether a keyword is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Is {
    #[default]
    Absent,
    There,
}

/// Addresses with a common beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Net {
    All,
    V4 { address: u32, mask: u32 },
    V6 { address: u128, mask: u128 },
}

/// What a list of names is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Databases,
    Users,
}

/// Most names of one `@file`.
const NAMES_MAX: usize = 100_000;

/// How deep `@file` may go.
const DEPTH_MAX: u32 = 10;

/// Fetches the text of an `@file`.
type Read<'a> = &'a mut dyn FnMut(&str) -> std::io::Result<String>;

impl Hba {
    /// Reads a file; `read` gives the text of an `@file`. A line that is wrong is left out and told; one that is only
    /// doubtful is told and counts.
    pub fn parse(text: &str, read: Read<'_>) -> (Hba, Vec<LineFault>) {
        let (mut hba, mut faults) = (Hba::default(), Vec::new());
        for (line, text) in (1..).zip(text.lines()) {
            let mut doubts = Vec::new();
            match rule(text, line, read, &mut doubts) {
                Ok(Some(rule)) => hba.rules.push(rule),
                Ok(None) => {}
                Err(why) => {
                    doubts.push(format!("hba line {line}: {why}; could not parse hba config line {line}"))
                }
            }
            faults.extend(doubts.into_iter().map(|message| LineFault { line, message }));
        }
        (hba, faults)
    }

    /// The first rule that fits.
    pub fn find(&self, asker: &Asker<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.fits(asker))
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none: nobody gets in.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Rule {
    fn fits(&self, asker: &Asker<'_>) -> bool {
        let way = match (self.kind, asker.way) {
            (Kind::Local, Way::Local) => true,
            (Kind::Local, Way::Tcp { .. }) | (_, Way::Local) => false,
            (Kind::HostSsl, Way::Tcp { tls: Tls::No, .. }) => false,
            (Kind::HostNoSsl, Way::Tcp { tls: Tls::Yes, .. }) => false,
            (_, Way::Tcp { ip, .. }) => self.net.is_some_and(|net| net.contains(ip)),
        };
        way && self.databases.has_database(asker) && self.users.has_user(asker.user)
    }
}

impl Names {
    fn has_database(&self, asker: &Asker<'_>) -> bool {
        if asker.replication == Replication::Physical {
            return self.replication == Is::There;
        }
        self.all == Is::There
            || (self.same_user == Is::There && asker.database == asker.user)
            || self.has(asker.database)
    }

    fn has_user(&self, user: &str) -> bool {
        self.all == Is::There || self.has(user)
    }

    fn has(&self, name: &str) -> bool {
        self.names.binary_search_by(|known| (**known).cmp(name)).is_ok()
    }
}

impl Net {
    fn contains(self, ip: IpAddr) -> bool {
        // A client of a socket for both kinds comes from ::ffff:1.2.3.4.
        match (self, ip.to_canonical()) {
            (Net::All, _) => true,
            (Net::V4 { address, mask }, IpAddr::V4(ip)) => u32::from(ip) & mask == address & mask,
            (Net::V6 { address, mask }, IpAddr::V6(ip)) => u128::from(ip) & mask == address & mask,
            (Net::V4 { .. }, IpAddr::V6(_)) | (Net::V6 { .. }, IpAddr::V4(_)) => false,
        }
    }
}

fn rule(text: &str, line: u32, read: Read<'_>, doubts: &mut Vec<String>) -> Result<Option<Rule>, String> {
    let tokens = tokens(text)?;
    let mut rest = tokens.iter();
    let Some(first) = rest.next() else { return Ok(None) };
    let kind = match first.word() {
        Some("local") => Kind::Local,
        Some("host") => Kind::Host,
        Some("hostssl") => Kind::HostSsl,
        Some("hostnossl") => Kind::HostNoSsl,
        _ => return Err(format!("unknown type: {}", first.text)),
    };
    if first.comma {
        return Err("a comma behind the type".to_string());
    }
    let databases = names(&mut rest, List::Databases, read).map_err(|e| format!("database list: {e}"))?;
    let users = names(&mut rest, List::Users, read).map_err(|e| format!("user list: {e}"))?;
    let mut net = None;
    if kind != Kind::Local {
        let (found, doubt) = address(&mut rest)?;
        net = Some(found);
        doubts.extend(doubt.map(|doubt| format!("hba line {line}: {doubt}")));
    }
    let method = rest.next().ok_or("no method")?;
    let found = METHODS.iter().find(|(word, _)| method.word() == Some(word));
    let (_, method) = *found.ok_or_else(|| format!("unknown method: {}", method.text))?;
    if kind != Kind::Local && method == HbaMethod::Peer {
        return Err("peer is for local connections only".to_string());
    }
    let map = options(rest, method)?;
    Ok(Some(Rule { kind, databases, users, net, method, map, line }))
}

/// The options behind the method; the map, if one is named.
fn options<'a>(rest: impl Iterator<Item = &'a Token>, method: HbaMethod) -> Result<Option<Box<str>>, String> {
    let mut map = None;
    for option in rest {
        match (option.text.split_once('='), method) {
            (Some(("map", name)), HbaMethod::Peer | HbaMethod::Cert) if !name.is_empty() => {
                map = Some(name.into());
            }
            // What an LDAP server or PAM is told is theirs.
            (_, HbaMethod::Ldap | HbaMethod::Pam) => {}
            _ => return Err(format!("unknown option: {}", option.text)),
        }
    }
    Ok(map)
}

/// A list of names with commas, one column of the line.
fn names<'a>(
    rest: &mut impl Iterator<Item = &'a Token>,
    list: List,
    read: Read<'_>,
) -> Result<Names, String> {
    let mut names = Names::default();
    loop {
        let token = rest.next().ok_or("it is missing")?;
        add_name(&mut names, token, list, read, 0)?;
        if !token.comma {
            break;
        }
    }
    names.names.sort_unstable();
    names.names.dedup();
    Ok(names)
}

fn add_name(names: &mut Names, token: &Token, list: List, read: Read<'_>, depth: u32) -> Result<(), String> {
    match (token.word(), list) {
        (Some("all"), _) => names.all = Is::There,
        (Some("sameuser"), List::Databases) => names.same_user = Is::There,
        (Some("replication"), List::Databases) => names.replication = Is::There,
        (Some("samerole" | "samegroup"), List::Databases) => {
            return Err(format!("{} is not supported: the pooler knows no roles", token.text));
        }
        (Some(word), _) if word.starts_with('@') => add_file(names, &word[1..], list, read, depth + 1)?,
        (Some(word), List::Users) if word.starts_with('+') => {
            return Err(format!("{word} is not supported: the pooler knows no roles"));
        }
        (Some(word), _) if word.starts_with('/') => {
            return Err(format!("{word} is not supported: no regular expressions"));
        }
        (Some(_) | None, _) if names.names.len() >= NAMES_MAX => return Err("too many names".to_string()),
        (Some(_) | None, _) => names.names.push(token.text.as_str().into()),
    }
    Ok(())
}

fn add_file(names: &mut Names, file: &str, list: List, read: Read<'_>, depth: u32) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("@{file}: files are nested too deeply"));
    }
    let text = read(file).map_err(|e| format!("@{file}: {e}"))?;
    for line in text.lines() {
        for token in tokens(line)? {
            add_name(names, &token, list, read, depth)?;
        }
    }
    Ok(())
}

/// The column or columns of an address.
fn address<'a>(rest: &mut impl Iterator<Item = &'a Token>) -> Result<(Net, Option<String>), String> {
    let token = rest.next().ok_or("no address")?;
    let text = token.text.as_str();
    if token.word() == Some("all") {
        return Ok((Net::All, None));
    }
    let net = match text.split_once('/') {
        Some((ip, bits)) => net(parse_ip(ip)?, bits.parse().map_err(|_| format!("bad mask: {bits}"))?)?,
        None => {
            let ip = parse_ip(text)?;
            let mask = rest.next().ok_or("no mask behind the address")?;
            match (ip, parse_ip(&mask.text)?) {
                (IpAddr::V4(ip), IpAddr::V4(mask)) => Net::V4 { address: ip.into(), mask: mask.into() },
                (IpAddr::V6(ip), IpAddr::V6(mask)) => Net::V6 { address: ip.into(), mask: mask.into() },
                _ => return Err(format!("{text} and its mask {} are of different kinds", mask.text)),
            }
        }
    };
    let stray = match net {
        Net::All => false,
        Net::V4 { address, mask } => address & !mask != 0,
        Net::V6 { address, mask } => address & !mask != 0,
    };
    Ok((net, stray.then(|| format!("address does not match mask: {text}"))))
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("bad address: {text}"))
}

fn net(ip: IpAddr, bits: u32) -> Result<Net, String> {
    match ip {
        IpAddr::V4(ip) if bits <= 32 => {
            Ok(Net::V4 { address: ip.into(), mask: u32::MAX.checked_shl(32 - bits).unwrap_or(0) })
        }
        IpAddr::V6(ip) if bits <= 128 => {
            Ok(Net::V6 { address: ip.into(), mask: u128::MAX.checked_shl(128 - bits).unwrap_or(0) })
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Err(format!("bad mask: {bits}")),
    }
}

#[cfg(test)]
mod tests;
