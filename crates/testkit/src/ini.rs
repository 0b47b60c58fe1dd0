//! The files the program under test is started with.

use std::fmt::Write;

use crate::{Postgres, md5_secret};

/// An ini file and its auth_file in the making. Later values of a key replace earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Ini {
    general: Vec<(String, String)>,
    databases: Vec<(String, String)>,
    users: Vec<(String, String)>,
    own: Vec<(String, String)>,
    logins: Vec<(String, String)>,
    extra: String,
    usual_http: bool,
}

impl Ini {
    /// Trust at the door, databases `p0`, `p1`, `p2` of this PostgreSQL, all its roles with plain secrets, console
    /// users `admin` and `stats`.
    pub fn new(postgres: &Postgres) -> Ini {
        let mut ini = Ini::empty();
        for name in ["p0", "p1", "p2"] {
            ini = ini.database(name, &format!("host=127.0.0.1 port={} dbname={name}", postgres.port()));
        }
        for (role, password) in Postgres::PASSWORDS {
            ini = ini.login(role, password);
        }
        ini
    }

    /// Trust at the door, no database, console users `admin` and `stats`.
    pub fn empty() -> Ini {
        Ini::default()
            .set("listen_addr", "127.0.0.1,::1")
            .set("auth_type", "trust")
            .set("pool_mode", "transaction")
            .set("admin_users", "admin")
            .set("stats_users", "stats")
            .login("admin", "admin-secret")
            .login("stats", "stats-secret")
    }

    /// A key of `[pgbouncer]`.
    pub fn set(mut self, key: &str, value: &str) -> Ini {
        put(&mut self.general, key, value);
        self
    }

    /// A line of `[databases]`.
    pub fn database(mut self, name: &str, connection: &str) -> Ini {
        put(&mut self.databases, name, connection);
        self
    }

    /// Removes a line of `[databases]`.
    pub fn without_database(mut self, name: &str) -> Ini {
        self.databases.retain(|(known, _)| known != name);
        self
    }

    /// A line of `[users]`.
    pub fn user(mut self, name: &str, settings: &str) -> Ini {
        put(&mut self.users, name, settings);
        self
    }

    /// A key of `[plimsoll]`.
    pub fn own(mut self, key: &str, value: &str) -> Ini {
        put(&mut self.own, key, value);
        self
    }

    /// No word of `http_listen`: the pooler listens where it does by itself, or warns that somebody else does; or it is none of
    /// ours, and knows no such section.
    pub fn usual_http(mut self) -> Ini {
        self.usual_http = true;
        self
    }

    /// Whether the test has something to say of HTTP.
    pub(crate) fn says_http(&self) -> bool {
        self.usual_http || self.own.iter().any(|(known, _)| known == "http_listen")
    }

    /// A line of auth_file.
    pub fn login(mut self, user: &str, secret: &str) -> Ini {
        put(&mut self.logins, user, secret);
        self
    }

    /// A line of auth_file whose secret is the MD5 of a password.
    pub fn login_md5(self, user: &str, password: &str) -> Ini {
        let secret = md5_secret(user, password);
        self.login(user, &secret)
    }

    /// Removes a line of auth_file.
    pub fn without_login(mut self, user: &str) -> Ini {
        self.logins.retain(|(known, _)| known != user);
        self
    }

    /// Text at the end of the ini file, as it is.
    pub fn extra(mut self, text: &str) -> Ini {
        self.extra.push_str(text);
        self
    }

    /// The ini file.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let sections = [
            ("databases", &self.databases),
            ("users", &self.users),
            ("pgbouncer", &self.general),
            ("plimsoll", &self.own),
        ];
        for (name, lines) in sections {
            if lines.is_empty() {
                continue;
            }
            writeln!(text, "[{name}]").expect("text grows");
            for (key, value) in lines {
                writeln!(text, "{key} = {value}").expect("text grows");
            }
            text.push('\n');
        }
        text + &self.extra
    }

    /// The auth_file.
    pub fn userlist(&self) -> String {
        self.logins.iter().fold(String::new(), |mut text, (user, secret)| {
            writeln!(text, "\"{}\" \"{}\"", user.replace('"', "\"\""), secret.replace('"', "\"\""))
                .expect("text grows");
            text
        })
    }
}

fn put(lines: &mut Vec<(String, String)>, key: &str, value: &str) {
    match lines.iter_mut().find(|(known, _)| known == key) {
        Some(line) => line.1 = String::from(value),
        None => lines.push((String::from(key), String::from(value))),
    }
}
