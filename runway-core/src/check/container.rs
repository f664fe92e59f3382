//! Checks the container: image, command, arguments, working directory and variables.

use super::Checker;
use crate::code::Code;
use crate::decoder::shorten;
use crate::document::{MAX_DOCUMENT_BYTES, pointer};
use crate::image::ImageRef;
use crate::name::{RESERVED_ENV_NAMES, check_env_name, is_reserved_env_name, looks_like_assignment};
use crate::spec::{MAX_ARGUMENT_BYTES, MAX_PATH_BYTES, MAX_VARIABLES, Secret};
use crate::violation::Violation;
use serde_json::Value as Json;

impl<'a> Checker<'a> {
    pub(super) fn check_image(&mut self) -> Option<ImageRef> {
        let Some(text) = &self.input.spec.image else {
            self.report_missing("/image", "a job needs an `image`");
            return None;
        };
        let image = match text.parse::<ImageRef>() {
            Ok(image) => image,
            Err(error) => {
                let message = format!("the image `{}` {error}", shorten(text));
                // Suggest a fix for upper case only. This mistake is the most common one, and its correction
                // is unambiguous.
                let lower = lowercase_name(text);
                let fix = lower.parse().is_ok_and(|image| self.accepts_image(&image)).then_some(lower);
                self.report(
                    Violation::new(Code::InvalidImage, "/image", message).requested(text.as_str()).fix(fix),
                );
                return None;
            }
        };
        if !self.policy.allows_image(&image) {
            let message = format!("images from `{}` are not allowed", shorten(image.repository()));
            let patterns = self.policy.image_patterns().map(Json::from).collect::<Vec<_>>();
            let violation = Violation::new(Code::ImageNotAllowed, "/image", message).requested(text.as_str());
            self.report(violation.one_of(patterns).policy("images.allow"));
        }
        if self.policy.requires_digest() && !image.has_digest() {
            let message =
                format!("the image must be named by digest: `{}@sha256:…`", shorten(image.repository()));
            let violation =
                Violation::new(Code::ImageDigestRequired, "/image", message).requested(text.as_str());
            self.report(violation.policy("images.require_digest"));
        }
        Some(image)
    }

    fn accepts_image(&self, image: &ImageRef) -> bool {
        self.policy.allows_image(image) && (image.has_digest() || !self.policy.requires_digest())
    }

    pub(super) fn check_arguments(&mut self) {
        let spec = self.input.spec;
        for (field, items) in [("command", &spec.command), ("args", &spec.args)] {
            for (i, item) in items.iter().enumerate() {
                let path = || format!("/{field}/{i}");
                if item.len() >= MAX_ARGUMENT_BYTES {
                    self.report(too_long(path(), "this argument"));
                }
                if item.contains('\0') {
                    self.report(Violation::new(
                        Code::NulByte,
                        path(),
                        "an argument must not contain NUL characters",
                    ));
                }
            }
        }
    }

    /// Checks the working directory. Returns `None` if it is invalid, and `Some(None)` if the job does not
    /// set it.
    #[expect(clippy::option_option, reason = "outer: valid or not; inner: set or not")]
    pub(super) fn check_workdir(&mut self) -> Option<Option<&'a str>> {
        const PATH: &str = "/workdir";
        let Some(workdir) = self.input.spec.workdir.as_deref() else {
            return (!self.has_parse_violation(PATH)).then_some(None);
        };
        let violation = if workdir.contains('\0') {
            Violation::new(Code::NulByte, PATH, "a path must not contain NUL characters").requested(workdir)
        } else if workdir.len() >= MAX_PATH_BYTES {
            let message = format!(
                "this path is too long: Linux accepts fewer than {MAX_PATH_BYTES} bytes (`PATH_MAX`)"
            );
            Violation::new(Code::TooLarge, PATH, message).range(Json::Null, MAX_PATH_BYTES - 1)
        } else if !workdir.starts_with('/') {
            let message = format!("the working directory `{}` does not start with `/`", shorten(workdir));
            Violation::new(Code::InvalidWorkdir, PATH, message).requested(workdir)
        } else if workdir.split('/').any(|part| matches!(part, "." | "..")) {
            let message = format!("the working directory `{}` contains `.` or `..`", shorten(workdir));
            let violation = Violation::new(Code::InvalidWorkdir, PATH, message).requested(workdir);
            violation.fix(resolve_dots(workdir))
        } else {
            return Some(Some(workdir));
        };
        self.report(violation);
        None
    }

    pub(super) fn check_variables(&mut self) {
        let spec = self.input.spec;
        if spec.variable_count() > MAX_VARIABLES {
            let message =
                format!("the job has {} variables; the maximum is {MAX_VARIABLES}", spec.variable_count());
            self.report(Violation::new(Code::TooLarge, "/env", message).range(Json::Null, MAX_VARIABLES));
        }
        for (name, value) in &spec.env {
            self.check_variable("env", name, value);
        }
        for (name, secret) in &spec.secrets {
            let value = match secret {
                Secret::FromEnv(_) => "",
                Secret::Value(value) => value,
            };
            self.check_variable("secrets", name, value);
            if spec.env.contains_key(name) {
                let message = "`env` has a variable of this name; remove one of the two";
                self.report(Violation::new(Code::DuplicateEnvName, pointer(["secrets", name]), message));
            }
        }
    }

    fn check_variable(&mut self, field: &str, name: &str, value: &str) {
        let path = || if looks_like_assignment(name) { pointer([field]) } else { pointer([field, name]) };
        if let Err(error) = check_env_name(name) {
            let message = format!("the name of the variable {error}");
            self.report(Violation::new(Code::InvalidEnvName, path(), message));
        }
        if is_reserved_env_name(name) {
            let message = format!("{RESERVED_ENV_NAMES} are reserved for Runway");
            self.report(Violation::new(Code::ReservedEnvName, path(), message));
        }
        let bytes = name.len() + 1 + value.len();
        if bytes >= MAX_ARGUMENT_BYTES {
            self.report(too_long(path(), "this variable with its name and `=`"));
        }
        if value.contains('\0') {
            self.report(Violation::new(Code::NulByte, path(), "a variable must not contain NUL characters"));
        }
    }

    pub(super) fn check_size(&mut self) {
        if self.input.spec.byte_len() > MAX_DOCUMENT_BYTES {
            let message = format!("the job has more than {MAX_DOCUMENT_BYTES} bytes of text");
            self.report(Violation::new(Code::TooLarge, "", message).range(Json::Null, MAX_DOCUMENT_BYTES));
        }
    }
}

/// Returns the violation for a string that is too long. It omits the exact length, because the recorded
/// inputs of a decision cap the length of a value.
fn too_long(path: String, what: &str) -> Violation {
    let message = format!("{what} is too long: Linux accepts fewer than {MAX_ARGUMENT_BYTES} bytes");
    Violation::new(Code::TooLarge, path, message).range(Json::Null, MAX_ARGUMENT_BYTES - 1)
}

/// Resolves the components `.` and `..` of an absolute path, without following symbolic links.
fn resolve_dots(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Returns the image with its host and path in lower case. The tag and the digest do not change, because tags
/// are case-sensitive.
fn lowercase_name(image: &str) -> String {
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    let name_end =
        image.get(last..).and_then(|part| part.find([':', '@'])).map_or(image.len(), |at| last + at);
    let (name, rest) = image.split_at_checked(name_end).unwrap_or((image, ""));
    format!("{}{rest}", name.to_ascii_lowercase())
}
