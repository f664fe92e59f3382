//! Mutual TLS: the certificates that are accepted, and the requests that each role permits.

use crate::harness::TestServer;
use rcgen::{DnType, ExtendedKeyUsagePurpose, date_time_ymd};
use runway_http::server::Tls;
use runway_testing::paths::TempDir;
use runway_testing::tls::{Authority, Certificate, TlsClient, write_tls_files};
use runway_testing::wire::{RawConnection, get, job, post, request};

/// A server that requires client certificates, its own authority, and the authority of its clients.
struct MutualTlsServer {
    server: TestServer,
    servers: Authority,
    clients: Authority,
}

impl MutualTlsServer {
    async fn start(name: &str) -> Self {
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let dir = TempDir::new(name);
        let tls = Tls::load(write_tls_files(&dir, &servers.server(), Some(&clients))).unwrap();
        let server = TestServer::with(|setup| setup.tls = Some(tls)).await;
        Self { server, servers, clients }
    }

    async fn status(&self, certificate: &Certificate, request: &str) -> std::io::Result<u16> {
        TlsClient::new(&self.servers, Some(certificate)).status(self.server.address, request).await
    }
}

#[tokio::test]
async fn roles_permit_only_their_routes() {
    let mtls = MutualTlsServer::start("routes").await;
    let [admin, viewer] = ["admin", "viewer"].map(|unit| mtls.clients.client(&[unit]));
    let body = job("roles", "search");
    let nowhere = "/v1/jobs/aaaaaaaaaaaa";
    let logs = format!("{nowhere}/logs");
    // Each row: the request, the expected status for an admin, and the expected status for a viewer.
    let matrix = [
        (post("/v1/jobs", "", &body), 201, 403),
        (post("/v1/quotes", "", &body), 200, 200),
        (post("/v1/quotes?manifest=true", "", &body), 200, 200),
        (get("/v1/jobs"), 200, 200),
        (request("HEAD", "/v1/jobs", "", ""), 200, 200),
        (get(nowhere), 404, 404),
        (request("DELETE", nowhere, "", ""), 404, 403),
        (get(&logs), 404, 403),
        (get(&format!("{logs}?follow=true")), 404, 403),
        (request("HEAD", &logs, "", ""), 404, 403),
        (get(&logs.replace("logs", "%6Cogs")), 404, 404),
        (get("/v1/tenants/search"), 200, 200),
        (get("/v1/policy"), 200, 200),
        (request("PUT", "/v1/policy", "", "{}"), 405, 403),
        (request("PATCH", nowhere, "", "{}"), 405, 403),
        (request("OPTIONS", "/v1/jobs", "", ""), 405, 403),
        (request("BREW", "/v1/quotes", "", ""), 405, 403),
        (get("/openapi.json"), 200, 200),
        (get("/docs"), 200, 200),
        (get("/healthz"), 200, 200),
        (get("/readyz"), 200, 200),
        (get("/metrics"), 200, 200),
        (request("DELETE", "/metrics", "", ""), 405, 403),
        (get("/v1/nothing"), 404, 404),
        (request("DELETE", "/v1/nothing", "", ""), 404, 404),
    ];
    for (request, as_admin, as_viewer) in matrix {
        let line = request.lines().next().unwrap();
        assert_eq!(mtls.status(&admin, &request).await.unwrap(), as_admin, "admin: {line}");
        assert_eq!(mtls.status(&viewer, &request).await.unwrap(), as_viewer, "viewer: {line}");
    }
    assert_eq!(mtls.server.cluster.created_jobs().len(), 1);
}

/// A client whose certificate does not name exactly one role can connect, but each request receives 403.
#[tokio::test]
async fn certificate_without_exactly_one_role_is_403() {
    let mtls = MutualTlsServer::start("no-role").await;
    let cases: [&[&str]; 12] = [
        &[],
        &[""],
        &["Admin"],
        &["ADMIN"],
        &["admin "],
        &[" admin"],
        &["admins"],
        &["admin,viewer"],
        &["root"],
        &["admin", "viewer"],
        &["admin", "admin"],
        &["аdmin"],
    ];
    for units in cases {
        let certificate = mtls.clients.client(units);
        for request in
            [get("/v1/jobs"), get("/healthz"), get("/metrics"), get("/nothing"), post("/v1/jobs", "", "{}")]
        {
            let status = mtls.status(&certificate, &request).await.unwrap();
            assert_eq!(status, 403, "{units:?} {request}");
        }
        let mut wire =
            TlsClient::new(&mtls.servers, Some(&certificate)).connect(mtls.server.address).await.unwrap();
        let answer = wire.exchange(get("/v1/policy")).await;
        assert_eq!(answer.problem(), "forbidden");
        assert!(answer.json()["detail"].as_str().unwrap().contains("exactly one, `admin` or `viewer`"));
    }
    // The role comes from the organizational unit, not from the common name or the organization.
    let elsewhere = mtls.clients.sign(|params| {
        params.distinguished_name.push(DnType::CommonName, "admin");
        params.distinguished_name.push(DnType::OrganizationName, "admin");
    });
    assert_eq!(mtls.status(&elsewhere, &get("/v1/jobs")).await.unwrap(), 403);
}

#[tokio::test]
async fn invalid_client_certificate_cannot_connect() {
    let mtls = MutualTlsServer::start("not-good").await;
    let address = mtls.server.address;
    let unit = |params: &mut rcgen::CertificateParams| {
        params.distinguished_name.push(DnType::OrganizationalUnitName, "admin");
    };
    let bad = [
        ("another authority", Authority::new("clients").client(&["admin"])),
        ("the server's authority", mtls.servers.client(&["admin"])),
        (
            "expired",
            mtls.clients.sign(|params| {
                unit(params);
                params.not_after = date_time_ymd(2020, 1, 1);
            }),
        ),
        (
            "not valid yet",
            mtls.clients.sign(|params| {
                unit(params);
                params.not_before = date_time_ymd(2090, 1, 1);
            }),
        ),
        (
            "a server certificate",
            mtls.clients.sign(|params| {
                unit(params);
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
    ];
    for (what, certificate) in &bad {
        let status = mtls.status(certificate, &get("/healthz")).await;
        assert!(status.is_err(), "{what}: {status:?}");
    }
    let bare = TlsClient::new(&mtls.servers, None).status(address, &get("/healthz")).await;
    assert!(bare.is_err(), "{bare:?}");
    let admin = mtls.clients.client(&["admin"]);
    let old = TlsClient::with_versions(&mtls.servers, Some(&admin), &[&rustls::version::TLS12]);
    let error = old.connect(address).await.err().unwrap();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    // An HTTP request without TLS receives no HTTP response.
    let mut plain = RawConnection::connect(address).await.unwrap();
    plain.send(get("/healthz")).await.unwrap();
    assert!(plain.response().await.is_none());
    // The server still accepts valid certificates.
    assert_eq!(mtls.status(&admin, &get("/healthz")).await.unwrap(), 200);
}

#[tokio::test]
async fn tls_without_client_ca_needs_no_certificate() {
    let servers = Authority::new("servers");
    let dir = TempDir::new("no-clients");
    let tls = Tls::load(write_tls_files(&dir, &servers.server(), None)).unwrap();
    let server = TestServer::with(|setup| setup.tls = Some(tls)).await;
    let client = TlsClient::new(&servers, None);
    assert_eq!(
        client.status(server.address, &post("/v1/jobs", "", &job("tls", "search"))).await.unwrap(),
        201
    );
    let old =
        TlsClient::with_versions(&servers, None, &[&rustls::version::TLS12]).connect(server.address).await;
    assert!(old.is_err());
    let other = TlsClient::new(&Authority::new("servers"), None).connect(server.address).await;
    assert!(other.is_err());
}

/// The server closes a connection whose TLS handshake does not finish in time.
#[tokio::test]
async fn slow_tls_handshake_is_closed() {
    let (servers, dir) = (Authority::new("servers"), TempDir::new("handshake"));
    let tls = Tls::load(write_tls_files(&dir, &servers.server(), None)).unwrap();
    let server = TestServer::with(|setup| {
        setup.tls = Some(tls);
        setup.connections.header_timeout = crate::harness::SHORT_TIMEOUT;
    })
    .await;
    let mut wire = RawConnection::connect(server.address).await.unwrap();
    wire.send([0x16, 3, 1]).await.unwrap();
    assert!(wire.closed_without_data().await);
}
