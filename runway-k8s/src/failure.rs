//! What a failed call means: was anything done, and does it make sense to try again?

use kube::Error;
use runway_control::backend::Unavailable;
use runway_core::ErrorChain;
use std::time::Duration;

/// Why a call has no good answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server turned it down: nothing was done, and the same call would be turned down again.
    Refused { code: u16, reason: String, message: String },
    /// It did not get there, or was turned away for being too much: nothing was done.
    Unreachable(Unavailable),
    /// It may have been done.
    Uncertain(Unavailable),
}

impl Failure {
    /// What failed, where all that matters is that it did.
    pub(crate) fn into_unavailable(self, what: &str) -> Unavailable {
        match self {
            Self::Refused { code, message, .. } => {
                Unavailable::new(format!("{what}: the API server answers {code}: {message}"))
            }
            Self::Unreachable(cause) | Self::Uncertain(cause) => cause,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }

    pub(crate) fn is_already_there(&self) -> bool {
        matches!(self, Self::Refused { code: 409, reason, .. } if reason == "AlreadyExists")
    }
}

/// Makes a call within a time.
pub(crate) async fn within<T>(
    timeout: Duration,
    what: &'static str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(judge(what, error)),
        Err(_) => Err(Failure::Uncertain(Unavailable::new(format!(
            "{what}: no answer within {} s",
            timeout.as_secs()
        )))),
    }
}

/// Makes a call that may be made twice, again where that makes sense.
pub(crate) async fn again<T, F: Future<Output = Result<T, Error>>>(
    timeout: Duration,
    what: &'static str,
    call: impl Fn() -> F,
) -> Result<T, Failure> {
    let pauses = [Duration::from_millis(100), Duration::from_millis(400)];
    for pause in pauses {
        match within(timeout, what, call()).await {
            Err(Failure::Unreachable(_) | Failure::Uncertain(_)) => tokio::time::sleep(pause).await,
            answer => return answer,
        }
    }
    within(timeout, what, call()).await
}

fn judge(what: &'static str, error: Error) -> Failure {
    match error {
        Error::Api(status) => match status.code {
            // The server says so before it does anything.
            429 => Failure::Unreachable(Unavailable::new(format!(
                "{what}: the API server is busy: {}",
                status.message
            ))),
            // Nothing was done, and later may be better: credentials that have expired, a quota that is used up, or one that
            // several asked of at the same moment.
            401 => {
                Failure::Unreachable(Unavailable::new(format!("{what}: not logged in: {}", status.message)))
            }
            409 if status.reason == "Conflict" && status.message.contains("resourcequotas") => {
                Failure::Unreachable(Unavailable::new(format!("{what}: {}", status.message)))
            }
            403 if status.message.contains("exceeded quota") => {
                Failure::Unreachable(Unavailable::new(format!("{what}: {}", status.message)))
            }
            code @ 400..500 => {
                Failure::Refused { code, reason: status.reason.clone(), message: status.message.clone() }
            }
            code => Failure::Uncertain(Unavailable::new(format!(
                "{what}: the API server answers {code}: {}",
                status.message
            ))),
        },
        // Nothing was sent.
        error @ (Error::BuildRequest(_) | Error::Auth(_) | Error::HttpError(_)) => {
            Failure::Unreachable(unavailable(what, error))
        }
        error if was_not_connected(&error) => Failure::Unreachable(unavailable(what, error)),
        error => Failure::Uncertain(unavailable(what, error)),
    }
}

fn unavailable(what: &str, error: Error) -> Unavailable {
    let innermost = ErrorChain::new(&error).last().map(ToString::to_string).unwrap_or_default();
    Unavailable::caused_by(format!("{what}: {innermost}"), error)
}

/// Whether there was no connection to send anything through.
fn was_not_connected(error: &Error) -> bool {
    ErrorChain::new(error).any(|error| {
        error
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn answer(code: u16) -> Failure {
        let status = Status { code, reason: "X".into(), message: "m".into(), ..Status::default() };
        judge("creating", Error::Api(Box::new(status)))
    }

    #[test]
    fn only_a_clear_no_is_a_no() {
        for code in [400, 403, 404, 409, 422, 499] {
            assert!(matches!(answer(code), Failure::Refused { .. }), "{code}");
        }
        assert!(matches!(answer(401), Failure::Unreachable(_)));
        assert!(matches!(answer(429), Failure::Unreachable(_)));
        for code in [500, 502, 503, 504] {
            assert!(matches!(answer(code), Failure::Uncertain(_)), "{code}");
        }
    }
}
