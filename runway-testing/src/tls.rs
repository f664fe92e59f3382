//! Test certificates for servers and clients, and TLS clients.

use crate::paths::TempDir;
use crate::wire::RawConnection;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use runway_http::server::TlsFiles;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate for `localhost` and `127.0.0.1`, and its private key.
pub struct Certificate {
    der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pem: String,
    key_pem: String,
}

impl Certificate {
    /// Writes the files `NAME.pem` and `NAME.key`, and returns their paths.
    pub fn write(&self, dir: &TempDir, name: &str) -> (PathBuf, PathBuf) {
        (dir.write(&format!("{name}.pem"), &self.pem), dir.write(&format!("{name}.key"), &self.key_pem))
    }
}

impl Authority {
    /// Creates an authority with this common name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Signs a certificate after `change` has edited its parameters.
    pub fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "somebody");
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.0).unwrap();
        Certificate {
            der: signed.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            pem: signed.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// Signs a server certificate.
    #[must_use]
    pub fn server(&self) -> Certificate {
        self.sign(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// Signs a client certificate with up to two organizational units. `rcgen` writes only one name per type,
    /// so the second unit uses the numeric object id.
    #[must_use]
    pub fn client(&self, units: &[&str]) -> Certificate {
        self.sign(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            let kinds = [DnType::OrganizationalUnitName, DnType::CustomDnType(vec![2, 5, 4, 11])];
            for (kind, unit) in kinds.into_iter().zip(units) {
                params.distinguished_name.push(kind, *unit);
            }
        })
    }

    /// Returns a certificate revocation list with these serial numbers, in PEM.
    pub fn revocation_list(&self, revoked: &[u64]) -> String {
        let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2026, 1, 2),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// Returns a store with only this authority.
    #[must_use]
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// Returns the certificate of the authority as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }
}

/// Writes the files for [`Tls`](runway_http::server::Tls): `server.pem`, `server.key` and `clients.pem`.
pub fn write_tls_files(dir: &TempDir, server: &Certificate, clients: Option<&Authority>) -> TlsFiles {
    let client_ca = clients.map(|authority| dir.write("clients.pem", authority.pem()));
    let (certificate, key) = server.write(dir, "server");
    TlsFiles { certificate, key, client_ca }
}

/// A TLS client that trusts one authority and can present a certificate.
pub struct TlsClient {
    connector: TlsConnector,
}

impl TlsClient {
    /// Creates a client that uses TLS 1.3.
    #[must_use]
    pub fn new(server: &Authority, certificate: Option<&Certificate>) -> Self {
        Self::with_versions(server, certificate, &[&rustls::version::TLS13])
    }

    /// Creates a client that uses one of these versions of TLS.
    #[must_use]
    pub fn with_versions(
        server: &Authority,
        certificate: Option<&Certificate>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(server.roots());
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some(Certificate { der, key, .. }) => {
                builder.with_client_auth_cert(vec![der.clone()], key.clone_key()).unwrap()
            }
        };
        Self { connector: TlsConnector::from(Arc::new(config)) }
    }

    /// Connects. With TLS 1.3, the client learns only at its first read that the server rejects its
    /// certificate.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<RawConnection<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        Ok(RawConnection::new(self.connector.connect(name, stream).await?))
    }

    /// Connects and returns whether the server resumed an earlier session.
    pub async fn resumes(&self, address: SocketAddr) -> bool {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = self.connector.connect(name, stream).await.unwrap();
        stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Sends a request and returns the status of the response.
    pub async fn status(&self, address: SocketAddr, request: &str) -> io::Result<u16> {
        let mut wire = self.connect(address).await?;
        wire.send(request).await?;
        Ok(wire.head().await?.status)
    }
}
