//! Messages of operating system errors.

use std::io;

/// Returns the message of an error without its number, such as `No space left on device`.
pub(crate) fn message(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or_else(|| text.clone(), |(text, _)| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_has_no_error_number() {
        assert_eq!(message(&io::Error::from_raw_os_error(28)), "No space left on device");
        assert_eq!(message(&io::Error::other("the plan is missing")), "the plan is missing");
    }
}
