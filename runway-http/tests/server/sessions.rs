//! The end of sessions with client certificates: expiry, revocation, and maximum age.

use crate::harness::{SHORT_TIMEOUT, TestServer};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, SerialNumber, date_time_ymd};
use runway_http::server::{ConnectionLimits, Tls, TlsError, TlsFiles};
use runway_testing::paths::TempDir;
use runway_testing::tls::{Authority, Certificate, TlsClient, write_tls_files};
use runway_testing::wire::{get, job, post};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The authorities and files of a server that requires client certificates.
struct Setup {
    dir: TempDir,
    servers: Authority,
    clients: Authority,
    files: TlsFiles,
}

impl Setup {
    fn new(name: &str) -> Self {
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let dir = TempDir::new(name);
        let files = write_tls_files(&dir, &servers.server(), Some(&clients));
        Self { dir, servers, clients, files }
    }

    fn admin(&self, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        self.clients.sign(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.distinguished_name.push(DnType::OrganizationalUnitName, "admin");
            change(params);
        })
    }

    fn client(&self, certificate: &Certificate) -> TlsClient {
        TlsClient::new(&self.servers, Some(certificate))
    }

    fn write_crl(&self, content: &str) -> PathBuf {
        self.dir.write("clients.crl", content)
    }
}

async fn serve(tls: Tls, change: impl FnOnce(&mut ConnectionLimits)) -> TestServer {
    TestServer::with(|setup| {
        setup.tls = Some(tls);
        change(&mut setup.connections);
    })
    .await
}

#[tokio::test]
async fn connection_ends_when_its_certificate_expires() {
    let setup = Setup::new("expiry");
    let server = serve(Tls::load(setup.files.clone()).unwrap(), |_| ()).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let certificate = setup.admin(|params| {
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(now + 3);
    });
    let (client, began) = (setup.client(&certificate), Instant::now());
    let mut open = client.connect(server.address).await.unwrap();
    assert_eq!(open.exchange(get("/healthz")).await.status, 200);
    assert!(open.closed_without_data().await);
    // The limit on idle connections is 15 s.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let late = client.status(server.address, &get("/healthz")).await;
    assert!(late.is_err(), "{late:?}");
}

#[tokio::test]
async fn sessions_with_client_certificates_are_not_resumed() {
    let setup = Setup::new("resumption");
    let certificate = setup.admin(|_| ());
    let server = serve(Tls::load(setup.files.clone()).unwrap(), |_| ()).await;
    let client = setup.client(&certificate);
    assert_eq!(client.status(server.address, &get("/healthz")).await.unwrap(), 200);
    assert!(!client.resumes(server.address).await);
    // Without client certificates, there is nothing to verify again.
    let public = Tls::load(TlsFiles { client_ca: None, ..setup.files.clone() }).unwrap();
    let server = serve(public, |_| ()).await;
    let client = TlsClient::new(&setup.servers, None);
    assert_eq!(client.status(server.address, &get("/healthz")).await.unwrap(), 200);
    assert!(client.resumes(server.address).await);
}

#[tokio::test]
async fn session_ends_at_its_maximum_age() {
    let setup = Setup::new("age");
    let certificate = setup.admin(|_| ());
    let server = serve(Tls::load(setup.files.clone()).unwrap(), |limits| {
        limits.max_session_age = 3 * SHORT_TIMEOUT;
        limits.drain_timeout = SHORT_TIMEOUT;
    })
    .await;
    let client = setup.client(&certificate);
    let mut idle = client.connect(server.address).await.unwrap();
    let created = idle.exchange(post("/v1/jobs", "", &job("silent", "search"))).await.json();
    let mut reader = client.connect(server.address).await.unwrap();
    let logs = format!("/v1/jobs/{}/logs?follow=true", created["id"].as_str().unwrap());
    reader.send(get(&logs)).await.unwrap();
    assert_eq!(reader.head().await.unwrap().status, 200);
    assert_eq!(reader.chunk().await.unwrap().unwrap(), b"one line\n");
    assert!(idle.closed_without_data().await);
    // The client of the log learns that the output is incomplete.
    assert!(reader.chunk().await.is_err());
}

#[tokio::test]
async fn revoked_certificate_is_rejected() {
    let setup = Setup::new("revoked");
    let [first, second] = [1_u64, 2]
        .map(|serial| setup.admin(|params| params.serial_number = Some(SerialNumber::from(serial))));
    let crl = setup.write_crl(&setup.clients.revocation_list(&[1]));
    let tls = Tls::load_with_crl(setup.files.clone(), Some(crl)).unwrap();
    let server = serve(tls.clone(), |_| ()).await;
    let status = async |certificate: &Certificate| {
        setup.client(certificate).status(server.address, &get("/healthz")).await
    };
    assert!(status(&first).await.is_err());
    assert_eq!(status(&second).await.unwrap(), 200);
    setup.write_crl(&setup.clients.revocation_list(&[1, 2]));
    tls.reload().unwrap();
    assert!(status(&second).await.is_err());
    // There is no list of the authority of these certificates.
    setup.write_crl(&Authority::new("others").revocation_list(&[]));
    tls.reload().unwrap();
    assert!(status(&second).await.is_err());
    // Invalid files do not replace the active lists.
    setup.write_crl(&setup.clients.revocation_list(&[]));
    tls.reload().unwrap();
    assert_eq!(status(&second).await.unwrap(), 200);
    setup.write_crl("no list");
    assert!(matches!(tls.reload(), Err(TlsError::NoRevocationList { .. })));
    setup.write_crl("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    assert!(matches!(tls.reload(), Err(TlsError::RevocationList { .. })));
    assert_eq!(status(&second).await.unwrap(), 200);
}
