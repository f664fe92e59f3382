//! Connections with TLS: certificates of servers and clients, and roles of clients.

use super::HELLO;
use super::server::{Server, ServerConfig};
use crate::program::{ProgramOutput, runway};
use runway_http::server::Tls;
use runway_testing::paths::TempDir;
use runway_testing::tls::{Authority, write_tls_files};

#[test]
fn client_certificate_decides_the_role() {
    let dir = TempDir::new("tls");
    let (trusted, untrusted) = (Authority::new("authority"), Authority::new("authority"));
    dir.write("ca.pem", trusted.pem());
    dir.write("other-ca.pem", untrusted.pem());
    for (authority, name, role) in
        [(&trusted, "admin", "admin"), (&trusted, "viewer", "viewer"), (&untrusted, "stranger", "admin")]
    {
        authority.client(&[role]).write(&dir, name);
    }
    let tls = Tls::load(write_tls_files(&dir, &trusted.server(), Some(&trusted))).unwrap();
    let server = Server::start(ServerConfig { tls: Some(tls), ..ServerConfig::default() });
    let file = |name: &str| dir.path(name).to_str().unwrap().to_owned();
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
