//! Options of the commands that need a server: address, certificates, tenant, retries and output format.

use clap::{Args, ValueEnum};
use runway_core::Tenant;
use runway_core::units::Seconds;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use ureq::http::Uri;

/// The server, the client certificate and the tenant.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Connect to this server, such as `https://runway.internal`
    #[arg(long, env = "RUNWAY_SERVER", hide_env_values = true, value_name = "URL", help_heading = "Server")]
    pub server: Option<ServerUrl>,
    /// Authenticate with this client certificate (PEM)
    ///
    /// The file also contains the intermediate certificates.
    #[arg(
        long,
        env = "RUNWAY_CERT",
        hide_env_values = true,
        value_name = "FILE",
        requires = "key_file",
        help_heading = "Server"
    )]
    pub cert: Option<PathBuf>,
    /// Use this private key of the client certificate (PEM)
    #[arg(
        long,
        env = "RUNWAY_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE",
        requires = "cert",
        help_heading = "Server"
    )]
    pub key_file: Option<PathBuf>,
    /// Trust only these certificate authorities (PEM)
    ///
    /// [default: the authorities that the system trusts]
    #[arg(long, env = "RUNWAY_CA", hide_env_values = true, value_name = "FILE", help_heading = "Server")]
    pub ca: Option<PathBuf>,
    /// Act as this tenant
    ///
    /// Jobs are submitted for this tenant, and only its jobs are visible.
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    pub tenant: Option<Tenant>,
    /// Retry for this time if the server does not answer
    ///
    /// Applies to `submit`, and to commands that wait or follow.
    #[arg(long, value_name = "TIME", default_value = "1m", help_heading = "Server")]
    pub retry_for: Seconds,
}

#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    /// Wait until the jobs end
    ///
    /// Reports status changes on standard error.
    #[arg(long)]
    pub wait: bool,
    /// Print the job's output until the job ends
    ///
    /// Accepts one job.
    #[arg(long)]
    pub follow: bool,
    /// Set the idempotency key [default: a random key]
    ///
    /// Repeating a command with the same key and files creates no new jobs.
    ///
    /// If there are several jobs, their keys are K-1, K-2 and so on.
    #[arg(long, value_name = "KEY", value_parser = parse_idempotency_key)]
    pub idempotency_key: Option<String>,
    /// Read jobs from these files; `-` is standard input
    ///
    /// A file contains one or more YAML documents.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Select the output format
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub format: OutputFormat,
}

/// The output format of the commands that need a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Table for people
    #[default]
    Table,
    /// Table with more columns
    Wide,
    /// JSON for programs
    Json,
    /// YAML for programs
    Yaml,
    /// Only ids or names, one per line
    Name,
}

impl OutputFormat {
    /// Returns whether the format is for people, and not for programs.
    pub(crate) const fn is_human_readable(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// The base URL of a server: `http` or `https`, a host, an optional port, and an optional path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl(String);

impl ServerUrl {
    /// Returns the URL with `path` appended. `path` must begin with a slash.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Returns whether the scheme is `https`.
    pub(crate) fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl FromStr for ServerUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "not a URL such as `https://runway.internal`")?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("the URL must begin with `https://` or `http://`");
        }
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        if authority.is_empty() || authority.contains('@') {
            return Err("must have only a host and an optional port between `//` and the path");
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("must not have a query or a fragment");
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Maximum length of an idempotency key. The server accepts 255 characters, and `-N` is appended if there are
/// several jobs.
const MAX_KEY_LENGTH: usize = 240;

fn parse_idempotency_key(text: &str) -> Result<String, String> {
    let is_valid = (1..=MAX_KEY_LENGTH).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if is_valid {
        Ok(text.to_owned())
    } else {
        Err(format!("must have 1 to {MAX_KEY_LENGTH} visible ASCII characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_url_is_scheme_host_and_optional_path() {
        for (text, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/jobs"),
            ("https://runway.internal/", "https://runway.internal/v1/jobs"),
            ("https://[::1]:1/batch//", "https://[::1]:1/batch/v1/jobs"),
        ] {
            assert_eq!(text.parse::<ServerUrl>().unwrap().join("/v1/jobs"), expected);
        }
        for bad in [
            "",
            "runway.internal",
            "runway.internal:80",
            "/v1",
            "ftp://x",
            "http://",
            "http://u:p@x",
            "http://x?a=b",
            "http://x#a",
            "http://x y",
        ] {
            assert!(bad.parse::<ServerUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn idempotency_key_above_maximum_length_is_rejected() {
        assert!(parse_idempotency_key(&"k".repeat(MAX_KEY_LENGTH)).is_ok());
        for bad in ["", "a b", "ä", "a\n", &"k".repeat(MAX_KEY_LENGTH + 1)] {
            assert!(parse_idempotency_key(bad).is_err(), "{bad}");
        }
    }
}
