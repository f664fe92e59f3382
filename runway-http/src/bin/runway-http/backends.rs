//! Opens the backend of the server.

use crate::error::ServeError;
use runway_control::SystemEnv;
use runway_control::backend::Backend;
use runway_core::Policy;
use runway_core::capability::BackendKind;
use runway_http::flags::Flags;
use runway_k8s::{Connection, KubernetesBackend, KubernetesSettings, connect};
#[cfg(target_os = "linux")]
use runway_local::{LocalBackend, LocalSettings, detect_gpus};
use std::sync::Arc;

/// Opens the backend that the flags select.
pub(crate) async fn open(flags: &Flags, policy: &Arc<Policy>) -> Result<Arc<dyn Backend>, ServeError> {
    match flags.backend {
        BackendKind::Kubernetes => open_kubernetes(flags, policy).await,
        #[cfg(target_os = "linux")]
        BackendKind::Local => open_local(flags).await,
        #[cfg(not(target_os = "linux"))]
        BackendKind::Local => Err(ServeError::UnsupportedBackend),
    }
}

async fn open_kubernetes(flags: &Flags, policy: &Arc<Policy>) -> Result<Arc<dyn Backend>, ServeError> {
    let connection = Connection { kubeconfig: flags.kubeconfig.clone(), context: flags.context.clone() };
    let client = connect(&connection).await?;
    let max_concurrent_creates = flags.limits.max_concurrent_creates.get();
    let settings = KubernetesSettings { max_concurrent_creates, ..KubernetesSettings::new(policy) };
    let backend = KubernetesBackend::new(client, policy, settings, Arc::new(SystemEnv));
    match backend.missing_permissions().await {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => return Err(ServeError::MissingPermissions(missing)),
        // The cluster may become reachable later. Until then, the server is not ready.
        Err(error) => {
            tracing::warn!(%error, "failed to check the permissions on the cluster; starting without the check");
        }
    }
    Ok(Arc::new(backend))
}

/// Opens the backend for jobs on this machine. Jobs of an earlier server keep running, and this server
/// manages them.
#[cfg(target_os = "linux")]
async fn open_local(flags: &Flags) -> Result<Arc<dyn Backend>, ServeError> {
    let flags = &flags.local;
    let settings = LocalSettings {
        best_effort: flags.best_effort,
        cgroup_parent: flags.cgroup_parent.clone(),
        gpus: flags.gpu_devices.clone().unwrap_or_else(detect_gpus),
        ..LocalSettings::with_state_dir(flags.state_dir.clone())?
    };
    let opened = tokio::task::spawn_blocking(|| {
        let backend = LocalBackend::open(settings)?;
        let limits = backend.machine().try_limits();
        Ok::<_, runway_local::OpenError>((backend, limits))
    });
    let (backend, limits) = opened.await??;
    let settings = backend.machine().settings();
    match limits {
        Ok(()) => {}
        Err(error) if settings.best_effort => {
            tracing::warn!("{error}; jobs run without these limits, because `--best-effort` is set");
        }
        Err(error) => return Err(ServeError::NotEnforced(error)),
    }
    tracing::info!(state_dir = %settings.state_dir.display(), gpus = settings.gpus.len(), "jobs run on the files of this machine; images are not used");
    Ok(Arc::new(backend))
}
