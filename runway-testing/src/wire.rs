//! A minimal HTTP/1.1 client. It sends requests that a client library would not send.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Limit on each wait, for example for a response.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A complete response.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The headers. Their names are in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// Returns the value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body as a string.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Returns the body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the kind of the problem in the body, without its URN prefix. Asserts that the body is a
    /// problem with the status and the request id of the response.
    #[must_use]
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert_eq!(problem["instance"], self.header("x-request-id").unwrap(), "{problem}");
        problem["type"].as_str().unwrap().trim_start_matches("urn:runway:problem:").to_owned()
    }

    /// Returns `true` if the response announces that the server closes the connection after it.
    #[must_use]
    pub fn closes_connection(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

/// A connection to the server.
#[derive(Debug)]
pub struct RawConnection<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
}

impl RawConnection {
    /// Connects to the server.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::new(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawConnection<S> {
    /// Wraps an open stream.
    pub const fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Closes the sending direction.
    pub async fn shut_down_write(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Sends a request and returns the response.
    pub async fn exchange(&mut self, bytes: impl AsRef<[u8]>) -> HttpResponse {
        self.send(bytes).await.unwrap();
        self.response().await.expect("a response")
    }

    /// Returns the next response, or `None` if the connection closes before a complete response.
    pub async fn response(&mut self) -> Option<HttpResponse> {
        let read = tokio::time::timeout(TIMEOUT, self.read_response());
        read.await.expect("a response or a closed connection").ok()
    }

    /// Reads the head of the next response.
    pub async fn head(&mut self) -> io::Result<HttpResponse> {
        loop {
            let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                let head = String::from_utf8(head).unwrap();
                let mut lines = head.trim_end().split("\r\n");
                let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
                let headers =
                    lines.map(|line| line.split_once(": ").unwrap_or_else(|| line.split_once(':').unwrap()));
                let headers =
                    headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
                return Ok(HttpResponse { status, headers, body: Vec::new() });
            }
            self.read_more().await?;
        }
    }

    async fn read_response(&mut self) -> io::Result<HttpResponse> {
        let mut response = self.head().await?;
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await? {
                response.body.extend(chunk);
            }
        } else {
            let length = response.header("content-length").map_or(0, |text| text.parse().unwrap());
            while self.buffer.len() < length {
                self.read_more().await?;
            }
            response.body = self.buffer.drain(..length).collect();
        }
        Ok(response)
    }

    /// Reads the next chunk of a body. `None` marks the end of the body.
    pub async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line().await?;
        let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
        while self.buffer.len() < size + 2 {
            self.read_more().await?;
        }
        let chunk: Vec<u8> = self.buffer.drain(..size).collect();
        self.buffer.drain(..2);
        Ok((size > 0).then_some(chunk))
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return String::from_utf8(line[..end].to_vec()).map_err(io::Error::other);
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }

    /// Waits until the server closes the connection. Returns `true` if the server sent no data after the last
    /// response that was read.
    pub async fn closed_without_data(&mut self) -> bool {
        let closed = async {
            loop {
                if self.read_more().await.is_err() {
                    return self.buffer.is_empty();
                }
            }
        };
        tokio::time::timeout(TIMEOUT, closed).await.expect("a closed connection")
    }
}

/// Returns a `GET` request without a body.
#[must_use]
pub fn get(path: &str) -> String {
    request("GET", path, "", "")
}

/// Returns a request. Each header line in `headers` must end with `\r\n`.
#[must_use]
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n{body}")
}

/// Returns a `POST` request with a JSON body.
#[must_use]
pub fn post(path: &str, headers: &str, body: &str) -> String {
    request("POST", path, &format!("Content-Type: application/json\r\n{headers}"), body)
}

/// Returns a job in JSON.
#[must_use]
pub fn job(name: &str, tenant: &str) -> String {
    format!(r#"{{"name":"{name}","tenant":"{tenant}","image":"registry.internal/embed:1.8.0"}}"#)
}

/// Sends one request on a new connection and returns the response.
pub async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> HttpResponse {
    RawConnection::connect(address).await.unwrap().exchange(bytes).await
}

/// Returns the value of a metric, or 0 if it is missing.
#[must_use]
pub fn metric(metrics: &str, series: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap_or_else(|_| panic!("{series} {value}")))
}

/// Waits until a condition holds. Panics after [`TIMEOUT`].
pub async fn wait_until(awaited: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "timed out waiting for {awaited}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
