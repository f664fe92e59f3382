//! A client of the cluster: from a kubeconfig file, or from the pod that this runs in.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::PathBuf;
use std::time::Duration;

/// Which cluster to talk to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// The kubeconfig file. Without one: the files of `KUBECONFIG`, `~/.kube/config`, or the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; without one, its current context.
    pub context: Option<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig file cannot be used.
    #[error("cannot use the kubeconfig `{}`", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
    },
    /// The context cannot be used.
    #[error("cannot use the context `{context}` of the kubeconfig")]
    Context {
        /// The context.
        context: String,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
    },
    /// Nothing says where the cluster is.
    #[error("there is neither a kubeconfig nor a service account: give `--kubeconfig`, or set KUBECONFIG")]
    NoCluster(#[source] Box<kube::config::InferConfigError>),
    /// The client cannot be made: most likely its certificates or its credentials are wrong.
    #[error("cannot make a client of the cluster")]
    Client(#[source] kube::Error),
}

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a client. Nothing is sent yet.
///
/// # Errors
/// [`ConnectError`] where nothing says where the cluster is, or what says so cannot be used.
pub async fn connect(connection: &Connection) -> Result<Client, ConnectError> {
    let options = KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
    let mut config = match (&connection.kubeconfig, &connection.context) {
        (Some(path), _) => {
            let wrong = |source| ConnectError::Kubeconfig { path: path.clone(), source };
            let kubeconfig = Kubeconfig::read_from(path).map_err(wrong)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(wrong)?
        }
        (None, Some(context)) => Config::from_kubeconfig(&options)
            .await
            .map_err(|source| ConnectError::Context { context: context.clone(), source })?,
        (None, None) => Config::infer().await.map_err(|source| ConnectError::NoCluster(Box::new(source)))?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).map_err(ConnectError::Client)
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

    async fn with(kubeconfig: &str, context: Option<&str>) -> Result<Client, ConnectError> {
        let random = runway_control::Surroundings::random(&runway_control::System);
        let path = std::env::temp_dir().join(format!("runway-kubeconfig-{random:x}"));
        std::fs::write(&path, kubeconfig).unwrap();
        let connection = Connection { kubeconfig: Some(path.clone()), context: context.map(str::to_owned) };
        let client = connect(&connection).await;
        std::fs::remove_file(path).unwrap();
        client
    }

    #[tokio::test]
    async fn a_kubeconfig_is_used_with_its_context_or_another() {
        assert_eq!(with(KUBECONFIG, None).await.unwrap().default_namespace(), "default");
        assert_eq!(with(KUBECONFIG, Some("two")).await.unwrap().default_namespace(), "jobs");
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_named() {
        let nowhere = Connection { kubeconfig: Some("/no/such/file".into()), context: None };
        let told = connect(&nowhere).await.err().unwrap().to_string();
        assert_eq!(told, "cannot use the kubeconfig `/no/such/file`");
        for (kubeconfig, context) in [(KUBECONFIG, Some("three")), ("{", None), ("", None)] {
            let told = with(kubeconfig, context).await;
            assert!(matches!(told, Err(ConnectError::Kubeconfig { .. })), "{kubeconfig}");
        }
    }
}
