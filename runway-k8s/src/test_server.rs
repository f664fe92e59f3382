//! An API server on a socket with scripted responses. Its tests cover every layer of the client.

use crate::client::{Connection, connect};
use crate::protobuf::test_encode::{in_envelope, nested, string};
use kube::Client;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request that the server received.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedRequest {
    /// The method and the path with its query, such as `GET /api/v1/pods?limit=500`.
    pub(crate) line: String,
    pub(crate) body: Vec<u8>,
}

impl ReceivedRequest {
    pub(crate) fn is_create(&self) -> bool {
        self.line.starts_with("POST ") && self.line.contains("/jobs?")
    }

    pub(crate) fn is_list(&self) -> bool {
        self.line.starts_with("GET ") && self.line.contains("limit=")
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.line.contains("watch=true")
    }
}

/// A response of the server.
pub(crate) enum TestResponse {
    /// A complete response.
    Complete { status: u16, retry_after: Option<u32>, body: Vec<u8> },
    /// A response whose body stays open. Only these bytes arrive.
    Open(Vec<u8>),
}

impl TestResponse {
    pub(crate) fn ok(body: Vec<u8>) -> Self {
        Self::Complete { status: 200, retry_after: None, body }
    }

    /// A failure with a `Status` object.
    pub(crate) fn failure(status: u16, reason: &str) -> Self {
        let body =
            format!(r#"{{"kind": "Status", "code": {status}, "reason": "{reason}", "message": "no"}}"#);
        Self::Complete { status, retry_after: None, body: body.into_bytes() }
    }

    /// The response of a server that limits the number of requests. Its body is text, as in Kubernetes.
    pub(crate) fn busy(retry_after: Option<u32>) -> Self {
        Self::Complete { status: 429, retry_after, body: b"Too many requests\n".to_vec() }
    }

    /// The response of a healthy server without objects to a list or a watch.
    pub(crate) fn without_objects(request: &ReceivedRequest) -> Self {
        if request.is_watch() {
            return Self::Open(Vec::new());
        }
        assert!(request.is_list(), "{}", request.line);
        Self::ok(in_envelope(&[(1, nested(&[(2, string("10"))]))]))
    }
}

/// The server. It accepts connections until the runtime of the test ends.
pub(crate) struct TestServer {
    port: u16,
    requests: Arc<Mutex<Vec<ReceivedRequest>>>,
}

impl TestServer {
    pub(crate) async fn start(
        respond: impl Fn(&ReceivedRequest) -> TestResponse + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (respond, requests) = (Arc::new(respond), Arc::<Mutex<Vec<_>>>::default());
        let received = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&respond), Arc::clone(&received)));
            }
        });
        Self { port, requests }
    }

    /// Returns a client of this server, with all layers of a client for a real cluster.
    pub(crate) async fn client(&self) -> Client {
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{}'}}}}]\n\
             users: [{{name: a, user: {{token: t}}}}]\n",
            self.port
        );
        let random = runway_control::Env::random(&runway_control::SystemEnv);
        let path = std::env::temp_dir().join(format!("runway-test-server-{random:x}"));
        std::fs::write(&path, kubeconfig).unwrap();
        let connection = Connection { kubeconfig: Some(path.clone()), context: None };
        let client = connect(&connection).await.unwrap();
        std::fs::remove_file(path).unwrap();
        client
    }

    /// Returns the number of received requests that satisfy a condition.
    pub(crate) fn count(&self, condition: impl Fn(&ReceivedRequest) -> bool) -> usize {
        self.requests.lock().unwrap().iter().filter(|request| condition(request)).count()
    }
}

/// Serves the requests of one connection.
async fn serve(
    stream: TcpStream,
    respond: Arc<impl Fn(&ReceivedRequest) -> TestResponse>,
    requests: Arc<Mutex<Vec<ReceivedRequest>>>,
) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await {
        requests.lock().unwrap().push(request.clone());
        match respond(&request) {
            TestResponse::Complete { status, retry_after, body } => {
                let retry_after =
                    retry_after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{retry_after}\r\n", body.len());
                stream.write_all(&[head.into_bytes(), body].concat()).await.unwrap();
            }
            TestResponse::Open(bytes) => {
                let head = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
                let chunk = match bytes.len() {
                    0 => Vec::new(),
                    length => [format!("{length:x}\r\n").into_bytes(), bytes, b"\r\n".to_vec()].concat(),
                };
                stream.write_all(&[head, chunk].concat()).await.unwrap();
                return std::future::pending().await;
            }
        }
    }
}

/// Reads one request. Returns `None` if the client has closed the connection.
async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<ReceivedRequest> {
    let mut line = String::new();
    let mut content_length = 0;
    stream.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok().filter(|length| *length > 0)?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(length) = header.strip_prefix("content-length:") {
            content_length = length.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; content_length];
    stream.read_exact(&mut body).await.ok()?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Some(ReceivedRequest { line, body })
}
