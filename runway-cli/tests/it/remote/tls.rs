//! Connections with TLS: certificates of servers and clients, and roles of clients.

use super::HELLO;
use super::server::{Server, ServerConfig};
use crate::program::{ProgramOutput, runway};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use runway_http::server::{Tls, TlsFiles};
use std::path::{Path, PathBuf};

/// A temporary directory of certificates and keys. It is deleted when this value is dropped.
struct Certificates(PathBuf);

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, dir: &Path, name: &str, unit: Option<&str>) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(unit) = unit {
            params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

impl Certificates {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("runway-tls-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (trusted, untrusted) = (Authority::new(), Authority::new());
        std::fs::write(dir.join("ca.pem"), &trusted.pem).unwrap();
        std::fs::write(dir.join("other-ca.pem"), &untrusted.pem).unwrap();
        trusted.sign(&dir, "server", None);
        trusted.sign(&dir, "admin", Some("admin"));
        trusted.sign(&dir, "viewer", Some("viewer"));
        untrusted.sign(&dir, "stranger", Some("admin"));
        Self(dir)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn client_certificate_decides_the_role() {
    let certificates = Certificates::new();
    let file = |name: &str| certificates.file(name);
    let files = TlsFiles {
        certificate: file("server.pem").into(),
        key: file("server.key").into(),
        client_ca: Some(file("ca.pem").into()),
    };
    let server =
        Server::start(ServerConfig { tls: Some(Tls::load(files).unwrap()), ..ServerConfig::default() });
    let url = format!("https://{}", server.address);
    let call = |identity: Option<&str>, ca: Option<&str>, arguments: &[&str]| -> ProgramOutput {
        let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        all.extend(["--server".to_owned(), url.clone(), "--retry-for".to_owned(), "1s".to_owned()]);
        if let Some(who) = identity {
            let flags = [("--cert", format!("{who}.pem")), ("--key-file", format!("{who}.key"))];
            all.extend(flags.into_iter().flat_map(|(flag, name)| [flag.to_owned(), file(&name)]));
        }
        if let Some(ca) = ca {
            all.extend(["--ca".to_owned(), file(ca)]);
        }
        runway(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let submitted = call(Some("admin"), Some("ca.pem"), &["submit", HELLO]);
    assert_eq!((submitted.code, submitted.stderr.as_str()), (0, ""));
    assert_eq!(call(Some("viewer"), Some("ca.pem"), &["ls"]).code, 0);
    let viewer = call(Some("viewer"), Some("ca.pem"), &["submit", HELLO]);
    assert_eq!(viewer.code, 1);
    assert!(viewer.stderr.contains("this request requires the role `admin`"), "{}", viewer.stderr);
    // The server rejects a missing or untrusted client certificate, and the client rejects an untrusted
    // server.
    for (who, ca) in [
        (None, Some("ca.pem")),
        (Some("stranger"), Some("ca.pem")),
        (Some("admin"), Some("other-ca.pem")),
        (Some("admin"), None),
    ] {
        let ran = call(who, ca, &["ls"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{who:?} {ca:?}");
        assert!(
            ran.stderr.contains("error: cannot connect to https://127.0.0.1:"),
            "{who:?} {ca:?}: {}",
            ran.stderr
        );
    }
    assert_eq!(server.created_jobs().len(), 1);
}
