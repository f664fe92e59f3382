//! An error together with its causes.

use std::error::Error;
use std::fmt;

/// An error and its chain of causes, from the outermost error to the root cause.
///
/// The iterator returns the errors in this order. `Display` prints them in one line. It skips a cause whose
/// text is part of the last printed message, because many messages already include their cause.
///
/// ```
/// use runway_core::ErrorChain;
/// use runway_core::policy::PriceOverrides;
/// use runway_core::units::MoneyError;
///
/// let error = PriceOverrides::from_variables(|_| Some("cheap".to_owned())).unwrap_err();
/// assert!(ErrorChain::new(&error).any(|cause| cause.is::<MoneyError>()));
/// assert_eq!(ErrorChain::new(&error).to_string(), error.to_string()); // the message contains its cause
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ErrorChain<'a>(Option<&'a (dyn Error + 'static)>);

impl<'a> ErrorChain<'a> {
    /// Creates a chain that starts with this error.
    #[must_use]
    pub const fn new(error: &'a (dyn Error + 'static)) -> Self {
        Self(Some(error))
    }
}

impl<'a> Iterator for ErrorChain<'a> {
    type Item = &'a (dyn Error + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        let error = self.0?;
        self.0 = error.source();
        Some(error)
    }
}

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last: Option<String> = None;
        for error in *self {
            let message = error.to_string();
            match &last {
                Some(last) if last.contains(&message) => continue,
                Some(_) => write!(f, ": {message}")?,
                None => f.write_str(&message)?,
            }
            last = Some(message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Failed {
        message: &'static str,
        source: Option<Box<Failed>>,
    }

    fn failed(messages: &[&'static str]) -> Failed {
        let (message, causes) = messages.split_first().unwrap();
        let source = (!causes.is_empty()).then(|| Box::new(failed(causes)));
        Failed { message, source }
    }

    #[test]
    fn chain_skips_causes_contained_in_last_message() {
        for (messages, line) in [
            (&["alone"][..], "alone"),
            (&["cannot connect", "timed out"], "cannot connect: timed out"),
            (
                &["cannot connect: timed out", "timed out", "os error 110"],
                "cannot connect: timed out: os error 110",
            ),
            (&["a", "a", "b", "a"], "a: b: a"),
            (&["failed", ""], "failed"),
        ] {
            let error = failed(messages);
            assert_eq!(ErrorChain::new(&error).to_string(), line);
            let all: Vec<_> = ErrorChain::new(&error).map(ToString::to_string).collect();
            assert_eq!(all, messages);
        }
    }

    #[test]
    fn partly_consumed_chain_displays_the_rest() {
        let error = failed(&["a", "b", "c"]);
        let mut chain = ErrorChain::new(&error);
        assert!(chain.next().is_some_and(|error| error.is::<Failed>()));
        assert_eq!(chain.to_string(), "b: c");
    }
}
