//! The policy file. The server loads it at startup, and again when it changes or after SIGHUP.

use crate::metrics::Metrics;
use runway_control::ControlPlane;
use runway_core::gate::NamespaceChanged;
use runway_core::policy::{PolicyError, RateOverrides, RateVariableError};
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
const LOOK: Duration = Duration::from_secs(2);

/// Maximum size of a policy file in bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The policy file, with prices that override those in the file.
#[derive(Debug, Clone)]
pub struct PolicySource {
    path: PathBuf,
    overrides: RateOverrides,
    /// The content at the last read.
    known: Vec<u8>,
}

/// An error that prevents a policy from becoming active.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the policy `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The file exceeds the maximum size.
    #[error("cannot read the policy `{}`: it exceeds {} MiB", path.display(), MAX_BYTES / 1024 / 1024)]
    Oversized {
        /// The file.
        path: PathBuf,
    },
    /// The file does not contain a valid policy.
    #[error("the policy `{}` is invalid:{}", path.display(), Told(&error.violations))]
    Faulty {
        /// The file.
        path: PathBuf,
        /// The violations in the file.
        error: PolicyError,
    },
    /// The policy changes the namespace of the jobs, which requires a restart.
    #[error(transparent)]
    Namespace(#[from] NamespaceChanged),
}

/// Formats violations in one line. `runway policy check` shows their positions in the file.
struct Told<'a>(&'a [Violation]);

impl fmt::Display for Told<'_> {
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
    pub fn new(path: PathBuf) -> Result<Self, RateVariableError> {
        let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        Ok(Self { path, overrides: RateOverrides::from_variables(variable)?, known: Vec::new() })
    }

    /// Loads the policy.
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be read or does not contain a valid policy.
    pub async fn load(&mut self) -> Result<Arc<Policy>, LoadError> {
        self.known = self.read().await?;
        self.parse(&self.known)
    }

    async fn read(&self) -> Result<Vec<u8>, LoadError> {
        let path = &self.path;
        let read = tokio::fs::read(path).await;
        let bytes = read.map_err(|source| LoadError::Unreadable { path: path.clone(), source })?;
        if bytes.len() > MAX_BYTES { Err(LoadError::Oversized { path: path.clone() }) } else { Ok(bytes) }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Arc<Policy>, LoadError> {
        let parsed = Policy::parse(bytes, self.overrides);
        parsed.map(Arc::new).map_err(|error| LoadError::Faulty { path: self.path.clone(), error })
    }
}

/// Keeps the active policy equal to its file. `source` must have loaded the active policy. A change of the
/// file and each signal in `hangups` cause a reload. If a reload fails, the active policy stays. Never
/// returns.
pub async fn follow(mut source: PolicySource, plane: ControlPlane, metrics: Arc<Metrics>, mut asked: Signal) {
    let mut failure: Option<String> = None;
    // Whether the content at the last read is the active policy.
    let mut is_current = true;
    loop {
        let is_asked = tokio::select! {
            Some(()) = asked.recv() => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        let read = source.read().await;
        if !is_asked && read.as_ref().is_ok_and(|bytes| *bytes == source.known) {
            failure = None;
            metrics.policy_is_current(is_current);
            continue;
        }
        let was_read = read.is_ok();
        let applied = read.and_then(|bytes| {
            let parsed = source.parse(&bytes);
            source.known = bytes;
            apply(&plane, parsed?)
        });
        metrics.policy_is_current(applied.is_ok());
        if was_read {
            is_current = applied.is_ok();
        }
        match applied {
            Ok(()) => {
                failure = None;
                metrics.reloaded(true);
            }
            // A poll that repeats the last error does not log it again.
            Err(error) if !is_asked && failure == Some(error.to_string()) => {}
            Err(error) => {
                tracing::error!(%error, "policy reload failed; the active policy stays");
                failure = Some(error.to_string());
                metrics.reloaded(false);
            }
        }
    }
}

fn apply(plane: &ControlPlane, policy: Arc<Policy>) -> Result<(), LoadError> {
    let before = plane.policy();
    plane.set_policy(Arc::clone(&policy))?;
    let (from, to): (Digest, Digest) = (before.digest(), policy.digest());
    let [old, new] =
        [&before, &policy].map(|policy| serde_json::to_value(policy.canonical()).unwrap_or_default());
    let differences = differences(&old, &new);
    for Difference { at, before, after } in &differences {
        tracing::info!(at, before, after, "policy value changed");
    }
    tracing::info!(%from, %to, differences = differences.len(), "policy reloaded");
    Ok(())
}

/// A value that differs between two policies.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    at: String,
    /// The old value in JSON. It is empty if the old policy has no value at this path.
    before: String,
    after: String,
}

/// Returns the values that differ between two policies.
fn differences(before: &Json, after: &Json) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), &mut found);
    found
}

fn compare(at: &str, before: Option<&Json>, after: Option<&Json>, found: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    let fields = [before, after].map(|value| value.and_then(Json::as_object));
    if fields.iter().all(Option::is_none) {
        let text = |value: Option<&Json>| value.map(Json::to_string).unwrap_or_default();
        found.push(Difference { at: at.to_owned(), before: text(before), after: text(after) });
        return;
    }
    let names: std::collections::BTreeSet<_> =
        fields.iter().flatten().flat_map(|fields| fields.keys()).collect();
    for name in names {
        let [before, after] = fields.map(|fields| fields.and_then(|fields| fields.get(name)));
        let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        compare(&at, before, after, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn policies_differ_line_by_line() {
        let before = json!({"limits": {"cpu": {"max": "4"}, "gpu": {"max": "0"}}, "classes": {"a": {"cpu": {"max": "2"}}}});
        let after = json!({"limits": {"cpu": {"max": "8"}, "gpu": {"max": "0"}}, "quota": {"gpus": 4}});
        let told: Vec<_> =
            differences(&before, &after).into_iter().map(|d| (d.at, d.before, d.after)).collect();
        let line = |at: &str, before: &str, after: &str| (at.to_owned(), before.to_owned(), after.to_owned());
        assert_eq!(
            told,
            [
                line("classes.a.cpu.max", "\"2\"", ""),
                line("limits.cpu.max", "\"4\"", "\"8\""),
                line("quota.gpus", "", "4")
            ]
        );
    }

    #[test]
    fn faults_are_told_with_their_place_where_they_have_one() {
        let source =
            PolicySource { path: "p.yaml".into(), overrides: RateOverrides::default(), known: Vec::new() };
        let told = |text: &str| source.parse(text.as_bytes()).unwrap_err().to_string();
        let cut = told("version: [1");
        assert!(cut.starts_with("the policy `p.yaml` is invalid: line 1"), "{cut}");
        let faulty = told("version: 2\nrates: {}");
        assert!(faulty.starts_with("the policy `p.yaml` is invalid: /version: "), "{faulty}");
    }
}
