//! Creates a client for a cluster, from a kubeconfig or from the service account of the pod.

use crate::api::error_status;
use http::Response;
use http::header::RETRY_AFTER;
use http_body_util::BodyExt;
use kube::client::{AuthError, ClientBuilder, DynBody, RustlsTlsError};
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::response::StatusDetails;
use kube::{Client, Config, Error};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tower::BoxError;
use tower::util::AndThenLayer;

/// Selects the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// The kubeconfig file. The default is the files in `KUBECONFIG`, then `~/.kube/config`, then the service
    /// account of the pod. The service account is not used if a context is given.
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig. The default is its current context.
    pub context: Option<String>,
}

/// The reason that no client can be created.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig file cannot be read, or its content is invalid.
    #[error("cannot use the kubeconfig `{}`", path.display())]
    Kubeconfig {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: KubeconfigError,
    },
    /// No kubeconfig file was given, and the default one cannot be used.
    #[error(
        "cannot use the kubeconfig of KUBECONFIG or `~/.kube/config`; `--kubeconfig` selects another one"
    )]
    DefaultKubeconfig(#[source] KubeconfigError),
    /// The kubeconfig does not contain the context.
    #[error("the kubeconfig has no context `{context}`; `kubectl config get-contexts` lists its contexts")]
    UnknownContext {
        /// The name of the context.
        context: String,
    },
    /// The kubeconfig has no current context, and no context was given.
    #[error("the kubeconfig has no current context; pass `--context`")]
    NoContext,
    /// There is no kubeconfig, and the process does not run in a pod.
    #[error("found neither a kubeconfig nor a service account; pass `--kubeconfig` or set KUBECONFIG")]
    NoCluster(#[source] KubeconfigError),
    /// The default kubeconfig cannot be used, and neither can the service account of the pod.
    #[error("cannot use the service account of this pod")]
    ServiceAccount(#[source] InClusterError),
    /// The user's credentials cannot be used, for example because the command that returns them is missing.
    #[error("cannot use the credentials of the kubeconfig's user")]
    Credentials(#[source] AuthError),
    /// The certificates of the cluster or of the user cannot be used.
    #[error("cannot use the certificates of the cluster or its user")]
    Certificates(#[source] RustlsTlsError),
    /// The client cannot be created for another reason, such as an unsupported proxy.
    #[error("cannot create a client for the cluster")]
    Client(#[source] Error),
}

impl ConnectError {
    /// Converts an error of the kubeconfig at `path`, or of the default kubeconfig.
    fn from_kubeconfig(path: Option<&Path>, error: KubeconfigError) -> Self {
        match (error, path) {
            (KubeconfigError::LoadContext(context), _) => Self::UnknownContext { context },
            (KubeconfigError::CurrentContextNotSet, _) => Self::NoContext,
            (source, Some(path)) => Self::Kubeconfig { path: path.to_owned(), source },
            (source, None) => Self::DefaultKubeconfig(source),
        }
    }
}

/// The time limit for opening a connection, and for each write to a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Creates a client. Does not connect yet.
///
/// # Errors
/// [`ConnectError`] if no configuration is found, or if it cannot be used.
pub async fn connect(connection: &Connection) -> Result<Client, ConnectError> {
    let options = KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
    let mut config = match &connection.kubeconfig {
        Some(path) => {
            let into_connect_error = |error| ConnectError::from_kubeconfig(Some(path), error);
            let kubeconfig = Kubeconfig::read_from(path).map_err(into_connect_error)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(into_connect_error)?
        }
        None => match Config::from_kubeconfig(&options).await {
            Ok(config) => config,
            Err(error) if connection.context.is_some() => {
                return Err(ConnectError::from_kubeconfig(None, error));
            }
            Err(error) => service_account(error)?,
        },
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(CONNECT_TIMEOUT);
    // By default, `kube` repeats every request with the status 429, 503 or 504 up to 15 times. The callers in
    // this crate decide which requests can be repeated, and when.
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).map_err(|error| match error {
        Error::Auth(error) => ConnectError::Credentials(error),
        Error::RustlsTls(error) => ConnectError::Certificates(error),
        error => ConnectError::Client(error),
    })?;
    Ok(builder.with_layer(&AndThenLayer::new(keep_retry_after)).build())
}

/// Converts a failed response with the header `Retry-After` to an error with this time. `kube` converts
/// other failed responses, without their headers.
async fn keep_retry_after(response: Response<Box<DynBody>>) -> Result<Response<Box<DynBody>>, BoxError> {
    let code = response.status();
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after_seconds: u32 = header.and_then(|text| text.parse().ok()).unwrap_or_default();
    let has_failed = code.is_client_error() || code.is_server_error();
    if !has_failed || retry_after_seconds == 0 {
        return Ok(response);
    }
    let body = response.into_body().collect().await?.to_bytes();
    let mut status = error_status(code.as_u16(), &body);
    let details = status.details.get_or_insert_with(|| StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds,
    });
    details.retry_after_seconds = retry_after_seconds;
    Err(Box::new(Error::Api(Box::new(status))))
}

/// Returns the configuration of the pod's service account, for the case that the default kubeconfig cannot be
/// used.
fn service_account(kubeconfig: KubeconfigError) -> Result<Config, ConnectError> {
    let is_missing = match &kubeconfig {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(error, _) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    };
    Config::incluster().map_err(|error| match error {
        InClusterError::ReadEnvironmentVariable(_) if is_missing => ConnectError::NoCluster(kubeconfig),
        InClusterError::ReadEnvironmentVariable(_) => ConnectError::from_kubeconfig(None, kubeconfig),
        error => ConnectError::ServiceAccount(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
current-context: one
contexts: [{name: one, context: {cluster: a, user: u}}, {name: two, context: {cluster: b, user: u, namespace: jobs}}]
clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}, {name: b, cluster: {server: 'http://127.0.0.1:2'}}]
users: [{name: u, user: {token: t}}]
";

    async fn connect_with(kubeconfig: &str, context: Option<&str>) -> Result<Client, ConnectError> {
        let random = runway_control::Env::random(&runway_control::SystemEnv);
        let path = std::env::temp_dir().join(format!("runway-kubeconfig-{random:x}"));
        std::fs::write(&path, kubeconfig).unwrap();
        let connection = Connection { kubeconfig: Some(path.clone()), context: context.map(str::to_owned) };
        let client = connect(&connection).await;
        std::fs::remove_file(path).unwrap();
        client
    }

    #[tokio::test]
    async fn connect_uses_the_current_or_the_given_context() {
        assert_eq!(connect_with(KUBECONFIG, None).await.unwrap().default_namespace(), "default");
        assert_eq!(connect_with(KUBECONFIG, Some("two")).await.unwrap().default_namespace(), "jobs");
    }

    #[tokio::test]
    async fn connect_error_names_the_unusable_part() {
        let missing = Connection { kubeconfig: Some("/no/such/file".into()), context: None };
        let message = connect(&missing).await.err().unwrap().to_string();
        assert_eq!(message, "cannot use the kubeconfig `/no/such/file`");
        let unknown = connect_with(KUBECONFIG, Some("three")).await.err().unwrap();
        assert!(
            matches!(&unknown, ConnectError::UnknownContext { context } if context == "three"),
            "{unknown:?}"
        );
        let malformed = connect_with("{", None).await.err().unwrap();
        assert!(matches!(malformed, ConnectError::Kubeconfig { .. }), "{malformed:?}");
        let empty = connect_with("", None).await.err().unwrap();
        assert!(matches!(empty, ConnectError::NoContext), "{empty:?}");
        let wrong = KUBECONFIG.replace("http://127.0.0.1:1", "not a url");
        let url = connect_with(&wrong, None).await.err().unwrap();
        assert!(matches!(url, ConnectError::Kubeconfig { .. }), "{url:?}");
        let wrong =
            KUBECONFIG.replace("token: t", "token: t, client-certificate-data: eA==, client-key-data: eA==");
        let certificates = connect_with(&wrong, None).await.err().unwrap();
        assert!(matches!(certificates, ConnectError::Certificates(_)), "{certificates:?}");
    }
}
