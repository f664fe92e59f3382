//! The clients that can reach a server whose jobs run on its own machine.

use crate::harness::{Harness, failed_start, program};
use runway_http::server::TlsFiles;
use runway_testing::paths::TempDir;
use runway_testing::process::ServerProcess;
use runway_testing::tls::{Authority, TlsClient, write_tls_files};
use runway_testing::wire::exchange;
use rustix::process::Signal;
use std::net::SocketAddr;

const NON_LOOPBACK: [&str; 7] =
    ["0.0.0.0:0", "[::]:0", "128.0.0.1:0", "192.0.2.1:80", "[::2]:0", "[fe80::1]:0", "[::ffff:0.0.0.0]:0"];

#[tokio::test]
async fn non_loopback_address_is_refused() {
    let harness = Harness::new();
    for address in NON_LOOPBACK {
        for flags in [["--listen", address].as_slice(), &["--listen", "127.0.0.1:0", "--listen-ops", address]]
        {
            let (code, stderr) = failed_start(flags, &harness.flags()).await;
            assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{address}: {stderr}");
            assert!(stderr.contains(&format!("{address}` is not a loopback address")), "{stderr}");
        }
    }
    // Host names are not resolved, not even `localhost`.
    for name in ["localhost:0", "example.com:80"] {
        let (code, stderr) = failed_start(&["--listen", name], &harness.flags()).await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("host names are not resolved"), "{stderr}");
    }
    // None of the refused servers has created its state directory.
    assert!(!harness.state_dir().exists());
}

/// Returns the flags of mutual TLS. The last two elements are `--client-ca` and its file.
fn mutual_tls(dir: &TempDir, authority: &Authority) -> Vec<String> {
    let TlsFiles { certificate, key, client_ca } = write_tls_files(dir, &authority.server(), Some(authority));
    let flags = [("--tls-cert", certificate), ("--tls-key", key), ("--client-ca", client_ca.unwrap())];
    flags.into_iter().flat_map(|(flag, file)| [flag.to_owned(), file.display().to_string()]).collect()
}

#[tokio::test]
async fn tls_without_client_ca_does_not_allow_other_addresses() {
    let harness = Harness::new();
    let dir = TempDir::at(harness.path("tls"));
    let files = mutual_tls(&dir, &Authority::new("authority"));
    let flags = [harness.flags(), files[..4].to_vec()].concat();
    assert_eq!(failed_start(&["--listen", "0.0.0.0:0"], &flags).await.0, Some(2));
}

#[tokio::test]
async fn mutual_tls_allows_other_addresses() {
    let harness = Harness::new();
    let authority = Authority::new("authority");
    let dir = TempDir::at(harness.path("tls"));
    let (flags, files) = (harness.flags(), mutual_tls(&dir, &authority));
    let mut flags: Vec<_> = flags.iter().chain(&files).map(String::as_str).collect();
    flags.extend(["--listen-ops", "0.0.0.0:0"]);
    let process = ServerProcess::launch_on(&program(), "0.0.0.0:0", &flags).await;
    assert!(process.address.ip().is_unspecified());
    let here = SocketAddr::from(([127, 0, 0, 1], process.address.port()));
    // With client certificates, the server accepts a host that is not a loopback name.
    let request = "GET /v1/policy HTTP/1.1\r\nHost: runway.example.com\r\n\r\n";
    let admin = TlsClient::new(&authority, Some(&authority.client(&["admin"])));
    assert_eq!(admin.status(here, request).await.unwrap(), 200);
    assert!(TlsClient::new(&authority, None).status(here, request).await.is_err());
}

#[tokio::test]
async fn loopback_works_with_ipv4_and_ipv6() {
    let harness = Harness::new();
    let flags = harness.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    for address in ["127.1.2.3:0", "[::1]:0"] {
        let listens = std::net::TcpListener::bind(address).is_ok();
        if listens {
            let mut process = ServerProcess::launch_on(&program(), address, &flags).await;
            assert_eq!(exchange(process.address, runway_testing::wire::get("/healthz")).await.status, 200);
            process.signal(Signal::KILL);
            process.wait_for_exit().await;
        }
    }
}

/// A foreign host name that resolves to this machine does not give a web page access to the server.
#[tokio::test]
async fn foreign_host_header_is_421() {
    let harness = Harness::new();
    let server = harness.serve(&[]).await;
    for (target, host, status) in [
        ("/v1/jobs", "Host: evil.example.com\r\n", 421),
        ("/v1/jobs", "Host: evil.example.com:8080\r\n", 421),
        ("/", "Host: evil.example.com\r\n", 421),
        ("http://evil.example.com/v1/jobs", "Host: localhost\r\n", 421),
        ("/v1/jobs", "Host: not a host\r\n", 421),
        ("/v1/jobs", "Host: localhost:8080\r\n", 200),
        ("/v1/jobs", "Host: 127.0.0.1\r\n", 200),
        ("/v1/jobs", "Host: [::1]:80\r\n", 200),
        ("/v1/jobs", "", 400),
        ("/v1/jobs", "Host: localhost\r\nHost: localhost\r\n", 400),
    ] {
        let answer = exchange(server.process.address, format!("GET {target} HTTP/1.1\r\n{host}\r\n")).await;
        assert_eq!(answer.status, status, "{target} {host}");
        if status == 421 {
            assert_eq!(answer.json()["type"], "urn:runway:problem:misdirected", "{answer:?}");
            assert_eq!(answer.header("x-request-id"), answer.json()["instance"].as_str(), "{answer:?}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
        }
    }
}
