//! What the binary can be told.

use crate::limits::RequestLimits;
use crate::loopback::{self, Exposed};
use crate::reload::PolicySource;
use crate::server::{ConnectionLimits, TlsFiles};
#[cfg(target_os = "linux")]
use clap::builder::BoolishValueParser;
use clap::{Args, Parser, ValueEnum};
use runway_core::policy::RateVariableError;
use runway_core::units::Seconds;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes:
  0  it was told to end (SIGTERM, SIGINT), and what was under way has been answered
  1  it could not start, or what was under way took too long to end
  2  wrong usage";

const ENVIRONMENT: &str = "\
Every flag can be set by the variable that stands beside it. Also:
  RUNWAY_USD_PER_CPU_SECOND, RUNWAY_USD_PER_GB_SECOND, RUNWAY_USD_PER_GPU_SECOND
            prices in place of the policy's `rates`; the last one is that of GPUs without a type

Signals:
  SIGTERM, SIGINT  end: not ready at once; after --shutdown-delay what is under way is answered; a second one ends at once
  SIGHUP           read the policy and the TLS files again";

/// Takes batch jobs over REST, checks and prices them, and has them run.
#[derive(Debug, Parser)]
#[command(name = "runway-http", version, after_help = EXIT_CODES, after_long_help = format!("{EXIT_CODES}\n\n{ENVIRONMENT}"))]
pub struct Flags {
    /// The address to listen on
    #[arg(long, env = "RUNWAY_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = loopback::address)]
    pub listen: SocketAddr,
    /// An address for the probes and the metrics alone, without TLS; with `--backend local` it is held to the same rule as the other
    #[arg(long, env = "RUNWAY_LISTEN_OPS", value_name = "ADDR", value_parser = loopback::address)]
    pub listen_ops: Option<SocketAddr>,
    /// Where jobs run
    #[arg(long, env = "RUNWAY_BACKEND", value_enum, value_name = "BACKEND")]
    pub backend: BackendKind,
    /// The policy; it is read again when the file changes
    #[arg(long, env = "RUNWAY_POLICY", value_name = "FILE")]
    pub policy: PathBuf,
    /// The cluster's kubeconfig [default: those of KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, env = "RUNWAY_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig [default: its current one]
    #[arg(long, env = "RUNWAY_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// One machine.
    #[cfg(target_os = "linux")]
    #[command(flatten)]
    pub local: LocalFlags,
    /// TLS.
    #[command(flatten)]
    pub tls: TlsFlags,
    /// Limits.
    #[command(flatten)]
    pub limits: LimitFlags,
    /// How the log is written
    #[arg(long, env = "RUNWAY_LOG_FORMAT", value_enum, value_name = "FORMAT", default_value_t)]
    pub log_format: LogFormat,
    /// What is logged: levels and targets, such as `info` or `warn,runway::audit=info`
    #[arg(long, env = "RUNWAY_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// Where jobs run. There is no default: a lost kubeconfig must not quietly mean another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendKind {
    /// On a Kubernetes cluster
    Kubernetes,
    /// On this machine, without a cluster; it listens on loopback alone, unless mutual TLS asks who comes
    #[cfg(target_os = "linux")]
    Local,
}

impl BackendKind {
    /// Whether jobs are programs on the very machine that the server runs on.
    const fn is_here(self) -> bool {
        match self {
            Self::Kubernetes => false,
            #[cfg(target_os = "linux")]
            Self::Local => true,
        }
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Jobs on this machine.
#[cfg(target_os = "linux")]
#[derive(Debug, Args)]
#[command(next_help_heading = "One machine (--backend local)")]
pub struct LocalFlags {
    /// Where jobs are kept [default: /var/lib/runway for root, otherwise below the home]
    #[arg(long, env = "RUNWAY_STATE_DIR", value_name = "FOLDER")]
    pub state_dir: Option<PathBuf>,
    /// The GPUs that jobs may have: numbers, or the unique ids of `nvidia-smi -L` [default: all that there are]
    #[arg(long, env = "RUNWAY_GPU_DEVICES", value_name = "ID", value_delimiter = ',')]
    pub gpu_devices: Option<Vec<String>>,
    /// The control group below which those of the jobs are made, from the root of each hierarchy
    #[arg(long, env = "RUNWAY_CGROUP_PARENT", value_name = "PATH")]
    pub cgroup_parent: Option<PathBuf>,
    /// Run jobs though a limit of theirs cannot be enforced here, and tell which
    #[arg(long, env = "RUNWAY_BEST_EFFORT", value_parser = BoolishValueParser::new())]
    pub best_effort: bool,
}

/// TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsFlags {
    /// The server's certificate in PEM, with those between it and its root; TLS 1.3 alone is spoken then
    #[arg(long, env = "RUNWAY_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, env = "RUNWAY_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The authorities of clients' certificates in PEM: without a certificate nobody connects then, and its one organisational
    /// unit (OU) says what a client may do: `admin` everything, `viewer` read all but logs, and ask for quotes
    #[arg(long, env = "RUNWAY_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub client_ca: Option<PathBuf>,
}

/// Limits that protect the server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// The most bytes of a body
    #[arg(long, env = "RUNWAY_MAX_BODY_BYTES", value_name = "N", default_value = "262144")]
    pub max_body_bytes: NonZeroUsize,
    /// How long a body may take to arrive
    #[arg(long, env = "RUNWAY_BODY_TIMEOUT", value_name = "TIME", default_value = "10s")]
    pub body_timeout: Seconds,
    /// How long the head of a request may take to arrive, and how long a connection may be idle
    #[arg(long, env = "RUNWAY_HEADER_TIMEOUT", value_name = "TIME", default_value = "15s")]
    pub header_timeout: Seconds,
    /// How long an answer may take to begin
    #[arg(long, env = "RUNWAY_REQUEST_TIMEOUT", value_name = "TIME", default_value = "30s")]
    pub request_timeout: Seconds,
    /// The most requests at a time; to more the answer is 503
    #[arg(long, env = "RUNWAY_MAX_REQUESTS", value_name = "N", default_value = "512")]
    pub max_requests: NonZeroUsize,
    /// The most submissions of one tenant at a time; to more the answer is 429
    #[arg(long, env = "RUNWAY_MAX_TENANT_SUBMISSIONS", value_name = "N", default_value = "32")]
    pub max_tenant_submissions: NonZeroUsize,
    /// The most jobs that are being created at a time on a cluster; more wait for their turn
    #[arg(long, env = "RUNWAY_MAX_CREATIONS", value_name = "N", default_value = "64")]
    pub max_creations: NonZeroUsize,
    /// The most readers of logs at a time; to more the answer is 503
    #[arg(long, env = "RUNWAY_MAX_LOG_READERS", value_name = "N", default_value = "256")]
    pub max_log_readers: NonZeroUsize,
    /// The most connections at a time; more wait
    #[arg(long, env = "RUNWAY_MAX_CONNECTIONS", value_name = "N", default_value = "4096")]
    pub max_connections: NonZeroUsize,
    /// How long the server goes on after it was told to end, so that whoever sends it requests learns of it
    #[arg(long, env = "RUNWAY_SHUTDOWN_DELAY", value_name = "TIME", default_value = "3s")]
    pub shutdown_delay: Seconds,
    /// How long what is under way may take after that
    #[arg(long, env = "RUNWAY_DRAIN_TIMEOUT", value_name = "TIME", default_value = "30s")]
    pub drain_timeout: Seconds,
}

fn duration(seconds: Seconds) -> Duration {
    Duration::from_secs(seconds.get())
}

impl Flags {
    /// Whether only who is on this machine may come: jobs are programs here, and nobody is asked for a certificate.
    #[must_use]
    pub fn is_for_this_machine_alone(&self) -> bool {
        self.backend.is_here() && self.tls.client_ca.is_none()
    }

    /// Says no to addresses through which others could come where they may not.
    ///
    /// # Errors
    /// [`Exposed`], for the first of them.
    pub fn check_reach(&self) -> Result<(), Exposed> {
        if !self.is_for_this_machine_alone() {
            return Ok(());
        }
        loopback::check("--listen", self.listen)?;
        self.listen_ops.map_or(Ok(()), |address| loopback::check("--listen-ops", address))
    }

    /// Where the policy comes from.
    ///
    /// # Errors
    /// [`RateVariableError`] where a variable that should hold a price does not.
    pub fn policy_source(&self) -> Result<PolicySource, RateVariableError> {
        PolicySource::new(self.policy.clone())
    }

    /// What a request may take.
    #[must_use]
    pub fn request_limits(&self) -> RequestLimits {
        let limits = &self.limits;
        RequestLimits {
            body_bytes: limits.max_body_bytes.get(),
            body_timeout: duration(limits.body_timeout),
            request_timeout: duration(limits.request_timeout),
            requests: limits.max_requests.get(),
            tenant_submissions: limits.max_tenant_submissions.get(),
            log_readers: limits.max_log_readers.get(),
        }
    }

    /// What a connection may take.
    #[must_use]
    pub fn connection_limits(&self) -> ConnectionLimits {
        let limits = &self.limits;
        ConnectionLimits {
            connections: limits.max_connections.get(),
            header_timeout: duration(limits.header_timeout),
            drain_timeout: duration(limits.drain_timeout),
        }
    }

    /// For how long it goes on after it was told to end.
    #[must_use]
    pub fn shutdown_delay(&self) -> Duration {
        duration(self.limits.shutdown_delay)
    }

    /// The files of TLS, where it is wanted.
    #[must_use]
    pub fn tls_files(&self) -> Option<TlsFiles> {
        let TlsFlags { tls_cert, tls_key, client_ca } = &self.tls;
        let (certificate, key) = (tls_cert.clone()?, tls_key.clone()?);
        Some(TlsFiles { certificate, key, client_ca: client_ca.clone() })
    }
}
