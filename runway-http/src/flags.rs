//! The command-line flags of the server.

use crate::hosts::{self, HostRules};
use crate::limits::RequestLimits;
use crate::loopback::{self, ExposedAddress};
use crate::reload::PolicySource;
use crate::server::{ConnectionLimits, TlsFiles};
#[cfg(target_os = "linux")]
use clap::builder::BoolishValueParser;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, ValueEnum};
use runway_core::capability::BackendKind;
use runway_core::policy::PriceVariableError;
use runway_core::units::Seconds;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes:
  0  shutdown after SIGTERM or SIGINT; all in-flight requests were answered
  1  failed, or exited before all in-flight requests were answered
  2  invalid usage";

const ENVIRONMENT: &str = "\
Each flag can also be set by the environment variable next to it. Further variables:
  RUNWAY_USD_PER_CPU_SECOND, RUNWAY_USD_PER_GB_SECOND, RUNWAY_USD_PER_GPU_SECOND
            override the `rates` of the policy; the last one is the price of GPUs without a type

Signals:
  SIGTERM, SIGINT  shut down: become not ready, wait for --shutdown-delay, and answer in-flight requests; a second signal exits at once
  SIGHUP           reload the policy and the TLS files";

/// Accept batch jobs over REST, check and price them, and run them.
#[derive(Debug, Parser)]
#[command(name = "runway-http", version, after_help = EXIT_CODES, after_long_help = format!("{EXIT_CODES}\n\n{ENVIRONMENT}"))]
pub struct Flags {
    /// Listen on this address
    #[arg(long, env = "RUNWAY_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = loopback::parse_address)]
    pub listen: SocketAddr,
    /// Serve only the probes and the metrics on this address, without TLS
    ///
    /// With `--backend local`, it must be a loopback address, too, unless `--client-ca` is set.
    #[arg(long, env = "RUNWAY_LISTEN_OPS", value_name = "ADDR", value_parser = loopback::parse_address)]
    pub listen_ops: Option<SocketAddr>,
    /// Accept requests for these hosts, besides `localhost`
    ///
    /// Loopback addresses are accepted, too, and on a cluster all IP addresses. The default on a cluster is
    /// the Service `runway-http` in the namespace `runway-system`. With `--client-ca`, all hosts are accepted.
    #[arg(long, env = "RUNWAY_ALLOWED_HOSTS", value_name = "HOST", value_delimiter = ',', value_parser = hosts::parse_host)]
    pub allowed_hosts: Vec<String>,
    /// Run jobs on this backend
    #[arg(long, env = "RUNWAY_BACKEND", value_name = "BACKEND", value_parser = backends())]
    pub backend: BackendKind,
    /// Load the policy from this file, and reload it when it changes
    #[arg(long, env = "RUNWAY_POLICY", value_name = "FILE")]
    pub policy: PathBuf,
    /// Use this kubeconfig [default: as kubectl, or the pod's service account]
    #[arg(long, env = "RUNWAY_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Use this kubeconfig context [default: the current context]
    #[arg(long, env = "RUNWAY_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// The flags of the local backend.
    #[cfg(target_os = "linux")]
    #[command(flatten)]
    pub local: LocalFlags,
    /// The flags of TLS.
    #[command(flatten)]
    pub tls: TlsFlags,
    /// The flags of the limits.
    #[command(flatten)]
    pub limits: LimitFlags,
    /// Write the log in this format
    #[arg(long, env = "RUNWAY_LOG_FORMAT", value_enum, value_name = "FORMAT", default_value_t)]
    pub log_format: LogFormat,
    /// Log these levels and targets, such as `info` or `warn,runway::audit=info`
    #[arg(long, env = "RUNWAY_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// Returns a parser for the backends that this platform supports. The flag has no default, so that a missing
/// kubeconfig does not silently select another backend.
fn backends() -> impl TypedValueParser<Value = BackendKind> {
    let is_supported = |kind: &BackendKind| cfg!(target_os = "linux") || *kind != BackendKind::Local;
    let values = BackendKind::ALL.into_iter().filter(is_supported).map(|kind| {
        PossibleValue::new(kind.as_str()).help(match kind {
            BackendKind::Kubernetes => "Run jobs on a Kubernetes cluster",
            BackendKind::Local => "Run jobs on this machine; requires a loopback address or `--client-ca`",
        })
    });
    PossibleValuesParser::new(values).try_map(|name| name.parse::<BackendKind>())
}

/// The format of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// The flags of the local backend.
#[cfg(target_os = "linux")]
#[derive(Debug, Args)]
#[command(next_help_heading = "One machine (--backend local)")]
pub struct LocalFlags {
    /// Store jobs in this directory
    ///
    /// The default is /var/lib/runway for root. For other users, it is runway in $XDG_STATE_HOME or in
    /// ~/.local/state.
    #[arg(long, env = "RUNWAY_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Assign these GPUs: indexes or UUIDs from `nvidia-smi -L` [default: all GPUs]
    #[arg(long, env = "RUNWAY_GPU_DEVICES", value_name = "ID", value_delimiter = ',')]
    pub gpu_devices: Option<Vec<String>>,
    /// Create the cgroups of jobs below this path in each cgroup hierarchy
    #[arg(long, env = "RUNWAY_CGROUP_PARENT", value_name = "PATH")]
    pub cgroup_parent: Option<PathBuf>,
    /// Run jobs even if a limit cannot be enforced, and report that limit
    #[arg(long, env = "RUNWAY_BEST_EFFORT", value_parser = BoolishValueParser::new())]
    pub best_effort: bool,
}

/// The flags of TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsFlags {
    /// Serve TLS 1.3 with this PEM certificate and its intermediate certificates
    #[arg(long, env = "RUNWAY_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Use this PEM private key of the certificate
    #[arg(long, env = "RUNWAY_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Require client certificates from the authorities in this PEM file
    ///
    /// The certificate must have exactly one organizational unit (OU), which is the role of the client.
    /// `admin` permits everything. `viewer` permits reading everything except logs, and requesting quotes.
    #[arg(long, env = "RUNWAY_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub client_ca: Option<PathBuf>,
    /// Reject the client certificates on the revocation lists (CRLs) in this PEM file
    ///
    /// The file must contain a list of each authority that issues client certificates. SIGHUP reloads it. The
    /// server does not check when the next list is due.
    #[arg(long, env = "RUNWAY_CLIENT_CRL", value_name = "FILE", requires = "client_ca")]
    pub client_crl: Option<PathBuf>,
}

/// Limits that protect the server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// Limit the size of a request body in bytes
    #[arg(long, env = "RUNWAY_MAX_BODY_BYTES", value_name = "N", default_value = "262144")]
    pub max_body_bytes: NonZeroUsize,
    /// Limit the time in which a request body must arrive
    #[arg(long, env = "RUNWAY_BODY_TIMEOUT", value_name = "TIME", default_value = "10s")]
    pub body_timeout: Seconds,
    /// Limit the time for the head of a request, and the idle time of a connection
    #[arg(long, env = "RUNWAY_HEADER_TIMEOUT", value_name = "TIME", default_value = "15s")]
    pub header_timeout: Seconds,
    /// Limit the time until a response starts
    #[arg(long, env = "RUNWAY_REQUEST_TIMEOUT", value_name = "TIME", default_value = "30s")]
    pub request_timeout: Seconds,
    /// Limit concurrent requests; the status of further requests is 503
    #[arg(long, env = "RUNWAY_MAX_REQUESTS", value_name = "N", default_value = "512")]
    pub max_requests: NonZeroUsize,
    /// Limit concurrent submissions per tenant; the status of more is 429
    #[arg(long, env = "RUNWAY_MAX_TENANT_SUBMISSIONS", value_name = "N", default_value = "32")]
    pub max_tenant_submissions: NonZeroUsize,
    /// Limit concurrent create calls on a cluster; further calls wait
    #[arg(long, env = "RUNWAY_MAX_CONCURRENT_CREATES", value_name = "N", default_value = "64")]
    pub max_concurrent_creates: NonZeroUsize,
    /// Limit concurrent log readers; the status for further readers is 503
    #[arg(long, env = "RUNWAY_MAX_LOG_READERS", value_name = "N", default_value = "256")]
    pub max_log_readers: NonZeroUsize,
    /// Limit open connections; further clients wait
    #[arg(long, env = "RUNWAY_MAX_CONNECTIONS", value_name = "N", default_value = "4096")]
    pub max_connections: NonZeroUsize,
    /// Limit open connections per client address; further ones are closed
    ///
    /// The default is three quarters of `--max-connections`, so that one address cannot hold all connections.
    /// Behind a proxy, all clients have the same address.
    #[arg(long, env = "RUNWAY_MAX_CLIENT_CONNECTIONS", value_name = "N")]
    pub max_client_connections: Option<NonZeroUsize>,
    /// Keep serving for this time after a shutdown signal, while not ready
    ///
    /// In this time, load balancers notice that the server is not ready.
    #[arg(long, env = "RUNWAY_SHUTDOWN_DELAY", value_name = "TIME", default_value = "3s")]
    pub shutdown_delay: Seconds,
    /// Limit the time for in-flight requests after the shutdown delay
    #[arg(long, env = "RUNWAY_DRAIN_TIMEOUT", value_name = "TIME", default_value = "30s")]
    pub drain_timeout: Seconds,
}

fn to_duration(seconds: Seconds) -> Duration {
    Duration::from_secs(seconds.get())
}

impl Flags {
    /// Returns whether only clients on this machine are permitted. This is the case if jobs are processes on
    /// this machine, and no client certificates are required.
    #[must_use]
    pub fn is_loopback_only(&self) -> bool {
        self.backend == BackendKind::Local && self.tls.client_ca.is_none()
    }

    /// Returns the rules on the hosts of requests.
    #[must_use]
    pub fn host_rules(&self) -> HostRules {
        let hosts = self.allowed_hosts.clone();
        if self.tls.client_ca.is_some() {
            HostRules::any()
        } else if self.backend == BackendKind::Local {
            HostRules::loopback(hosts)
        } else {
            HostRules::cluster(hosts)
        }
    }

    /// Rejects addresses that other machines can reach, if only clients on this machine are permitted.
    ///
    /// # Errors
    /// [`ExposedAddress`] for the first such address.
    pub fn check_exposure(&self) -> Result<(), ExposedAddress> {
        if !self.is_loopback_only() {
            return Ok(());
        }
        loopback::check_loopback("--listen", self.listen)?;
        self.listen_ops.map_or(Ok(()), |address| loopback::check_loopback("--listen-ops", address))
    }

    /// Returns the source of the policy.
    ///
    /// # Errors
    /// [`PriceVariableError`] if a price variable does not contain a valid price.
    pub fn policy_source(&self) -> Result<PolicySource, PriceVariableError> {
        PolicySource::new(self.policy.clone())
    }

    /// Returns the limits on requests.
    #[must_use]
    pub fn request_limits(&self) -> RequestLimits {
        let limits = &self.limits;
        RequestLimits {
            max_body_bytes: limits.max_body_bytes.get(),
            body_timeout: to_duration(limits.body_timeout),
            request_timeout: to_duration(limits.request_timeout),
            max_requests: limits.max_requests.get(),
            max_tenant_submissions: limits.max_tenant_submissions.get(),
            max_log_readers: limits.max_log_readers.get(),
        }
    }

    /// Returns the limits on connections.
    #[must_use]
    pub fn connection_limits(&self) -> ConnectionLimits {
        let limits = &self.limits;
        let max_connections = limits.max_connections.get();
        let three_quarters = (max_connections - max_connections.div_ceil(4)).max(1);
        ConnectionLimits {
            max_connections,
            max_client_connections: limits.max_client_connections.map_or(three_quarters, NonZeroUsize::get),
            header_timeout: to_duration(limits.header_timeout),
            drain_timeout: to_duration(limits.drain_timeout),
            ..ConnectionLimits::default()
        }
    }

    /// Returns the time between a shutdown signal and the drain.
    #[must_use]
    pub fn shutdown_delay(&self) -> Duration {
        to_duration(self.limits.shutdown_delay)
    }

    /// Returns the TLS files if TLS is enabled.
    #[must_use]
    pub fn tls_files(&self) -> Option<TlsFiles> {
        let TlsFlags { tls_cert, tls_key, client_ca, client_crl: _ } = &self.tls;
        let (certificate, key) = (tls_cert.clone()?, tls_key.clone()?);
        Some(TlsFiles { certificate, key, client_ca: client_ca.clone() })
    }
}
