//! What is said of a head that cannot be read. hyper answers it by itself, without a body and before any service is asked; here
//! its answer becomes one like all others, on its way to the client.

use super::HEAD_BYTES;
use crate::problem::{Fault, Kind, document};
use crate::request::id::RequestIds;
use axum::http::HeaderMap;
use bytes::{Buf, Bytes};
use runway_api::REQUEST_HEADER;
use runway_control::{Surroundings, System};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection on which hyper's own answers get a body.
pub(super) struct Explained<S> {
    stream: S,
    /// What goes to the client in the place of hyper's own answer, as far as it is not sent.
    answer: Bytes,
}

impl<S> Explained<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, answer: Bytes::new() }
    }
}

impl<S: AsyncWrite + Unpin> Explained<S> {
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.answer.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &self.answer))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.answer.advance(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the place of these bytes, where they are an answer of hyper's own.
    fn replaces(&mut self, bytes: &[u8]) -> bool {
        self.answer = explained(bytes).unwrap_or_default();
        !self.answer.is_empty()
    }
}

/// The answer with a body, where this is one of hyper's own: a head without the id that every answer of ours has.
fn explained(bytes: &[u8]) -> Option<Bytes> {
    let (kind, detail) = match bytes.strip_prefix(b"HTTP/1.1 ")?.first_chunk()? {
        b"400" => (Kind::Malformed, "the head of the request is not that of an HTTP/1.1 request".to_owned()),
        b"414" => (Kind::UriTooLong, "the path and query of a request may have 65534 bytes".to_owned()),
        b"431" => {
            (Kind::HeadTooLarge, format!("the head of a request may have {HEAD_BYTES} bytes and 100 headers"))
        }
        _ => return None,
    };
    let head = std::str::from_utf8(bytes).ok()?;
    let (status, rest) = head.split_once("content-length: 0\r\n")?;
    if head.find("\r\n\r\n") != Some(head.len() - 4) || head.contains(REQUEST_HEADER) {
        return None;
    }
    let ids = RequestIds::of(&HeaderMap::new(), System.random());
    tracing::debug!(request = ids.id.as_str(), trace = ids.trace.id(), detail, "a head could not be read");
    let (parts, body) = document(&Fault::new(kind, detail), &ids).into_parts();
    let mut answer = format!("{status}content-length: {}\r\n", body.len()).into_bytes();
    for (name, value) in &parts.headers {
        answer.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    answer.extend(rest.as_bytes());
    answer.extend(body);
    Some(answer.into())
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_answer(context))?;
        if self.replaces(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_answer(context))?;
        let mut filled = parts.iter().filter(|part| !part.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && self.replaces(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const OWN: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: Sat, 21 Nov 2026 08:00:00 GMT\r\n\r\n";

    async fn sent(parts: &[&str], room: usize) -> String {
        let (mut client, server) = tokio::io::duplex(room);
        let parts: Vec<_> = parts.iter().map(|part| (*part).to_owned()).collect();
        let writing = tokio::spawn(async move {
            let mut server = Explained::new(server);
            for part in parts {
                server.write_all(part.as_bytes()).await.unwrap();
            }
            server.shutdown().await.unwrap();
        });
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        writing.await.unwrap();
        text
    }

    #[tokio::test]
    async fn an_answer_of_hypers_own_gets_a_body() {
        // Also where the client takes a byte at a time.
        for room in [1, 7, 4096] {
            let text = sent(&[OWN], room).await;
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"),
                "{head}"
            );
            assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
            assert!(head.ends_with("\r\ndate: Sat, 21 Nov 2026 08:00:00 GMT"), "{head}");
            let problem: runway_api::Problem = serde_json::from_str(body).unwrap();
            assert_eq!((problem.kind.as_str(), problem.status), ("urn:runway:problem:head-too-large", 431));
            assert!(head.contains(&format!("\r\nx-request-id: {}\r\n", problem.instance)), "{head}");
        }
    }

    #[tokio::test]
    async fn every_other_answer_stays_as_it_is() {
        let ours = OWN.replace("connection", "x-request-id: 7\r\nconnection");
        let fine = OWN.replace("431", "200");
        let filled = OWN.replace(": 0", ": 2") + "{}";
        let followed = format!("{OWN}{OWN}");
        let cut = OWN.strip_suffix("\r\n").unwrap();
        for text in [ours.as_str(), &fine, &filled, &followed, cut, "HTTP/1.1 4", "HTTP/1.1 431", ""] {
            assert_eq!(sent(&[text], 64).await, text);
            assert_eq!(sent(&["x", text], 64).await, format!("x{text}"));
        }
    }
}
