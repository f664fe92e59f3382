//! Connections: accepted within limits of number and time, with TLS or without, until the server shuts down.

mod socket;
mod tls;

pub use tls::{Tls, TlsError, TlsFiles};

use crate::metrics::Metrics;
use crate::request::access::Access;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use socket::Lingering;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

/// What a connection may take of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The most connections at a time; more wait to be accepted.
    pub connections: usize,
    /// How long the head of a request may take to arrive, TLS included, and how long a connection may be idle.
    pub header_timeout: Duration,
    /// How long answers that are under way may take once the server is to stop.
    pub drain_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            header_timeout: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// So many bytes of a request's head are always read, and never more than twice as many. Beyond that, or with more than 100
/// headers, the answer is 431.
const HEAD_BYTES: usize = 64 * 1024;

/// Pause after a connection could not be accepted, which mostly means that there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is ready. Then accepts no more connections, closes the idle ones, and waits for the responses that are
/// under way, up to the drain timeout. Returns `true` if all of them were sent.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    tls: Option<Tls>,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()>,
) -> bool {
    let permits = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let shutdown = GracefulShutdown::new();
    let server = Server { router, limits, tls, metrics };
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => server.spawn_connection(stream, permit, shutdown.watcher()),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tokio::time::timeout(limits.drain_timeout, shutdown.shutdown()).await.is_ok()
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

/// The parts that each connection needs to serve its requests.
#[derive(Clone)]
struct Server {
    router: Router,
    limits: ConnectionLimits,
    tls: Option<Tls>,
    metrics: Arc<Metrics>,
}

impl Server {
    fn spawn_connection(&self, stream: TcpStream, permit: OwnedSemaphorePermit, watcher: Watcher) {
        let server = self.clone();
        tokio::spawn(async move {
            let (_permit, _counted) = (permit, server.metrics.connection());
            if let Err(error) = socket::prepare(&stream) {
                tracing::debug!(%error, "a connection broke off");
                return;
            }
            match &server.tls {
                None => server.serve_connection(stream, None, watcher).await,
                Some(tls) => {
                    match tokio::time::timeout(server.limits.header_timeout, tls.accept(stream)).await {
                        Ok(Ok((stream, access))) => server.serve_connection(stream, access, watcher).await,
                        Ok(Err(error)) => tracing::debug!(%error, "no TLS with this client"),
                        Err(_) => tracing::debug!("a client took too long for TLS"),
                    }
                }
            }
        });
    }

    /// Serves the requests of one connection, HTTP/1.1 only. A client that wants another version needs a proxy in front.
    async fn serve_connection<S>(&self, stream: S, access: Option<Access>, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            if let Some(access) = access {
                request.extensions_mut().insert(access);
            }
            // A router is always ready.
            router.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(Lingering::new(stream)), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection broke off");
        }
    }
}
