//! The clients that can reach a server whose jobs run on its own machine.

use crate::bed::{Bed, refused};
use crate::certificates::{self, Authority, Client};
use crate::process::{Folder, Process};
use runway_http::server::TlsFiles;
use runway_testing::wire::ask;
use rustix::process::Signal;
use std::net::SocketAddr;

const OPEN: [&str; 7] =
    ["0.0.0.0:0", "[::]:0", "128.0.0.1:0", "192.0.2.1:80", "[::2]:0", "[fe80::1]:0", "[::ffff:0.0.0.0]:0"];

#[tokio::test]
async fn an_address_that_others_reach_is_refused_with_one_sentence() {
    let bed = Bed::new();
    for address in OPEN {
        for flags in [["--listen", address].as_slice(), &["--listen", "127.0.0.1:0", "--listen-ops", address]]
        {
            let (code, told) = refused(flags, &bed.flags()).await;
            assert_eq!((code, told.lines().count()), (Some(2), 1), "{address}: {told}");
            assert!(told.contains(&format!("{address}` is not a loopback address")), "{told}");
        }
    }
    // Host names are not resolved, not even `localhost`.
    for name in ["localhost:0", "example.com:80"] {
        let (code, told) = refused(&["--listen", name], &bed.flags()).await;
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains("host names are not resolved"), "{told}");
    }
    // The server has not created its state directory.
    assert!(!bed.state().exists());
}

/// Returns the flags of mutual TLS. The last two are for client certificates.
fn mutual_tls(folder: &Folder, authority: &Authority) -> Vec<String> {
    let TlsFiles { certificate, key, client_ca } =
        certificates::write(folder, &authority.server(), Some(authority));
    let flags = [("--tls-cert", certificate), ("--tls-key", key), ("--client-ca", client_ca.unwrap())];
    flags.into_iter().flat_map(|(flag, file)| [flag.to_owned(), file.display().to_string()]).collect()
}

#[tokio::test]
async fn tls_that_asks_nobody_who_they_are_does_not_open_it() {
    let bed = Bed::new();
    let folder = Folder::at(bed.path("tls"));
    let files = mutual_tls(&folder, &Authority::new("authority"));
    let flags = [bed.flags(), files[..4].to_vec()].concat();
    assert_eq!(refused(&["--listen", "0.0.0.0:0"], &flags).await.0, Some(2));
}

#[tokio::test]
async fn mutual_tls_opens_it() {
    let bed = Bed::new();
    let authority = Authority::new("authority");
    let folder = Folder::at(bed.path("tls"));
    let (flags, files) = (bed.flags(), mutual_tls(&folder, &authority));
    let mut flags: Vec<_> = flags.iter().chain(&files).map(String::as_str).collect();
    flags.extend(["--listen-ops", "0.0.0.0:0"]);
    let process = Process::launch_on("0.0.0.0:0", &flags).await;
    assert!(process.address.ip().is_unspecified());
    let here = SocketAddr::from(([127, 0, 0, 1], process.address.port()));
    // The host is not a loopback name.
    let ask = "GET /v1/policy HTTP/1.1\r\nHost: runway.example.com\r\n\r\n";
    let somebody = Client::new(&authority, Some(&authority.client(&["admin"])));
    assert_eq!(somebody.status(here, ask).await.unwrap(), 200);
    assert!(Client::new(&authority, None).status(here, ask).await.is_err());
}

#[tokio::test]
async fn loopback_is_enough_by_either_version() {
    let bed = Bed::new();
    let flags = bed.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    for address in ["127.1.2.3:0", "[::1]:0"] {
        let listens = std::net::TcpListener::bind(address).is_ok();
        if listens {
            let mut process = Process::launch_on(address, &flags).await;
            assert_eq!(ask(process.address, runway_testing::wire::get("/healthz")).await.status, 200);
            process.signal(Signal::KILL);
            process.ended().await;
        }
    }
}

/// A foreign host name that resolves to this machine does not give a web page access to the server.
#[tokio::test]
async fn requests_by_another_name_are_not_answered() {
    let bed = Bed::new();
    let server = bed.serve(&[]).await;
    for (target, host, status) in [
        ("/v1/jobs", "Host: evil.example.com\r\n", 421),
        ("/v1/jobs", "Host: evil.example.com:8080\r\n", 421),
        ("/", "Host: evil.example.com\r\n", 421),
        ("http://evil.example.com/v1/jobs", "Host: localhost\r\n", 421),
        ("/v1/jobs", "Host: not a host\r\n", 421),
        ("/v1/jobs", "Host: localhost:8080\r\n", 200),
        ("/v1/jobs", "Host: 127.0.0.1\r\n", 200),
        ("/v1/jobs", "Host: [::1]:80\r\n", 200),
        ("/v1/jobs", "", 200),
    ] {
        let answer = ask(server.process.address, format!("GET {target} HTTP/1.1\r\n{host}\r\n")).await;
        assert_eq!(answer.status, status, "{target} {host}");
        if status == 421 {
            assert_eq!(answer.json()["type"], "urn:runway:problem:misdirected", "{answer:?}");
            assert_eq!(answer.header("x-request-id"), answer.json()["instance"].as_str(), "{answer:?}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
        }
    }
}
