//! The policy file. The server loads it at startup, and again when it changes or after SIGHUP.

use crate::metrics::Metrics;
use runway_control::ControlPlane;
use runway_core::gate::NamespaceChanged;
use runway_core::policy::{PolicyError, PriceOverrides, PriceVariableError};
use runway_core::violation::Violation;
use runway_core::{Policy, digest::Digest};
use serde_json::Value as Json;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::Signal;

/// Interval at which the file is polled. Each poll reads the whole file, because the kubelet updates a
/// mounted ConfigMap by replacing a symbolic link.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Maximum size of a policy file in bytes.
const MAX_POLICY_BYTES: usize = 64 * 1024 * 1024;

/// The policy file, with prices that override those in the file.
#[derive(Debug, Clone)]
pub struct PolicySource {
    path: PathBuf,
    overrides: PriceOverrides,
    /// The content of the file at the last successful read. Empty before the first read.
    last_read: Vec<u8>,
}

/// An error that prevents a policy from becoming active.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the policy `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The file exceeds the maximum size.
    #[error("cannot read the policy `{}`: it exceeds {} MiB", path.display(), MAX_POLICY_BYTES / 1024 / 1024)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file does not contain a valid policy.
    #[error("the policy `{}` is invalid:{}", path.display(), ViolationSummary(&error.violations))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The violations in the file.
        error: PolicyError,
    },
    /// The policy changes the namespace of the jobs, which requires a restart.
    #[error(transparent)]
    Namespace(#[from] NamespaceChanged),
}

/// Formats up to 10 violations in one line. `runway policy check` shows all, with their positions in the
/// file.
struct ViolationSummary<'a>(&'a [Violation]);

impl fmt::Display for ViolationSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Violation { path, message, code, .. } in self.0.iter().take(10) {
            // A violation of the whole file has an empty path.
            let colon = if path.is_empty() { "" } else { ": " };
            write!(f, " {path}{colon}{message} ({code});")?;
        }
        if self.0.len() > 10 {
            write!(f, " and {} more;", self.0.len() - 10)?;
        }
        f.write_str(" run `runway policy check` for details")
    }
}

impl PolicySource {
    /// Creates a source from a file. Price variables in the environment override the prices in the file.
    ///
    /// # Errors
    /// [`PriceVariableError`] if a price variable does not contain a valid price.
    pub fn new(path: PathBuf) -> Result<Self, PriceVariableError> {
        let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        Ok(Self { path, overrides: PriceOverrides::from_variables(variable)?, last_read: Vec::new() })
    }

    /// Loads the policy.
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be read, is too large, or does not contain a valid policy.
    pub async fn load(&mut self) -> Result<Arc<Policy>, LoadError> {
        self.last_read = self.read().await?;
        self.parse(&self.last_read)
    }

    async fn read(&self) -> Result<Vec<u8>, LoadError> {
        let path = &self.path;
        let read = tokio::fs::read(path).await;
        let bytes = read.map_err(|source| LoadError::Read { path: path.clone(), source })?;
        if bytes.len() > MAX_POLICY_BYTES {
            Err(LoadError::TooLarge { path: path.clone() })
        } else {
            Ok(bytes)
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Arc<Policy>, LoadError> {
        let parsed = Policy::parse(bytes, self.overrides);
        parsed.map(Arc::new).map_err(|error| LoadError::Invalid { path: self.path.clone(), error })
    }
}

/// Keeps the active policy equal to its file. `source` must have loaded the active policy. A change of the
/// file and each signal in `hangups` cause a reload. If a reload fails, the active policy stays. Never
/// returns.
pub async fn watch_policy(
    mut source: PolicySource,
    plane: ControlPlane,
    metrics: Arc<Metrics>,
    mut hangups: Signal,
) {
    let mut last_error: Option<String> = None;
    // Whether the content at the last successful read is the active policy.
    let mut is_active = true;
    loop {
        let is_requested = tokio::select! {
            Some(()) = hangups.recv() => true,
            () = tokio::time::sleep(POLL_INTERVAL) => false,
        };
        let read = source.read().await;
        if !is_requested && read.as_ref().is_ok_and(|bytes| *bytes == source.last_read) {
            last_error = None;
            metrics.set_policy_is_current(is_active);
            continue;
        }
        let was_read = read.is_ok();
        let applied = read.and_then(|bytes| {
            let parsed = source.parse(&bytes);
            source.last_read = bytes;
            activate(&plane, parsed?)
        });
        metrics.set_policy_is_current(applied.is_ok());
        if was_read {
            is_active = applied.is_ok();
        }
        match applied {
            Ok(()) => {
                last_error = None;
                metrics.record_reload(true);
            }
            // A poll that repeats the last error neither logs nor counts it again.
            Err(error) if !is_requested && last_error == Some(error.to_string()) => {}
            Err(error) => {
                tracing::error!(%error, "policy reload failed; the active policy stays");
                last_error = Some(error.to_string());
                metrics.record_reload(false);
            }
        }
    }
}

fn activate(plane: &ControlPlane, policy: Arc<Policy>) -> Result<(), LoadError> {
    let before = plane.policy();
    plane.set_policy(Arc::clone(&policy))?;
    let (from, to): (Digest, Digest) = (before.digest(), policy.digest());
    let [old, new] =
        [&before, &policy].map(|policy| serde_json::to_value(policy.canonical()).unwrap_or_default());
    let changes = policy_changes(&old, &new);
    for PolicyChange { path: at, before, after } in &changes {
        tracing::info!(at, before, after, "policy value changed");
    }
    tracing::info!(%from, %to, differences = changes.len(), "policy reloaded");
    Ok(())
}

/// A value that differs between two policies.
#[derive(Debug, PartialEq, Eq)]
struct PolicyChange {
    path: String,
    /// The old value in JSON. It is empty if the old policy has no value at this path.
    before: String,
    after: String,
}

/// Returns the values that differ between two policies.
fn policy_changes(before: &Json, after: &Json) -> Vec<PolicyChange> {
    let mut changes = Vec::new();
    collect_changes("", Some(before), Some(after), &mut changes);
    changes
}

fn collect_changes(path: &str, before: Option<&Json>, after: Option<&Json>, changes: &mut Vec<PolicyChange>) {
    if before == after {
        return;
    }
    let fields = [before, after].map(|value| value.and_then(Json::as_object));
    if fields.iter().all(Option::is_none) {
        let text = |value: Option<&Json>| value.map(Json::to_string).unwrap_or_default();
        changes.push(PolicyChange { path: path.to_owned(), before: text(before), after: text(after) });
        return;
    }
    let names: std::collections::BTreeSet<_> =
        fields.iter().flatten().flat_map(|fields| fields.keys()).collect();
    for name in names {
        let [before, after] = fields.map(|fields| fields.and_then(|fields| fields.get(name)));
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect_changes(&path, before, after, changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn policy_changes_are_listed_by_path() {
        let before = json!({"limits": {"cpu": {"max": "4"}, "gpu": {"max": "0"}}, "classes": {"a": {"cpu": {"max": "2"}}}});
        let after = json!({"limits": {"cpu": {"max": "8"}, "gpu": {"max": "0"}}, "quota": {"gpus": 4}});
        let changes: Vec<_> =
            policy_changes(&before, &after).into_iter().map(|d| (d.path, d.before, d.after)).collect();
        let change =
            |at: &str, before: &str, after: &str| (at.to_owned(), before.to_owned(), after.to_owned());
        assert_eq!(
            changes,
            [
                change("classes.a.cpu.max", "\"2\"", ""),
                change("limits.cpu.max", "\"4\"", "\"8\""),
                change("quota.gpus", "", "4")
            ]
        );
    }

    #[test]
    fn load_error_includes_the_location() {
        let source = PolicySource {
            path: "p.yaml".into(),
            overrides: PriceOverrides::default(),
            last_read: Vec::new(),
        };
        let load_error = |text: &str| source.parse(text.as_bytes()).unwrap_err().to_string();
        let syntax_error = load_error("version: [1");
        assert!(syntax_error.starts_with("the policy `p.yaml` is invalid: line 1"), "{syntax_error}");
        let schema_error = load_error("version: 2\nrates: {}");
        assert!(schema_error.starts_with("the policy `p.yaml` is invalid: /version: "), "{schema_error}");
    }
}
