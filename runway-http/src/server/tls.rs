//! TLS 1.3, and the role of a client from its certificate.

use super::session::ClientSession;
use crate::request::access::{Access, Role, RoleError};
use runway_core::units::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The files for TLS, in PEM format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the server and its intermediate certificates.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// The certificate authorities for client certificates. If set, clients must present a certificate.
    pub client_ca: Option<PathBuf>,
}

/// An error in the TLS files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or contains invalid PEM.
    #[error("cannot use `{}`: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rustls::pki_types::pem::Error,
    },
    /// A file contains no certificate.
    #[error("cannot use `{}`: it contains no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The certificate authorities for clients are invalid.
    #[error("cannot use the certificate authorities in `{}`: {source}", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file contains no certificate revocation list.
    #[error("cannot use `{}`: it contains no certificate revocation list", path.display())]
    NoRevocationList {
        /// The file.
        path: PathBuf,
    },
    /// A certificate revocation list is invalid.
    #[error("cannot use the certificate revocation lists in `{}`: {source}", path.display())]
    RevocationList {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: VerifierBuilderError,
    },
    /// The certificate and the private key are not a valid pair.
    #[error("cannot use the certificate `{}` with its private key: {source}", path.display())]
    InvalidConfig {
        /// The file with the certificate.
        path: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
}

/// The active TLS configuration. Clones share it.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    client_crl: Option<PathBuf>,
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Loads the files.
    ///
    /// # Errors
    /// [`TlsError`] if a file cannot be read or the files are not a valid configuration.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        Self::load_with_crl(files, None)
    }

    /// Loads the files. Client certificates on the certificate revocation lists in `client_crl` are rejected.
    /// The file is in PEM format, and contains a list of each authority that issues client certificates.
    ///
    /// # Errors
    /// [`TlsError`] if a file cannot be read or the files are not a valid configuration.
    pub fn load_with_crl(files: TlsFiles, client_crl: Option<PathBuf>) -> Result<Self, TlsError> {
        let config = load_config(&files, client_crl.as_deref())?;
        Ok(Self { files, client_crl, config: Arc::new(RwLock::new(config)) })
    }

    /// Reloads the files. Open connections keep their configuration.
    ///
    /// # Errors
    /// [`TlsError`] if a file cannot be read or the files are not a valid configuration. The active
    /// configuration stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = load_config(&self.files, self.client_crl.as_deref())?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Returns whether clients must present a certificate.
    #[must_use]
    pub fn is_mutual(&self) -> bool {
        self.files.client_ca.is_some()
    }

    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<ClientSession>)> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let session = self.is_mutual().then(|| {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            // A handshake without a client certificate fails, so the chain is never empty here.
            let without_certificate = ClientSession::new(Access::NoRole(RoleError::Missing), None);
            chain.first().map_or(without_certificate, |certificate| session_from_certificate(certificate))
        });
        Ok((stream, session))
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Pem { path: path.to_owned(), source };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if found.is_empty() { Err(TlsError::NoCertificate { path: path.to_owned() }) } else { Ok(found) }
}

fn read_revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Pem { path: path.to_owned(), source };
    let found: Vec<_> = CertificateRevocationListDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if found.is_empty() { Err(TlsError::NoRevocationList { path: path.to_owned() }) } else { Ok(found) }
}

fn load_config(files: &TlsFiles, client_crl: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = read_certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|source| TlsError::Pem { path: files.key.clone(), source })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let invalid = |source| TlsError::InvalidConfig { path: files.certificate.clone(), source };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(invalid)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let invalid_ca = |source| TlsError::ClientCa { path: path.clone(), source };
            let mut roots = RootCertStore::empty();
            for certificate in read_certificates(path)? {
                roots.add(certificate).map_err(|error| invalid_ca(error.into()))?;
            }
            let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            if let Some(path) = client_crl {
                verifier = verifier.with_crls(read_revocation_lists(path)?);
            }
            let verifier = verifier.build().map_err(|error| match (error, client_crl) {
                (source @ VerifierBuilderError::InvalidCrl(_), Some(path)) => {
                    TlsError::RevocationList { path: path.to_owned(), source }
                }
                (error, _) => invalid_ca(error.into()),
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(invalid)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if files.client_ca.is_some() {
        // A resumed session does not verify the client certificate again, so the server offers none.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// Returns the session of a client with this certificate.
fn session_from_certificate(certificate: &[u8]) -> ClientSession {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return ClientSession::new(Access::NoRole(RoleError::Unreadable), None);
    };
    // A time before 1970 has passed, too.
    let expires_at = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default();
    ClientSession::new(access_from_certificate(&certificate), Some(Timestamp::from_seconds(expires_at)))
}

/// Returns the access that the organizational unit of a certificate grants.
fn access_from_certificate(certificate: &X509Certificate<'_>) -> Access {
    let mut units = certificate.subject().iter_organizational_unit();
    match (units.next(), units.next()) {
        (None, _) => Access::NoRole(RoleError::Missing),
        (Some(_), Some(_)) => Access::NoRole(RoleError::Several),
        (Some(unit), None) => {
            let role = unit.as_str().ok().and_then(Role::from_organizational_unit);
            role.map_or(Access::NoRole(RoleError::Unknown), Access::Role)
        }
    }
}
