//! Keys and certificates, made with the commands of the PostgreSQL manual ("Creating Certificates").

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use plimsoll_testkit::{Ini, TempDir};

/// Commands that make keys and certificates, each in a folder of its own.
pub(crate) struct Maker {
    dir: TempDir,
}

impl Maker {
    pub(crate) fn new() -> Maker {
        Maker { dir: TempDir::new("certificates") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    #[track_caller]
    pub(crate) fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split(' ')).current_dir(self.dir.path()).output();
        let output = output.expect("openssl is there: ./dev test installs it");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The manual's quick way: signs itself, and says CA:TRUE.
    pub(crate) fn self_signed(&self, name: &str, host: &str) {
        self.openssl(&format!(
            "req -new -x509 -days 365 -nodes -text -out {name}.crt -keyout {name}.key -subj /CN={host} \
             -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        ));
        self.readable(name);
    }

    /// One that names its host as drivers of today want it, and is trusted as it is.
    pub(crate) fn named(&self, name: &str, host: &str) {
        self.openssl(&format!(
            "req -new -x509 -days 365 -nodes -out {name}.crt -keyout {name}.key -subj /CN={host} \
             -addext subjectAltName=DNS:{host} -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        ));
        self.readable(name);
    }

    /// The manual's root.
    pub(crate) fn root(&self, name: &str) {
        self.openssl(&format!(
            "req -new -nodes -text -out {name}.csr -keyout {name}.key -subj /CN=root.of.{name} \
             -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        ));
        fs::write(self.path("ca.cnf"), "[v3_ca]\nbasicConstraints = critical,CA:true\n")
            .expect("the folder is ours");
        self.openssl(&format!(
            "x509 -req -in {name}.csr -text -days 3650 -extfile ca.cnf -extensions v3_ca -signkey {name}.key \
             -out {name}.crt"
        ));
    }

    /// The manual's certificate signed by a root, which has no extensions and so is X.509 version 1.
    pub(crate) fn signed(&self, root: &str, name: &str, host: &str) {
        self.openssl(&format!(
            "req -new -nodes -text -out {name}.csr -keyout {name}.key -subj /CN={host} \
             -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -text -days 365 -CA {root}.crt -CAkey {root}.key -CAcreateserial -out {name}.crt"
        ));
        self.readable(name);
    }

    /// One for a host that is signed by a root, as authorities make them.
    pub(crate) fn leaf(&self, root: &str, name: &str, host: &str) {
        self.openssl(&format!(
            "req -new -nodes -text -out {name}.csr -keyout {name}.key -subj /CN={host} \
             -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        ));
        let extensions = format!("[leaf]\nbasicConstraints = CA:false\nsubjectAltName = DNS:{host}\n");
        fs::write(self.path("leaf.cnf"), extensions).expect("the folder is ours");
        self.openssl(&format!(
            "x509 -req -in {name}.csr -days 365 -extfile leaf.cnf -extensions leaf -CA {root}.crt -CAkey {root}.key \
             -CAcreateserial -out {name}.crt"
        ));
        self.readable(name);
    }

    /// The pooler runs as another user than we do.
    pub(crate) fn readable(&self, name: &str) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.path(&format!("{name}.key")), fs::Permissions::from_mode(0o644))
            .expect("the folder is ours");
    }

    /// A copy of a key as libpq wants its own: nobody else may read it.
    pub(crate) fn own_key(&self, name: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let own = self.path(&format!("{name}.own.key"));
        fs::copy(self.path(&format!("{name}.key")), &own).expect("the folder is ours");
        fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).expect("the folder is ours");
        own.display().to_string()
    }
}

/// Keys of one side.
pub(crate) fn with_tls(ini: Ini, side: &str, mode: &str, maker: &Maker, name: &str) -> Ini {
    ini.set(&format!("{side}_tls_sslmode"), mode)
        .set(&format!("{side}_tls_cert_file"), &maker.text(&format!("{name}.crt")))
        .set(&format!("{side}_tls_key_file"), &maker.text(&format!("{name}.key")))
}
