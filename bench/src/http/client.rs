//! HTTP clients with persistent connections. Each connection sends its requests sequentially.

use crate::timing::BenchResult;
use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

type RequestError = Box<dyn Error + Send + Sync>;

/// A pool of connections. A connection serves one request at a time.
#[derive(Clone)]
pub(super) struct Clients {
    address: SocketAddr,
    free: Arc<Mutex<Vec<SendRequest<Body>>>>,
}

impl Clients {
    pub(super) async fn connect(address: SocketAddr, count: usize) -> BenchResult<Self> {
        let mut free = Vec::with_capacity(count);
        for _ in 0..count {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            free.push(sender);
        }
        Ok(Self { address, free: Arc::new(Mutex::new(free)) })
    }

    pub(super) async fn post(
        &self,
        path: &'static str,
        body: Bytes,
        status: u16,
    ) -> Result<(), RequestError> {
        self.send(Method::POST, path, body, status).await
    }

    pub(super) async fn get(&self, path: &'static str) -> Result<(), RequestError> {
        self.send(Method::GET, path, Bytes::new(), 200).await
    }

    /// Sends a request, reads the whole response, and checks its status.
    async fn send(
        &self,
        method: Method,
        path: &'static str,
        body: Bytes,
        status: u16,
    ) -> Result<(), RequestError> {
        let mut sender = self.free.lock().await.pop().ok_or("more requests than connections")?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("content-type", "application/json")
            .body(Body::from(body))?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let actual = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        if actual != status {
            return Err(format!("{path}: {actual}: {}", String::from_utf8_lossy(&body)).into());
        }
        self.free.lock().await.push(sender);
        Ok(())
    }
}
