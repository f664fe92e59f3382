//! Checks the container: image, command, arguments, working directory and variables.

use super::Checker;
use crate::code::Code;
use crate::document::{MAX_DOCUMENT_BYTES, pointer};
use crate::image::ImageRef;
use crate::name::{RESERVED_ENV_NAMES, check_env_name, is_glued, is_reserved_env_name};
use crate::reader::shortened;
use crate::spec::{MAX_ARGUMENT_BYTES, MAX_PATH_BYTES, MAX_VARIABLES, Secret};
use crate::violation::Violation;
use serde_json::Value as Json;

impl<'a> Checker<'a> {
    pub(super) fn image(&mut self) -> Option<ImageRef> {
        let Some(text) = &self.subject.spec.image else {
            self.missing("/image", "a job needs an `image`");
            return None;
        };
        let image = match text.parse::<ImageRef>() {
            Ok(image) => image,
            Err(error) => {
                let message = format!("the image `{}` {error}", shortened(text));
                // Suggest a fix for upper case only. This mistake is the most common one, and its correction
                // is unambiguous.
                let lower = with_lower_case_name(text);
                let fix = lower.parse().is_ok_and(|image| self.accepts_image(&image)).then_some(lower);
                self.report(
                    Violation::new(Code::InvalidImage, "/image", message).requested(text.as_str()).fix(fix),
                );
                return None;
            }
        };
        if !self.policy.allows_image(&image) {
            let message = format!("images from `{}` are not allowed", shortened(image.repository()));
            let patterns = self.policy.image_patterns().map(Json::from).collect::<Vec<_>>();
            let violation = Violation::new(Code::ImageNotAllowed, "/image", message).requested(text.as_str());
            self.report(violation.one_of(patterns).policy("images.allow"));
        }
        if self.policy.requires_digest() && !image.has_digest() {
            let message =
                format!("the image must be named by digest: `{}@sha256:…`", shortened(image.repository()));
            let violation =
                Violation::new(Code::ImageDigestRequired, "/image", message).requested(text.as_str());
            self.report(violation.policy("images.require_digest"));
        }
        Some(image)
    }

    fn accepts_image(&self, image: &ImageRef) -> bool {
        self.policy.allows_image(image) && (image.has_digest() || !self.policy.requires_digest())
    }

    pub(super) fn arguments(&mut self) {
        let spec = self.subject.spec;
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
                        "an argument of a process ends at its first NUL",
                    ));
                }
            }
        }
    }

    /// Checks the working directory. Returns `None` if it is invalid, and `Some(None)` if the job does not
    /// set it.
    #[expect(clippy::option_option, reason = "outer: valid or not; inner: set or not")]
    pub(super) fn workdir(&mut self) -> Option<Option<&'a str>> {
        const PATH: &str = "/workdir";
        let Some(workdir) = self.subject.spec.workdir.as_deref() else {
            return (!self.is_faulty(PATH)).then_some(None);
        };
        let violation = if workdir.contains('\0') {
            Violation::new(Code::NulByte, PATH, "a path ends at its first NUL").requested(workdir)
        } else if workdir.len() >= MAX_PATH_BYTES {
            let message = format!(
                "this path is too long: Linux accepts fewer than {MAX_PATH_BYTES} bytes (`PATH_MAX`)"
            );
            Violation::new(Code::TooLarge, PATH, message).range(Json::Null, MAX_PATH_BYTES - 1)
        } else if !workdir.starts_with('/') {
            let message = format!("the working directory `{}` does not start with `/`", shortened(workdir));
            Violation::new(Code::InvalidWorkdir, PATH, message).requested(workdir)
        } else if workdir.split('/').any(|part| matches!(part, "." | "..")) {
            let message = format!("the working directory `{}` contains `.` or `..`", shortened(workdir));
            let violation = Violation::new(Code::InvalidWorkdir, PATH, message).requested(workdir);
            violation.fix(without_dots(workdir))
        } else {
            return Some(Some(workdir));
        };
        self.report(violation);
        None
    }

    pub(super) fn variables(&mut self) {
        let spec = self.subject.spec;
        if spec.variables() > MAX_VARIABLES {
            let message =
                format!("there are {} variables; at most {MAX_VARIABLES} are taken", spec.variables());
            self.report(Violation::new(Code::TooLarge, "/env", message).range(Json::Null, MAX_VARIABLES));
        }
        for (name, value) in &spec.env {
            self.variable("env", name, value);
        }
        for (name, secret) in &spec.secrets {
            let value = match secret {
                Secret::FromEnv(_) => "",
                Secret::Value(value) => value,
            };
            self.variable("secrets", name, value);
            if spec.env.contains_key(name) {
                let message = "this name stands under `env` as well; take one of the two out";
                self.report(Violation::new(Code::DuplicateEnvName, pointer(["secrets", name]), message));
            }
        }
    }

    fn variable(&mut self, field: &str, name: &str, value: &str) {
        let path = || if is_glued(name) { pointer([field]) } else { pointer([field, name]) };
        if let Err(error) = check_env_name(name) {
            let message = format!("the name of the variable {error}");
            self.report(Violation::new(Code::InvalidEnvName, path(), message));
        }
        if is_reserved_env_name(name) {
            let message = format!("{RESERVED_ENV_NAMES} are Runway's to set");
            self.report(Violation::new(Code::ReservedEnvName, path(), message));
        }
        let bytes = name.len() + 1 + value.len();
        if bytes >= MAX_ARGUMENT_BYTES {
            self.report(too_long(path(), "this variable with its name and `=`"));
        }
        if value.contains('\0') {
            self.report(Violation::new(
                Code::NulByte,
                path(),
                "a variable of a process ends at its first NUL",
            ));
        }
    }

    pub(super) fn size(&mut self) {
        if self.subject.spec.bytes() > MAX_DOCUMENT_BYTES {
            let message = format!("the job has more text than the {MAX_DOCUMENT_BYTES} bytes that are taken");
            self.report(Violation::new(Code::TooLarge, "", message).range(Json::Null, MAX_DOCUMENT_BYTES));
        }
    }
}

/// Returns the violation for a string that is too long. It omits the exact length, because the recorded inputs
/// of a decision cap the length of a value.
fn too_long(path: String, what: &str) -> Violation {
    let message = format!("{what} is too long: Linux takes fewer than {MAX_ARGUMENT_BYTES} bytes");
    Violation::new(Code::TooLarge, path, message).range(Json::Null, MAX_ARGUMENT_BYTES - 1)
}

/// Resolves the components `.` and `..` of an absolute path, without following symbolic links.
fn without_dots(path: &str) -> String {
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

/// Returns the image with its host and path in lower case. The tag stays, because tags are case-sensitive.
fn with_lower_case_name(image: &str) -> String {
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    let behind = image.get(last..).and_then(|part| part.find([':', '@'])).map_or(image.len(), |at| last + at);
    let (name, rest) = image.split_at_checked(behind).unwrap_or((image, ""));
    format!("{}{rest}", name.to_ascii_lowercase())
}
