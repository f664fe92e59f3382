//! Configures connections: timeouts and TLS.

use super::RESPONSE_TIMEOUT;
use crate::arguments::{ServerArgs, ServerUrl};
use crate::output::escape_control;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig};

/// Time limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An error in the options for the server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientConfigError {
    /// Neither the command line nor the environment names a server.
    #[error("no server is given; use `--server URL`, or set RUNWAY_SERVER")]
    NoServer,
    /// `--cert` or `--ca` is used with an `http` URL.
    #[error("certificates require an `https` URL, but the server is `{server}`")]
    CertificateWithoutTls {
        /// The URL of the server.
        server: ServerUrl,
    },
    /// The certificate or key file cannot be read.
    #[error("cannot use `{}`: {error}", escape_control(&path.display().to_string()))]
    UnreadablePem {
        /// The path of the file.
        path: PathBuf,
        error: std::io::Error,
    },
    /// The certificate or key file is not valid PEM.
    #[error("cannot use `{}`: {}", escape_control(&path.display().to_string()), escape_control(&error.to_string()))]
    InvalidPem {
        /// The path of the file.
        path: PathBuf,
        error: ureq::Error,
    },
    /// The certificate file contains no certificate.
    #[error("cannot use `{}`: it contains no certificate", escape_control(&path.display().to_string()))]
    NoCertificate {
        /// The path of the file.
        path: PathBuf,
    },
}

/// Creates the HTTP agent for a server.
pub(super) fn create_agent(options: &ServerArgs, server: &ServerUrl) -> Result<Agent, ClientConfigError> {
    if !server.is_https() && (options.cert.is_some() || options.ca.is_some()) {
        return Err(ClientConfigError::CertificateWithoutTls { server: server.clone() });
    }
    let config = Agent::config_builder()
        // The client decodes error responses itself. It does not follow redirects, because a request can
        // contain secrets that must not reach another server.
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("runway/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(RESPONSE_TIMEOUT));
    let config = if server.is_https() { config.tls_config(tls_config(options)?) } else { config };
    Ok(config.build().new_agent())
}

/// Builds the TLS configuration from the options. `ring` is the only cryptography provider in this program.
fn tls_config(options: &ServerArgs) -> Result<TlsConfig, ClientConfigError> {
    let roots = match &options.ca {
        Some(path) => certificates(path)?,
        None => {
            let loaded = rustls_native_certs::load_native_certs().certs;
            loaded.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
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
