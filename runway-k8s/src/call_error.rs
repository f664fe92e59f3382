//! Calls to the API server: their errors, their effects, and retries.

use backon::{ExponentialBuilder, Retryable};
use kube::Error;
use kube::core::Status;
use runway_control::backend::Unavailable;
use runway_core::ErrorChain;
use std::time::Duration;

/// A failed call to the API server.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {cause}")]
pub(crate) struct CallError {
    /// The call, such as `creating a Job`.
    pub call: &'static str,
    pub cause: CallErrorCause,
    /// The time after which the API server accepts the next request, if it returned one.
    pub retry_after: Option<Duration>,
}

/// The cause of a [`CallError`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallErrorCause {
    /// The API server rejected the request, for a reason without another variant.
    #[error("the API server returned {code}: {message}")]
    Rejected { code: u16, reason: String, message: String },
    /// The API server did not accept the credentials. They may have expired.
    #[error("not logged in: {message}")]
    Unauthenticated { message: String },
    /// A ResourceQuota of the namespace is used up.
    #[error("{message}")]
    QuotaExceeded { message: String },
    /// Another request changed the usage of the same ResourceQuota at the same time.
    #[error("{message}")]
    QuotaConflict { message: String },
    /// The namespace of the job does not exist, or is being deleted.
    #[error("{message}")]
    NamespaceMissing { message: String },
    /// Runway lacks a permission. The roles of a deleted namespace are gone as well, so a missing namespace can
    /// have this cause, too.
    #[error("{message}")]
    PermissionDenied { message: String },
    /// An admission webhook of the cluster did not respond. Admission precedes the storage of an object.
    #[error("an admission webhook of the cluster does not respond: {message}")]
    WebhookUnavailable { message: String },
    /// The API server returned 429, because it limits the number of requests.
    #[error("the API server is busy: {message}")]
    Busy { message: String },
    /// The API server failed while it processed the request.
    #[error("the API server returned {code}: {message}")]
    ServerError { code: u16, message: String },
    /// The request could not be built.
    #[error("{}", innermost(.0))]
    InvalidRequest(Error),
    /// The client has no credentials to send, for example because the command that returns them failed.
    #[error("{}", innermost(.0))]
    NoCredentials(Error),
    /// No connection could be opened.
    #[error("{}", innermost(.0))]
    NotConnected(Error),
    /// The connection ended before the response, or the response could not be decoded.
    #[error("{}", innermost(.0))]
    ResponseLost(Error),
    /// The response contains an object without a resource version.
    #[error("received an object without a resource version")]
    NoResourceVersion,
    /// The object changed before each attempt.
    #[error("the object keeps changing")]
    TooManyConflicts,
    /// The response did not arrive in time.
    #[error("no response within {} s", .after.as_secs())]
    TimedOut { after: Duration },
}

/// The effect that a failed call had on the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallEffect {
    /// No effect, and the same call would be rejected again.
    Rejected,
    /// No effect, and the same call can succeed later.
    NotDone,
    /// An unknown effect: the API server may have executed the call.
    Unknown,
}

impl CallError {
    /// Classifies the error of a call.
    pub(crate) fn new(call: &'static str, error: Error) -> Self {
        let seconds = match &error {
            Error::Api(status) => status.details.as_ref().map(|details| details.retry_after_seconds),
            _ => None,
        };
        let retry_after =
            seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into()));
        Self { call, cause: classify_error(error), retry_after }
    }

    pub(crate) const fn effect(&self) -> CallEffect {
        match self.cause {
            CallErrorCause::Rejected { .. } => CallEffect::Rejected,
            // The API server checks these before it executes the call.
            CallErrorCause::Unauthenticated { .. }
            | CallErrorCause::QuotaExceeded { .. }
            | CallErrorCause::QuotaConflict { .. }
            // Only the operators can correct these, so the job is not at fault.
            | CallErrorCause::NamespaceMissing { .. }
            | CallErrorCause::PermissionDenied { .. }
            | CallErrorCause::WebhookUnavailable { .. }
            | CallErrorCause::Busy { .. }
            | CallErrorCause::TooManyConflicts
            // Nothing was sent.
            | CallErrorCause::InvalidRequest(_)
            | CallErrorCause::NoCredentials(_)
            | CallErrorCause::NotConnected(_) => CallEffect::NotDone,
            CallErrorCause::ServerError { .. }
            | CallErrorCause::ResponseLost(_)
            | CallErrorCause::NoResourceVersion
            | CallErrorCause::TimedOut { .. } => CallEffect::Unknown,
        }
    }

    /// Returns `true` if only a change of the cluster by its operators can make the call succeed.
    pub(crate) const fn is_misconfiguration(&self) -> bool {
        matches!(
            self.cause,
            CallErrorCause::NamespaceMissing { .. } | CallErrorCause::PermissionDenied { .. }
        )
    }

    pub(crate) const fn is_not_found(&self) -> bool {
        matches!(self.cause, CallErrorCause::Rejected { code: 404, .. })
    }

    pub(crate) const fn is_conflict(&self) -> bool {
        matches!(self.cause, CallErrorCause::Rejected { code: 409, .. })
    }

    pub(crate) fn is_already_exists(&self) -> bool {
        matches!(&self.cause, CallErrorCause::Rejected { code: 409, reason, .. } if reason == "AlreadyExists")
    }
}

impl From<CallError> for Unavailable {
    fn from(error: CallError) -> Self {
        let (message, retry_after) = (error.to_string(), error.retry_after);
        let unavailable = match error.cause {
            CallErrorCause::InvalidRequest(source)
            | CallErrorCause::NoCredentials(source)
            | CallErrorCause::NotConnected(source)
            | CallErrorCause::ResponseLost(source) => Self::caused_by(message, source),
            CallErrorCause::Rejected { .. }
            | CallErrorCause::Unauthenticated { .. }
            | CallErrorCause::QuotaExceeded { .. }
            | CallErrorCause::QuotaConflict { .. }
            | CallErrorCause::NamespaceMissing { .. }
            | CallErrorCause::PermissionDenied { .. }
            | CallErrorCause::WebhookUnavailable { .. }
            | CallErrorCause::Busy { .. }
            | CallErrorCause::ServerError { .. }
            | CallErrorCause::NoResourceVersion
            | CallErrorCause::TooManyConflicts
            | CallErrorCause::TimedOut { .. } => Self::new(message),
        };
        unavailable.with_retry_after(retry_after)
    }
}

/// Sends a request with a time limit.
pub(crate) async fn with_timeout<T>(
    timeout: Duration,
    call: &'static str,
    response: impl Future<Output = Result<T, Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(timeout, response).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(CallError::new(call, error)),
        Err(_) => {
            Err(CallError { call, cause: CallErrorCause::TimedOut { after: timeout }, retry_after: None })
        }
    }
}

/// The backoff of [`retry`]: two retries, after delays of 100 ms and 400 ms.
const RETRIES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_factor(4.0)
    .with_max_delay(Duration::from_millis(400))
    .with_max_times(2);

/// Sends an idempotent request until it succeeds, is rejected, or has no retries left. Each attempt has the
/// full time limit. A retry waits at least as long as the API server asks for. If that is longer than the
/// time limit, the request is not sent again.
pub(crate) async fn retry<T, F: Future<Output = Result<T, Error>>>(
    timeout: Duration,
    call: &'static str,
    request: impl Fn() -> F,
) -> Result<T, CallError> {
    let attempt = || with_timeout(timeout, call, request());
    attempt
        .retry(RETRIES)
        .when(|error: &CallError| error.effect() != CallEffect::Rejected)
        .adjust(|error: &CallError, delay| {
            let delay = delay?.max(error.retry_after.unwrap_or_default());
            (delay <= timeout).then_some(delay)
        })
        .await
}

fn classify_error(error: Error) -> CallErrorCause {
    match error {
        Error::Api(status) => classify_status(*status),
        Error::BuildRequest(_) | Error::HttpError(_) => CallErrorCause::InvalidRequest(error),
        Error::Auth(_) => CallErrorCause::NoCredentials(error),
        error if is_connect_error(&error) => CallErrorCause::NotConnected(error),
        error => CallErrorCause::ResponseLost(error),
    }
}

fn classify_status(status: Status) -> CallErrorCause {
    let Status { code, reason, message, details, .. } = status;
    let kind = details.as_ref().map_or("", |details| details.kind.as_str());
    let has_cause = |reason: &str| {
        details.as_ref().is_some_and(|details| details.causes.iter().any(|cause| cause.reason == reason))
    };
    match code {
        401 => CallErrorCause::Unauthenticated { message },
        // A namespace that is being deleted accepts no new objects.
        403 if has_cause("NamespaceTerminating") => CallErrorCause::NamespaceMissing { message },
        404 if kind == "namespaces" => CallErrorCause::NamespaceMissing { message },
        403 if message.contains("is forbidden: User ") && message.contains(" cannot ") => {
            CallErrorCause::PermissionDenied { message }
        }
        403 if message.contains("exceeded quota") => CallErrorCause::QuotaExceeded { message },
        409 if reason == "Conflict" && message.contains("resourcequotas") => {
            CallErrorCause::QuotaConflict { message }
        }
        429 => CallErrorCause::Busy { message },
        400..500 => CallErrorCause::Rejected { code, reason, message },
        _ if message.contains("failed calling webhook") => CallErrorCause::WebhookUnavailable { message },
        _ => CallErrorCause::ServerError { code, message },
    }
}

/// Returns the message of the innermost error. The outer errors add nothing useful for a person.
fn innermost(error: &Error) -> String {
    ErrorChain::new(error).last().map(ToString::to_string).unwrap_or_default()
}

/// Returns `true` if no connection could be opened, so nothing was sent.
fn is_connect_error(error: &Error) -> bool {
    ErrorChain::new(error).any(|error| {
        error
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::error::Error as _;
    use tokio::time::Instant;

    fn status(code: u16, reason: &str, message: &str) -> Error {
        let (reason, message) = (reason.to_owned(), message.to_owned());
        Error::Api(Box::new(Status { code, reason, message, ..Status::default() }))
    }

    fn failed(error: Error) -> CallError {
        CallError::new("creating a Job", error)
    }

    #[test]
    fn only_client_errors_are_rejections() {
        let effect = |code| failed(status(code, "X", "m")).effect();
        for code in [400, 403, 404, 409, 422, 499] {
            assert_eq!(effect(code), CallEffect::Rejected, "{code}");
        }
        assert_eq!(effect(401), CallEffect::NotDone);
        assert_eq!(effect(429), CallEffect::NotDone);
        for code in [500, 502, 503, 504] {
            assert_eq!(effect(code), CallEffect::Unknown, "{code}");
        }
    }

    #[test]
    fn exceeded_resource_quota_is_not_a_rejection() {
        let exceeded = failed(status(403, "Forbidden", "jobs is forbidden: exceeded quota: runway"));
        assert!(matches!(exceeded.cause, CallErrorCause::QuotaExceeded { .. }), "{exceeded:?}");
        let conflict = failed(status(409, "Conflict", "Operation cannot be fulfilled on resourcequotas"));
        assert!(matches!(conflict.cause, CallErrorCause::QuotaConflict { .. }), "{conflict:?}");
        for quota in [exceeded, conflict] {
            assert_eq!(quota.effect(), CallEffect::NotDone);
        }
        let exists = failed(status(409, "AlreadyExists", "jobs.batch already exists"));
        assert!(exists.is_already_exists() && exists.is_conflict());
    }

    #[test]
    fn missing_namespace_or_permission_is_not_a_rejection() {
        let with_details = |code, message: &str, details: serde_json::Value| {
            let details = serde_json::from_value(details).unwrap();
            let (message, details) = (message.to_owned(), Some(details));
            failed(Error::Api(Box::new(Status { code, message, details, ..Status::default() })))
        };
        let missing = with_details(
            404,
            "namespaces \"runway-jobs\" not found",
            serde_json::json!({"name": "runway-jobs", "kind": "namespaces"}),
        );
        let terminating = with_details(
            403,
            "jobs.batch \"a\" is forbidden: unable to create new content in namespace runway-jobs because it is being terminated",
            serde_json::json!({"name": "a", "kind": "jobs", "causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}),
        );
        let denied = failed(status(
            403,
            "Forbidden",
            "jobs.batch is forbidden: User \"system:serviceaccount:runway-system:runway-http\" cannot create resource \"jobs\" in API group \"batch\" in the namespace \"runway-jobs\"",
        ));
        for error in [missing, terminating, denied] {
            assert_eq!(
                (error.effect(), error.is_misconfiguration()),
                (CallEffect::NotDone, true),
                "{error:?}"
            );
            assert!(error.to_string().contains("runway-jobs"), "{error}");
        }
        // A missing object in an existing namespace, and a denial by a webhook, are still rejections.
        let gone =
            with_details(404, "jobs.batch \"a\" not found", serde_json::json!({"name": "a", "kind": "jobs"}));
        assert!(gone.is_not_found());
        let webhook = failed(status(403, "Forbidden", "admission webhook \"x\" denied the request: no"));
        assert_eq!(webhook.effect(), CallEffect::Rejected);
    }

    #[test]
    fn unavailable_webhook_means_that_nothing_was_stored() {
        for cause in ["service \"hook\" not found", "dial tcp 10.0.0.1:443: connect: connection refused"] {
            let message = format!(
                "Internal error occurred: failed calling webhook \"jobs.example.com\": failed to call webhook: Post \"https://hook.system.svc:443/?timeout=2s\": {cause}"
            );
            let error = failed(status(500, "InternalError", &message));
            assert_eq!(error.effect(), CallEffect::NotDone);
            assert!(error.to_string().contains("\"jobs.example.com\""), "{error}");
        }
        let policy = "jobs.batch \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
        let denied = failed(status(422, "Invalid", policy));
        assert_eq!(denied.effect(), CallEffect::Rejected);
        assert!(denied.to_string().contains("'p'") && denied.to_string().contains("denied request: no"));
    }

    #[test]
    fn message_names_the_call_and_the_innermost_cause() {
        let refused = std::io::Error::other("connection refused");
        let error = failed(Error::Service(Box::new(Error::ReadEvents(refused))));
        assert_eq!(error.effect(), CallEffect::Unknown);
        let unavailable = Unavailable::from(error);
        assert_eq!(unavailable.to_string(), "creating a Job: connection refused");
        assert!(unavailable.source().is_some());
        let rejected = Unavailable::from(failed(status(403, "Forbidden", "no")));
        assert_eq!(rejected.to_string(), "creating a Job: the API server returned 403: no");
    }

    /// Makes calls that receive these status codes, and then 500. Returns the result of the last call, and
    /// the time of each call in milliseconds.
    async fn calls(responses: &[u16]) -> (Result<(), CallError>, Vec<u128>) {
        let (started, times) = (Instant::now(), RefCell::new(Vec::new()));
        let request = || {
            let response = responses.get(times.borrow().len()).copied().unwrap_or(500);
            times.borrow_mut().push(started.elapsed().as_millis());
            async move { if response == 200 { Ok(()) } else { Err(status(response, "X", "m")) } }
        };
        let result = retry(Duration::from_secs(10), "listing", request).await;
        (result, times.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn call_is_made_three_times_after_growing_delays() {
        let (result, times) = calls(&[503, 429, 502, 200]).await;
        assert!(matches!(result.unwrap_err().cause, CallErrorCause::ServerError { code: 502, .. }));
        assert_eq!(times, [0, 100, 500]);
    }

    #[tokio::test(start_paused = true)]
    async fn call_is_not_repeated_after_success_or_rejection() {
        assert!(matches!(calls(&[503, 200]).await, (Ok(()), times) if times == [0, 100]));
        let (result, times) = calls(&[404, 200]).await;
        assert!(result.unwrap_err().is_not_found());
        assert_eq!(times, [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_has_the_whole_time_limit() {
        let started = Instant::now();
        let never = || std::future::pending::<Result<(), Error>>();
        let error = retry(Duration::from_secs(10), "listing Jobs", never).await.unwrap_err();
        assert_eq!(error.to_string(), "listing Jobs: no response within 10 s");
        assert_eq!(started.elapsed(), Duration::from_millis(30_500));
    }
}
