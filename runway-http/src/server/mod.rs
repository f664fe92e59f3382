//! Accepts connections within limits on number and time, with or without TLS, until the server shuts down.

mod clients;
mod session;
mod slow_reader;
mod socket;
mod tls;

pub use tls::{Tls, TlsError, TlsFiles};

use crate::metrics::Metrics;
use crate::streaming::StreamingResponse;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use clients::{ClientConnection, ClientConnections};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runway_control::{Env, SystemEnv};
use session::ClientSession;
use slow_reader::{MayPause, WriteTimeout};
use socket::Lingering;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::Service;

/// Limits on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Maximum number of open connections. Further clients wait in the accept backlog.
    pub max_connections: usize,
    /// Maximum number of open connections of one client address. Further ones are closed.
    pub max_client_connections: usize,
    /// Time limit for a TLS handshake, for the head of a request, and for an idle connection.
    pub header_timeout: Duration,
    /// Time after which a client that does not read its response is disconnected. It does not apply to the
    /// output of jobs and to the events of the overview page.
    pub write_timeout: Duration,
    /// Maximum age of a connection with a client certificate. So a client that must no longer have access
    /// loses it in this time.
    pub max_session_age: Duration,
    /// Time limit for in-flight responses after the server has stopped accepting connections, or after a
    /// session has ended.
    pub drain_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_client_connections: 3072,
            header_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(30),
            max_session_age: Duration::from_secs(59 * 60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// Buffer size for the head of a request. A head of this size is always accepted, and a head of twice this
/// size never. If a head is too large, or has more than 100 headers, the response is 431.
const HEAD_BUFFER_BYTES: usize = 64 * 1024;

/// Delay after a failed accept. The usual cause is the limit on open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves requests until `stop` completes. Then the server stops accepting connections, closes idle
/// connections, and waits for in-flight responses, up to the drain timeout. Returns `true` if all responses
/// were sent.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    tls: Option<Tls>,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()>,
) -> bool {
    let permits = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
    let clients = ClientConnections::new(limits.max_client_connections);
    let shutdown = watch::Sender::new(());
    let server = Server { router, limits, tls, metrics };
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((stream, address, permit)) => match clients.try_acquire(address) {
                Some(client) => {
                    let permit = ConnectionPermit { _connection: permit, _client: client };
                    server.spawn_connection(stream, permit, shutdown.subscribe());
                }
                None => tracing::debug!(%address, "connection closed: its client has too many connections"),
            },
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    drop(listener);
    shutdown.send_replace(());
    // Each connection has a receiver until it ends.
    tokio::time::timeout(limits.drain_timeout, shutdown.closed()).await.is_ok()
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address.ip(), permit))
}

/// Counts one connection towards all limits on connections.
struct ConnectionPermit {
    _connection: OwnedSemaphorePermit,
    _client: ClientConnection,
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
    fn spawn_connection(&self, stream: TcpStream, permit: ConnectionPermit, shutdown: watch::Receiver<()>) {
        let server = self.clone();
        tokio::spawn(async move {
            let (_permit, _connection) = (permit, server.metrics.count_connection());
            if let Err(error) = socket::prepare(&stream) {
                tracing::debug!(%error, "connection failed");
                return;
            }
            match &server.tls {
                None => server.serve_connection(stream, None, shutdown).await,
                Some(tls) => {
                    match tokio::time::timeout(server.limits.header_timeout, tls.accept(stream)).await {
                        Ok(Ok((stream, session))) => server.serve_connection(stream, session, shutdown).await,
                        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                        Err(_) => tracing::debug!("TLS handshake timed out"),
                    }
                }
            }
        });
    }

    /// Serves the requests of one connection. Only HTTP/1.0 and HTTP/1.1 are supported. Clients that use
    /// HTTP/2 need a proxy in front of the server.
    async fn serve_connection<S>(
        &self,
        stream: S,
        session: Option<ClientSession>,
        mut shutdown: watch::Receiver<()>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, may_pause) = (self.router.clone(), MayPause::default());
        let stream = WriteTimeout::new(stream, self.limits.write_timeout, may_pause.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            if let Some(session) = session {
                request.extensions_mut().insert(session.access(SystemEnv.now()));
            }
            // A router is always ready, so `poll_ready` is not needed.
            let (response, may_pause) = (router.clone().call(request), may_pause.clone());
            async move {
                let response = response.await?;
                may_pause.set(response.extensions().get::<StreamingResponse>().is_some());
                Ok::<_, Infallible>(response)
            }
        });
        let session_end = async {
            match session {
                Some(session) => {
                    let remaining = session.remaining(SystemEnv.now(), self.limits.max_session_age);
                    tokio::time::sleep(remaining).await;
                }
                None => std::future::pending().await,
            }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(HEAD_BUFFER_BYTES)
            .serve_connection(TokioIo::new(Lingering::new(stream)), service);
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            biased;
            _ = shutdown.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
            () = session_end => {
                connection.as_mut().graceful_shutdown();
                let drained = tokio::time::timeout(self.limits.drain_timeout, connection.as_mut()).await;
                // The client can resume a log that is interrupted here on a new connection.
                drained.unwrap_or(Ok(()))
            }
            result = connection.as_mut() => result,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "connection failed");
        }
    }
}
