//! API calls in protobuf: all calls decode their responses, and `create` also encodes the Job.
//!
//! `kube` builds and sends the requests. It supports only JSON, so this module encodes and decodes the
//! bodies.

use crate::protobuf::{self, CreateResponse, DecodeError, Message, Page, RawWatchEvent, encode};
use bytes::{Buf, Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http_body_util::BodyExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{GetParams, ListParams, PostParams, WatchParams};
use kube::client::Body;
use kube::core::{Request, Status};
use kube::{Client, Error, Resource, Result};
use std::marker::PhantomData;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/vnd.kubernetes.protobuf");
const PROTOBUF_STREAM: HeaderValue =
    HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch");

/// An API client for the objects of one kind, in one namespace or in all.
pub(crate) struct ProtobufApi<K> {
    client: Client,
    request: Request,
    kind: PhantomData<fn() -> K>,
}

impl<K> ProtobufApi<K>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    pub(crate) fn new(client: Client, namespace: Option<&str>) -> Self {
        Self { client, request: Request::new(K::url_path(&(), namespace)), kind: PhantomData }
    }

    pub(crate) async fn get(&self, name: &str) -> Result<K> {
        let request = self.request.get(name, &GetParams::default()).map_err(Error::BuildRequest)?;
        self.fetch(request).await
    }

    pub(crate) async fn list(&self, parameters: &ListParams) -> Result<Page<K>> {
        self.fetch(self.request.list(parameters).map_err(Error::BuildRequest)?).await
    }

    /// Watches the changes after a resource version.
    pub(crate) async fn watch(&self, parameters: &WatchParams, version: &str) -> Result<WatchStream<K>> {
        let request = self.request.watch(parameters, version).map_err(Error::BuildRequest)?;
        let body = self.send(request, PROTOBUF_STREAM).await?;
        Ok(WatchStream { body, frames: FrameBuffer::default(), kind: PhantomData })
    }

    async fn fetch<T: Message>(&self, request: http::Request<Vec<u8>>) -> Result<T> {
        let response = self.send(request, PROTOBUF).await?.collect_bytes().await?;
        protobuf::decode_object(&response).map_err(decode_failed)
    }

    async fn send(&self, mut request: http::Request<Vec<u8>>, accept: HeaderValue) -> Result<Body> {
        request.headers_mut().insert(ACCEPT, accept);
        let (head, body) = self.client.send(request.map(Body::from)).await?.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let body = body.collect_bytes().await?;
        Err(Error::Api(Box::new(error_status(head.status.as_u16(), &body))))
    }
}

impl ProtobufApi<Job> {
    pub(crate) async fn create(&self, parameters: &PostParams, job: &Job) -> Result<CreateResponse> {
        let (body, content_type) = match encode::encode_job(job) {
            Ok(body) => (body, PROTOBUF),
            Err(error) => {
                tracing::warn!(%error, "sending a Job as JSON");
                (serde_json::to_vec(job).map_err(Error::SerdeError)?, JSON)
            }
        };
        let mut request = self.request.create(parameters, body).map_err(Error::BuildRequest)?;
        request.headers_mut().insert(CONTENT_TYPE, content_type);
        self.fetch(request).await
    }
}

fn decode_failed(error: DecodeError) -> Error {
    Error::Service(Box::new(error))
}

/// Decodes the status of a failed request. The body may be protobuf, JSON, or text from a proxy.
pub(crate) fn error_status(code: u16, body: &[u8]) -> Status {
    let decoded = protobuf::decode_object::<Status>(body).ok().or_else(|| serde_json::from_slice(body).ok());
    let mut status = decoded.unwrap_or_else(|| {
        Status::failure(String::from_utf8_lossy(body).trim(), "Failed to parse error data")
    });
    if status.code == 0 {
        status.code = code;
    }
    status
}

/// The stream of watch events of one kind.
pub(crate) struct WatchStream<K> {
    body: Body,
    frames: FrameBuffer,
    kind: PhantomData<fn() -> K>,
}

impl<K: Message> WatchStream<K> {
    /// Returns the next event. `None` if the connection has ended or was interrupted.
    pub(crate) async fn next(&mut self) -> Option<Result<RawWatchEvent<K>>> {
        loop {
            match self.frames.next() {
                Ok(Some(frame)) => return Some(protobuf::decode_watch_event(&frame).map_err(decode_failed)),
                Ok(None) => {}
                Err(error) => return Some(Err(Error::Service(Box::new(error)))),
            }
            match self.body.frame().await? {
                Ok(chunk) => self.frames.0.extend_from_slice(chunk.data_ref().map_or(&[], |data| data)),
                Err(error) => {
                    tracing::debug!(%error, "watch connection ended with an error");
                    return None;
                }
            }
        }
    }
}

/// The maximum length of a frame. An object has at most a few megabytes, because etcd stores no larger ones.
const MAX_FRAME_BYTES: usize = 16 << 20;

/// The length of a frame exceeds [`MAX_FRAME_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a watch event of {length} bytes exceeds the limit")]
struct FrameTooLarge {
    length: usize,
}

/// Received bytes. Each event is preceded by its length as a big-endian `u32`.
#[derive(Default)]
struct FrameBuffer(BytesMut);

impl FrameBuffer {
    /// Returns the next frame. `None` if it has not arrived completely.
    fn next(&mut self) -> Result<Option<Bytes>, FrameTooLarge> {
        let Some(length) = self.0.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME_BYTES {
            return Err(FrameTooLarge { length });
        }
        if self.0.len() - 4 < length {
            return Ok(None);
        }
        self.0.advance(4);
        Ok(Some(self.0.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::test_encode::{in_envelope, int, nested, string};

    #[test]
    fn error_status_parses_protobuf_json_and_text() {
        let parsed = |code, body: &[u8]| {
            let Status { code, reason, message, .. } = error_status(code, body);
            (code, reason, message)
        };
        let conflict = (409, "AlreadyExists".to_owned(), "it is there".to_owned());
        let fields = [(3, string("it is there")), (4, string("AlreadyExists")), (6, int(409))];
        assert_eq!(parsed(409, &in_envelope(&fields)), conflict);
        assert_eq!(parsed(409, &in_envelope(&fields[..2])), conflict);
        let json = br#"{"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": "it is there"}"#;
        assert_eq!(parsed(409, json), conflict);
        let cause = nested(&[(1, string("NamespaceTerminating")), (3, string("metadata.namespace"))]);
        let details = nested(&[(1, string("jobs")), (3, string("namespaces")), (4, cause), (5, int(7))]);
        let status = error_status(404, &in_envelope(&[(3, string("gone")), (5, details)]));
        let details = status.details.unwrap();
        assert_eq!((details.kind.as_str(), details.retry_after_seconds), ("namespaces", 7));
        assert_eq!(details.causes[0].reason, "NamespaceTerminating");
        let proxy = parsed(502, b"Bad Gateway\n");
        assert_eq!((proxy.0, proxy.2.as_str()), (502, "Bad Gateway"));
        assert_eq!(parsed(500, b"").0, 500);
    }
}
