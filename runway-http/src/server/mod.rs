//! Listening: connections within limits of number and time, with TLS or without, until it is time to stop.

mod tls;

pub use tls::{Tls, TlsError, TlsFiles};

use crate::metrics::Metrics;
use crate::request::access::Access;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

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

/// The most bytes of a request's head. Beyond it, or with more than 100 headers, the answer is 431.
const HEAD_BYTES: usize = 64 * 1024;

/// Pause after a connection could not be accepted, which mostly means that there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` says so; then lets what is under way end, for a while. Returns whether all of it did.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    tls: Option<Tls>,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) -> bool {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    loop {
        let accepted = tokio::select! {
            // Who has connected before is still answered.
            biased;
            accepted = accept(&listener, &room) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (router, tls, watcher, metrics) =
            (router.clone(), tls.clone(), graceful.watcher(), Arc::clone(&metrics));
        tokio::spawn(async move {
            let (_permit, _counted) = (permit, metrics.connection());
            // An answer of few bytes is not held back to be sent with more.
            let _ = stream.set_nodelay(true);
            match tls {
                None => converse(stream, None, router, limits, watcher).await,
                Some(tls) => match tokio::time::timeout(limits.header_timeout, tls.accept(stream)).await {
                    Ok(Ok((stream, access))) => converse(stream, access, router, limits, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%error, "no TLS with this client"),
                    Err(_) => tracing::debug!("a client took too long for TLS"),
                },
            }
        });
    }
    drop(listener);
    tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_ok()
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Option<tokio::sync::OwnedSemaphorePermit>)> {
    // The semaphore is never closed.
    let permit = Arc::clone(room).acquire_owned().await.ok();
    let (stream, _): (_, SocketAddr) = listener.accept().await?;
    Ok((stream, permit))
}

/// Answers one connection's requests. HTTP/1.1 alone is spoken: whoever wants more puts a proxy in front.
async fn converse<S>(
    stream: S,
    access: Option<Access>,
    router: Router,
    limits: ConnectionLimits,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        let mut request = request.map(Body::new);
        if let Some(access) = access {
            request.extensions_mut().insert(access);
        }
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection broke off");
    }
}
