//! The server: opens a backend and serves the API until it receives a shutdown signal.

mod backends;
mod error;

use clap::Parser;
use error::ServeError;
use runway_control::{ControlPlane, Settings, SystemEnv};
use runway_core::ErrorChain;
use runway_http::flags::{Flags, LogFormat};
use runway_http::metrics::Metrics;
use runway_http::server::{ConnectionLimits, Tls, serve};
use runway_http::tasks::EssentialTasks;
use runway_http::{AppState, app, ops, reload};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Disables the log of the Kubernetes client, because the client logs responses that it cannot parse. Such a
/// response can contain secrets.
const KUBE_CLIENT_FILTER: &str = "kube_client=off";

fn main() -> ExitCode {
    // Each local job has a supervisor, which is another process of this program. In such a process, this call
    // runs the supervisor and exits.
    #[cfg(target_os = "linux")]
    runway_local::reexec_init();
    let flags = Flags::parse();
    if let Err(error) = flags.check_exposure() {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    if let Err(error) = init_tracing(&flags) {
        eprintln!("error: `--log {}`: {error}", flags.log);
        return ExitCode::from(2);
    }
    // Install the only TLS implementation of this program before its first use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "failed to start the async runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&flags)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("{}", ErrorChain::new(&error));
            ExitCode::FAILURE
        }
    }
}

fn init_tracing(flags: &Flags) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(format!("{},{KUBE_CLIENT_FILTER}", flags.log))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match flags.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(true).with_span_list(false).init();
        }
    }
    Ok(())
}

/// Serves until a shutdown signal, or until a part of the server fails. Returns whether all in-flight requests
/// were completed.
async fn run(flags: &Flags) -> Result<bool, ServeError> {
    let mut signals = ShutdownSignals::subscribe().map_err(ServeError::Signals)?;
    // Handle SIGHUP before any slow operation: its default action terminates the process.
    let hangup = || signal(SignalKind::hangup()).map_err(ServeError::Signals);
    let [policy_hangups, tls_hangups] = [hangup()?, hangup()?];
    let mut source = flags.policy_source()?;
    let policy = source.load().await?;
    let load_tls = |files| Tls::load_with_crl(files, flags.tls.client_crl.clone());
    let tls = flags.tls_files().map(load_tls).transpose()?;
    let listener = bind(flags.listen).await?;
    let ops_listener = match flags.listen_ops {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    log_exposure(&listener, tls.as_ref())?;
    if let Some(listener) = &ops_listener {
        tracing::info!(address = %local_address(listener)?, "probes and metrics");
    }

    let backend = backends::open(flags, &policy).await?;
    let metrics = Arc::new(Metrics::default());
    let observer = Arc::clone(&metrics);
    let plane =
        ControlPlane::with_observer(backend, policy, Arc::new(SystemEnv), Settings::default(), observer);
    let state = AppState::new(plane.clone(), Arc::clone(&metrics), flags.request_limits())
        .with_host_rules(flags.host_rules());
    let state = if flags.tls.client_ca.is_some() { state.with_required_access() } else { state };
    let mut tasks = EssentialTasks::new(state.clone());
    tasks.spawn("control loop", plane.clone().run());
    tasks.spawn(
        "reload of the policy",
        reload::watch_policy(source, plane, Arc::clone(&metrics), policy_hangups),
    );
    if let Some(tls) = tls.clone() {
        tasks.spawn("reload of the TLS files", reload_tls(tls, tls_hangups));
    }

    let [stop, stop_ops] = [(); 2].map(|()| Arc::new(Notify::new()));
    let limits = flags.connection_limits();
    raise_fd_limit(limits);
    let routes = app(state.clone());
    let main = serve(listener, routes, limits, tls, Arc::clone(&metrics), Arc::clone(&stop).notified_owned());
    let mut main = tokio::spawn(main);
    let probes = ops_listener.map(|listener| {
        let stopped = Arc::clone(&stop_ops).notified_owned();
        tokio::spawn(serve(listener, ops(state.clone()), limits, None, Arc::clone(&metrics), stopped))
    });

    let delay = flags.shutdown_delay();
    let failure = tokio::select! {
        () = signals.recv() => {
            tracing::info!(delay_seconds = delay.as_secs(), "shutdown signal received; no longer ready");
            None
        }
        ended = tasks.ended() => {
            tracing::error!(delay_seconds = delay.as_secs(), "{}; no longer ready", ErrorChain::new(&ended));
            Some(ended)
        }
        served = &mut main => return served.map_err(ServeError::from),
    };
    state.mark_stopping();
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = signals.recv() => return Ok(false),
    }
    state.begin_drain();
    stop.notify_one();
    let answered = tokio::select! {
        answered = &mut main => answered?,
        () = signals.recv() => return Ok(false),
    };
    stop_ops.notify_one();
    if let Some(probes) = probes {
        probes.await?;
    }
    if answered {
        tracing::info!("shutdown complete; all in-flight requests were answered");
    } else {
        tracing::error!("shutdown incomplete; some requests exceeded `--drain-timeout`");
    }
    match failure {
        Some(ended) => Err(ended.into()),
        None => Ok(answered),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, ServeError> {
    listener.local_addr().map_err(ServeError::LocalAddress)
}

/// Logs how the listener is protected, which depends on the flags.
fn log_exposure(listener: &TcpListener, tls: Option<&Tls>) -> Result<(), ServeError> {
    let address = local_address(listener)?;
    let protection = match tls {
        Some(tls) if tls.is_mutual() => {
            "mutual TLS: the organizational unit of the client certificate is the role"
        }
        Some(_) => "none: connections are encrypted, but every client has full access",
        None => "none: every client has full access",
    };
    let is_open = !address.ip().is_loopback() && tls.is_none_or(|tls| !tls.is_mutual());
    if is_open {
        tracing::warn!(%address, protection, "listening on a non-loopback address without client certificates; protect it with a network policy or a proxy");
    } else {
        tracing::info!(%address, protection, "listening");
    }
    Ok(())
}

/// Raises the soft limit on open files to the hard limit. Each connection is an open file, and the default
/// soft limit on many systems is 1024.
fn raise_fd_limit(limits: ConnectionLimits) {
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: allowed.maximum, ..allowed };
    // If the call fails, the current limit stays.
    let _ = setrlimit(Resource::Nofile, raised);
    let files = getrlimit(Resource::Nofile).current;
    let wanted = u64::try_from(limits.max_connections).unwrap_or(u64::MAX);
    if let Some(files) = files.filter(|files| *files <= wanted) {
        tracing::warn!(
            files,
            connections = wanted,
            "the limit on open files is not above the limit on connections"
        );
    }
}

async fn reload_tls(tls: Tls, mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        match tls.reload() {
            Ok(()) => tracing::info!("TLS files reloaded"),
            Err(error) => {
                tracing::error!("TLS reload failed; the active files stay: {}", ErrorChain::new(&error));
            }
        }
    }
}

/// The signals that start the shutdown.
struct ShutdownSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl ShutdownSignals {
    fn subscribe() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
