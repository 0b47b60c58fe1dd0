//! `plimsoll identity init`, `org`, `app`, `key` and the like: the program, the API and a store in a file, end to end.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Extension;
use common::BINARY;
use common::certificates::Maker;
use plimsoll_identity::http::Peer;
use plimsoll_identity::{Service, ServiceSetup};
use plimsoll_testkit::{TempDir, binary_of};
use plimsoll_tls::{PemFile, Settings, SslMode, acceptor, rustls};
use serde_json::Value;
use tokio::sync::oneshot;

/// The API over a store, in a thread of its own, until it is dropped.
struct Api {
    at: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Api {
    fn over(store: &str) -> Api {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let store = store.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let setup = ServiceSetup {
                    outside: Arc::default(),
                    issuer: None,
                    audience: "plimsoll".to_owned(),
                    stale_ms: 300_000,
                    token_life_s: 600,
                };
                let service = Service::open(&store, &setup).await.unwrap();
                let routes = service.api().layer(Extension(Peer(at)));
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, routes) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Api { at, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How a command ended.
#[derive(Debug)]
struct Done {
    status: i32,
    out: String,
    err: String,
}

impl Done {
    fn well(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.out.trim_end().to_owned()
    }

    fn json(self) -> Vec<Value> {
        self.well().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Checks the status, and gives what was told.
    fn badly(self, status: i32) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.err
    }
}

fn run(words: &str, vars: &[(&str, &str)], input: &str) -> Done {
    let mut command = Command::new(binary_of(BINARY));
    command.args(words.split(' ')).envs(vars.iter().copied()).env_remove("COLUMNS").env("TZ", "UTC");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that reads nothing may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { status: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A store with its administrator key, and the API over it.
struct House {
    api: Api,
    key: String,
    store: String,
    _dir: TempDir,
}

impl House {
    fn new(name: &str) -> House {
        let dir = TempDir::new(name);
        let store = format!("sqlite:{}", dir.path().join("identity.db").display());
        let key = run(&format!("identity init --store {store}"), &[], "").well();
        let api = Api::over(&store);
        House { api, key, store, _dir: dir }
    }

    fn run(&self, words: &str) -> Done {
        self.run_with(words, &self.key, "")
    }

    fn run_with(&self, words: &str, key: &str, input: &str) -> Done {
        let url = format!("http://{}", self.api.at);
        run(words, &[("PLIMSOLL_API", &url), ("PLIMSOLL_KEY", key)], input)
    }

    /// An organisation, a data set and an application with a grant.
    fn furnish(&self) {
        for words in [
            "org create --name acme",
            "dataset create --org acme --name orders --database shop",
            "app create --org acme --name web",
            "grant create --app web --dataset orders --role shop_web --clients 200 --statement 30s --action connect",
        ] {
            self.run(words).well();
        }
    }
}

#[test]
fn from_init_to_an_application_with_a_key() {
    let house = House::new("identity-walk");
    assert!(house.key.starts_with("plim_live_"), "the key alone on standard output");
    let refused = run(&format!("identity init --store {}", house.store), &[], "").badly(1);
    assert!(refused.contains("already") && refused.contains("--again"), "{refused}");
    house.furnish();
    let made = house.run("key create --app web --env test --expires 90d --quiet");
    assert!(made.err.contains("shown this once"), "{made:?}");
    let key = made.well();
    assert!(key.starts_with("plim_test_") && !key.contains('\n'), "{key}");
    let keys = house.run("key list --app web --json").json();
    assert_eq!((keys.len(), &keys[0]["state"]), (1, &Value::from("active")));
    assert!(keys[0].get("key").is_none());
    let table = house.run("grant list").well();
    assert!(table.contains("web") && table.contains("clients 200, statement 30s"), "{table}");
    assert!(house.run("authorize --app web --dataset orders").well().starts_with("allowed as role shop_web"));
    let denied = house.run("authorize --app web --dataset orders --action export");
    assert_eq!(denied.status, 3, "{denied:?}");
    let status = house.run("identity status").well();
    assert!(status.contains("2 organisations") && status.contains("2 keys"), "{status}");
    // The new key may nothing over the API.
    let refused = house.run_with("org list", &key, "").badly(1);
    assert!(refused.contains("admin") && refused.contains("hint:"), "{refused}");
    let mistyped = house.run_with("org list", &key.replace("plim_test", "plim_tesd"), "").badly(1);
    assert!(mistyped.contains("checksum") && !mistyped.contains(&key[25..]), "{mistyped}");
}

#[test]
fn what_cuts_access_says_so_and_wants_a_yes() {
    let house = House::new("identity-cut");
    house.furnish();
    let key = house.run("key create --app web --quiet").well();
    let told = house.run("app disable web").badly(2);
    assert!(told.contains("1 key and 1 grant of it") && told.contains("--yes"), "{told}");
    assert_eq!(house.run("app show web --json").json()[0]["state"], "active");
    assert!(house.run("app disable web --yes").well().ends_with("is disabled"));
    assert!(house.run("app disable web --yes").well().ends_with("is already disabled"));
    assert_eq!(house.run("authorize --app web --dataset orders").status, 3);
    house.run("app enable web").well();
    assert_eq!(house.run("authorize --app web --dataset orders").status, 0);
    let told = house.run("org delete acme --yes").badly(1);
    assert!(told.contains("plimsoll: "), "{told}");
    let rotated = house.run(&format!("key rotate {key} --overlap 1h --json")).json();
    assert!(rotated[0]["key"].as_str().is_some_and(|new| new.starts_with("plim_live_") && new != key));
    let told =
        house.run(&format!("key rotate {} --overlap 0", rotated[0]["key_id"].as_str().unwrap())).badly(2);
    assert!(told.contains("replaces key"), "{told}");
    let id = key.split('_').nth(2).unwrap();
    assert!(house.run(&format!("key revoke {id} --yes")).well().ends_with("is revoked"));
    assert_eq!(house.run(&format!("key show {id} --json")).json()[0]["state"], "revoked");
    house.run("grant list --app web --json").json();
    house.run("app delete web --yes").well();
    let actions: Vec<String> = house
        .run("audit --all --json")
        .json()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions.first().map(String::as_str), Some("org.create"), "the oldest first: {actions:?}");
    assert!(actions.contains(&"app.disable".to_owned()), "{actions:?}");
}

#[test]
fn changes_keep_the_rest_and_passwords_are_never_arguments() {
    let house = House::new("identity-set");
    house.furnish();
    let grant = house.run("grant list --json").json()[0]["id"].as_str().unwrap().to_owned();
    house.run(&format!("grant set {grant} --holds 10 --shared yes")).well();
    let grant = &house.run("grant list --json").json()[0];
    assert_eq!(grant["limits"]["clients"], 200);
    assert_eq!((&grant["limits"]["holds"], &grant["shared"]), (&Value::from(10), &Value::from(true)));
    house.run("dataset set orders --schema sales").well();
    house.run("dataset set orders --no-schema").well();
    assert_eq!(house.run("dataset show orders --json").json()[0].get("schema"), None);
    house.run("user create --org acme --login ada --scope org-admin").well();
    let short = house.run_with("user password ada", &house.key, "short\n").badly(1);
    assert!(short.contains("password"), "{short}");
    let set = house.run_with("user password ada", &house.key, "correct horse battery\n").well();
    assert!(set.ends_with("has a new password"), "{set}");
    assert_eq!(house.run("user show ada --json").json()[0]["has_password"], true);
    assert!(house.run("user password ada --remove").badly(2).contains("nobody can sign in"));
    house.run("user password ada --remove --yes").well();
    assert_eq!(house.run("user show ada --json").json()[0]["has_password"], false);
}

#[test]
fn bad_command_lines_end_with_2_and_a_reason() {
    let house = House::new("identity-usage");
    let told = house.run("org list --key plim_live_x").badly(2);
    assert!(told.contains("everybody on the machine") && !told.contains("plim_live_x"), "{told}");
    assert!(house.run("grant create --dataset x --role r").badly(2).contains("--app"));
    assert!(house.run("org set plimsoll").badly(2).contains("what is to be changed"));
    assert!(house.run("org list --api 127.0.0.1:6433").badly(2).contains("http://"));
    let told = run("org list --api http://127.0.0.1:1", &[("PLIMSOLL_KEY", "plim_x")], "").badly(1);
    assert!(told.contains("http://127.0.0.1:1") && told.contains("identity_store"), "{told}");
}

/// Answers requests over TLS with a list of one organisation, until nothing comes any more; gives what was asked.
fn over_tls(maker: &Maker, answers: usize) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    let file =
        |name: &str| Some(PemFile { name: name.to_owned(), pem: std::fs::read(maker.path(name)).unwrap() });
    let settings = Settings {
        mode: SslMode::Require,
        cert: file("server.crt"),
        key: file("server.key"),
        ..Settings::default()
    };
    let mut config = Arc::unwrap_or_clone(acceptor(&settings).unwrap());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for socket in listener.incoming().take(answers) {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = BufReader::new(rustls::StreamOwned::new(connection, socket.unwrap()));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|bytes| bytes > 0) {}
            let body = r#"{"items": [{"id": "org_1", "name": "acme", "state": "active"}], "next": null}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            // Whoever did not trust us is gone.
            let _ = stream.get_mut().write_all(answer.as_bytes());
            asked.push(head);
        }
        asked
    });
    (port, thread)
}

#[test]
fn the_key_goes_over_tls_to_whom_is_trusted_and_to_nobody_else() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    let (port, thread) = over_tls(&maker, 3);
    let key = [("PLIMSOLL_KEY", "plim_live_x")];
    let ca = maker.text("server.crt");
    let listed = run(&format!("org list --api https://localhost:{port} --ca-file {ca}"), &key, "").well();
    assert!(listed.contains("acme"), "{listed}");
    let other = run(&format!("org list --api https://127.0.0.1:{port} --ca-file {ca}"), &key, "").badly(1);
    assert!(other.contains("cannot reach the identity API") && other.contains("--ca-file"), "{other}");
    maker.self_signed("stranger", "localhost");
    let stranger = maker.text("stranger.crt");
    let words = format!("org list --api https://localhost:{port} --ca-file {stranger}");
    run(&words, &key, "").badly(1);
    let asked = thread.join().unwrap();
    assert!(asked[0].contains("Bearer plim_live_x"), "{asked:?}");
    assert_eq!(&asked[1..], ["", ""], "who is not trusted hears nothing");
}
