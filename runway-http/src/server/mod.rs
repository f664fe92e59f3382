//! Listening: connections within limits of number and time, with TLS or without, until it is time to stop.

mod socket;
mod tls;
mod unreadable;

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
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tower::Service;
use unreadable::Explained;

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

/// Once the server is to stop, a connection that has not sent a request yet may still do so for as long: its client cannot know.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// The most connections that are accepted once the server is to stop: as many as the system keeps waiting.
const BACKLOG: usize = 1024;

/// Serves until `stop` says so; then lets what is under way end, for a while. Returns whether all of it did.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    tls: Option<Tls>,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) -> bool {
    let room = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let (open, mut all_closed) = mpsc::channel::<Infallible>(1);
    let server = Server { router, limits, tls, metrics, stop: stop.clone(), _open: open };
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => server.begin(stream, permit),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Who has connected before is still answered.
    for stream in socket::waiting(listener).take(BACKLOG) {
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { break };
        server.begin(stream, permit);
    }
    drop(server);
    tokio::time::timeout(limits.drain_timeout, all_closed.recv()).await.is_ok()
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

/// What every connection is given.
#[derive(Clone)]
struct Server {
    router: Router,
    limits: ConnectionLimits,
    tls: Option<Tls>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
    /// Closed once no connection holds it any more.
    _open: mpsc::Sender<Infallible>,
}

impl Server {
    fn begin(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let server = self.clone();
        tokio::spawn(async move {
            let (_permit, _counted) = (permit, server.metrics.connection());
            if let Err(error) = socket::prepare(&stream) {
                tracing::debug!(%error, "a connection broke off");
                return;
            }
            match &server.tls {
                None => server.converse(stream, None).await,
                Some(tls) => {
                    match tokio::time::timeout(server.limits.header_timeout, tls.accept(stream)).await {
                        Ok(Ok((stream, access))) => server.converse(stream, access).await,
                        Ok(Err(error)) => tracing::debug!(%error, "no TLS with this client"),
                        Err(_) => tracing::debug!("a client took too long for TLS"),
                    }
                }
            }
        });
    }

    /// Answers one connection's requests. HTTP/1.1 alone is spoken: whoever wants more puts a proxy in front.
    async fn converse<S>(&self, stream: S, access: Option<Access>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let has_begun = Arc::new(AtomicBool::new(false));
        let (router, begins) = (self.router.clone(), Arc::clone(&has_begun));
        let service = service_fn(move |request: Request<Incoming>| {
            begins.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            if let Some(access) = access {
                request.extensions_mut().insert(access);
            }
            // A router is always ready.
            router.clone().call(request)
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(Explained::new(stream)), service);
        let stopped = tokio::select! {
            biased;
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => Some(ended),
            () = self.told_to_stop(&has_begun) => None,
        };
        let ended = match stopped {
            Some(ended) => ended,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                poll_fn(|context| connection.poll_without_shutdown(context)).await
            }
        };
        if let Err(error) = ended {
            if error.is_parse() {
                self.metrics.unreadable();
            }
            tracing::debug!(%error, "a connection broke off");
        }
        socket::close(connection.into_parts().io.into_inner()).await;
    }

    /// Returns when a connection is to take no more requests.
    async fn told_to_stop(&self, has_begun: &AtomicBool) {
        // Where the sender is gone, nobody will tell.
        if self.stop.clone().wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
        if !has_begun.load(Ordering::Relaxed) {
            tokio::time::sleep(FIRST_REQUEST).await;
        }
    }
}
