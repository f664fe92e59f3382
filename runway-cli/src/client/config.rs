//! The set-up of connections: time-outs and TLS.

use super::ANSWER;
use crate::arguments::{Server, ServerUrl};
use crate::output::printable;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig};

/// A connection comes about within this time.
const CONNECT: Duration = Duration::from_secs(10);

/// An error in the options that name a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientConfigError {
    /// Neither the command line nor the environment names a server.
    #[error("which server? give `--server URL`, or set RUNWAY_SERVER")]
    NoServer,
    /// A certificate is given for a connection without TLS.
    #[error("certificates are of use only over `https`, and the server is `{server}`")]
    CertificateWithoutTls {
        /// The server.
        server: ServerUrl,
    },
    /// A file of certificates or of a key cannot be read.
    #[error("cannot use `{}`: {error}", printable(&path.display().to_string()))]
    UnreadablePem {
        /// The file.
        path: PathBuf,
        error: std::io::Error,
    },
    /// A file of certificates or of a key is not PEM.
    #[error("cannot use `{}`: {}", printable(&path.display().to_string()), printable(&error.to_string()))]
    InvalidPem {
        /// The file.
        path: PathBuf,
        error: ureq::Error,
    },
    /// A file that should have certificates has none.
    #[error("cannot use `{}`: there is no certificate in it", printable(&path.display().to_string()))]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
}

/// Creates the agent for a server.
pub(super) fn agent(options: &Server, server: &ServerUrl) -> Result<Agent, ClientConfigError> {
    if !server.is_secure() && (options.cert.is_some() || options.ca.is_some()) {
        return Err(ClientConfigError::CertificateWithoutTls { server: server.clone() });
    }
    let config = Agent::config_builder()
        // Every answer is read, whatever its status; and none sends us, with what we carry, somewhere else.
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("runway/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(ANSWER));
    let config = if server.is_secure() { config.tls_config(tls(options)?) } else { config };
    Ok(config.build().new_agent())
}

/// TLS by the options, with the one implementation of it that is compiled in.
fn tls(options: &Server) -> Result<TlsConfig, ClientConfigError> {
    let roots = match &options.ca {
        Some(path) => certificates(path)?,
        None => {
            let found = rustls_native_certs::load_native_certs().certs;
            found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
        }
    };
    let client = match (&options.cert, &options.key_file) {
        (Some(certificate), Some(key)) => {
            Some(ClientCert::new_with_certs(&certificates(certificate)?, private_key(key)?))
        }
        _ => None,
    };
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .client_cert(client)
        .build())
}

fn read(path: &Path) -> Result<Vec<u8>, ClientConfigError> {
    std::fs::read(path).map_err(|error| ClientConfigError::UnreadablePem { path: path.to_owned(), error })
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, ClientConfigError> {
    let mut found = Vec::new();
    for item in ureq::tls::parse_pem(&read(path)?) {
        let item = item.map_err(|error| ClientConfigError::InvalidPem { path: path.to_owned(), error })?;
        if let PemItem::Certificate(certificate) = item {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(ClientConfigError::NoCertificate { path: path.to_owned() }) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKey<'static>, ClientConfigError> {
    PrivateKey::from_pem(&read(path)?)
        .map_err(|error| ClientConfigError::InvalidPem { path: path.to_owned(), error })
}
