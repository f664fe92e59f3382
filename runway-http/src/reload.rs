//! The policy file. The server loads it at startup, and again when it changes or after SIGHUP.
//!
//! Another program can be writing the file at the same time, and many prefixes of a policy are valid policies
//! with weaker rules. Two rules keep such a prefix from becoming active. First, two polls in a row must read
//! the same content. Second, if the active policy ends with the YAML marker `...`, a new one must end with it,
//! too. SIGHUP skips the first rule.

use crate::metrics::Metrics;
use runway_control::ControlPlane;
use runway_core::document::DocumentLimits;
use runway_core::gate::NamespaceChanged;
use runway_core::policy::{PolicyError, PriceOverrides, PriceVariableError};
use runway_core::violation::Violation;
use runway_core::{Policy, digest::Digest};
use serde_json::Value as Json;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::Signal;

/// Interval at which the file is polled. Each poll reads the whole file, because the kubelet updates a
/// mounted ConfigMap by replacing a symbolic link.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Maximum size of a policy file in bytes.
const MAX_POLICY_BYTES: usize = DocumentLimits::POLICY.bytes;

/// Maximum number of changed values in the log of one reload.
const MAX_LOGGED_CHANGES: usize = 100;

/// The policy file, with prices that override those in the file.
#[derive(Debug, Clone)]
pub struct PolicySource {
    path: PathBuf,
    overrides: PriceOverrides,
    /// The content of the file at the last read that was parsed. Empty before the first one.
    last_read: Arc<[u8]>,
    /// Whether a policy must end with the marker, because the last valid one did.
    needs_end_marker: bool,
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
    /// The file may not be complete.
    #[error(
        "the policy `{}` does not end with the line `...`, so it may be half-written; add this line, or restart the server to load the policy without it",
        path.display()
    )]
    NoEndMarker {
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
        let overrides = PriceOverrides::from_variables(variable)?;
        Ok(Self { path, overrides, last_read: Arc::default(), needs_end_marker: false })
    }

    /// Loads the policy, whether it ends with the marker or not.
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be read, is too large, or does not contain a valid policy.
    pub async fn load(&mut self) -> Result<Arc<Policy>, LoadError> {
        let source = self.clone();
        let (content, policy) = run_blocking(move || {
            let content = source.read()?;
            let policy = source.parse(&content)?;
            Ok::<_, LoadError>((content, policy))
        })
        .await?;
        self.needs_end_marker = has_end_marker(&content);
        self.last_read = content;
        Ok(policy)
    }

    /// Reads the file. Reads at most one byte more than the maximum size, whatever the size of the file.
    fn read(&self) -> Result<Arc<[u8]>, LoadError> {
        let io_error = |source| LoadError::Read { path: self.path.clone(), source };
        let too_large = || LoadError::TooLarge { path: self.path.clone() };
        let max = u64::try_from(MAX_POLICY_BYTES).unwrap_or(u64::MAX);
        let file = File::open(&self.path).map_err(io_error)?;
        if file.metadata().map_err(io_error)?.len() > max {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error)?;
        if bytes.len() > MAX_POLICY_BYTES { Err(too_large()) } else { Ok(bytes.into()) }
    }

    /// Parses a changed policy. Rejects it if it may be half-written.
    fn parse_complete(&self, content: &[u8]) -> Result<Arc<Policy>, LoadError> {
        // A part of a JSON policy is never valid.
        let is_json = content.trim_ascii_start().starts_with(b"{");
        if self.needs_end_marker && !is_json && !has_end_marker(content) {
            return Err(LoadError::NoEndMarker { path: self.path.clone() });
        }
        self.parse(content)
    }

    fn parse(&self, content: &[u8]) -> Result<Arc<Policy>, LoadError> {
        let parsed = Policy::parse(content, self.overrides);
        parsed.map(Arc::new).map_err(|error| LoadError::Invalid { path: self.path.clone(), error })
    }
}

/// Returns whether the last line that is not empty is `...`, the end of a YAML document. A policy is a single
/// document, so a file that ends with this line is complete.
fn has_end_marker(content: &[u8]) -> bool {
    let content = content.trim_ascii_end();
    content.strip_suffix(b"...").is_some_and(|before| before.is_empty() || before.ends_with(b"\n"))
}

/// Runs a blocking operation without blocking the threads that serve requests.
async fn run_blocking<T: Send + 'static>(operation: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(operation).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => std::future::pending().await,
        },
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
    // Whether the content at the last read that was parsed is the active policy.
    let mut is_active = true;
    // The changed content at the last poll, if it has not been parsed yet.
    let mut unconfirmed: Option<Arc<[u8]>> = None;
    loop {
        let is_requested = tokio::select! {
            Some(()) = hangups.recv() => true,
            () = tokio::time::sleep(POLL_INTERVAL) => false,
        };
        let reader = source.clone();
        let read = run_blocking(move || reader.read()).await;
        if let (Ok(content), false) = (&read, is_requested) {
            if *content == source.last_read {
                (last_error, unconfirmed) = (None, None);
                metrics.set_policy_is_current(is_active);
                continue;
            }
            if unconfirmed.as_ref() != Some(content) {
                unconfirmed = Some(Arc::clone(content));
                continue;
            }
        }
        unconfirmed = None;
        let was_read = read.is_ok();
        let applied = match read {
            Ok(content) => {
                source.last_read = Arc::clone(&content);
                let (parser, plane) = (source.clone(), plane.clone());
                let apply = move || activate(&plane, parser.parse_complete(&content)?);
                run_blocking(apply).await
            }
            Err(error) => Err(error),
        };
        metrics.set_policy_is_current(applied.is_ok());
        if was_read {
            is_active = applied.is_ok();
        }
        match applied {
            Ok(()) => {
                source.needs_end_marker = has_end_marker(&source.last_read);
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
    for PolicyChange { path: at, before, after } in changes.iter().take(MAX_LOGGED_CHANGES) {
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

    fn source(needs_end_marker: bool) -> PolicySource {
        let (path, overrides) = ("p.yaml".into(), PriceOverrides::default());
        PolicySource { path, overrides, last_read: Arc::default(), needs_end_marker }
    }

    #[test]
    fn end_marker_is_the_last_line() {
        for complete in ["...", "...\n", "version: 1\n...\n", "version: 1\r\n...\r\n", "a: 1\n...\n\n \n"] {
            assert!(has_end_marker(complete.as_bytes()), "{complete:?}");
        }
        for incomplete in
            ["", "\n", "version: 1\n", "version: 1\n..", "a: b...\n", "a: 1\n...\nb: 2\n", "a: 1\n ...\n"]
        {
            assert!(!has_end_marker(incomplete.as_bytes()), "{incomplete:?}");
        }
    }

    #[test]
    fn policy_without_the_end_marker_is_rejected_if_needed() {
        let yaml = Policy::BUILTIN_SOURCE;
        let json = serde_json::to_string(&Policy::builtin().canonical()).unwrap();
        let marked = format!("{yaml}...\n");
        let is_accepted = |text: &str, needs_end_marker: bool| {
            source(needs_end_marker).parse_complete(text.as_bytes()).is_ok()
        };
        assert!(is_accepted(yaml, false) && is_accepted(&marked, true) && is_accepted(&json, true));
        assert!(!is_accepted(yaml, true));
    }

    #[test]
    fn load_error_includes_the_location() {
        let source = source(false);
        let load_error = |text: &str| source.parse(text.as_bytes()).unwrap_err().to_string();
        let syntax_error = load_error("version: [1");
        assert!(syntax_error.starts_with("the policy `p.yaml` is invalid: line 1"), "{syntax_error}");
        let schema_error = load_error("version: 2\nrates: {}");
        assert!(schema_error.starts_with("the policy `p.yaml` is invalid: /version: "), "{schema_error}");
    }
}
