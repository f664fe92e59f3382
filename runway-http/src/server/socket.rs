//! What is asked of the system for a connection.

use rustix::net::sockopt;
#[cfg(target_os = "linux")]
use socket2::{SockFilter, SockRef};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// After so long without a word the system asks whether the other end is still there.
#[cfg(target_os = "linux")]
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A client that takes nothing of what is sent to it for so long has gone, or might as well have.
#[cfg(target_os = "linux")]
const STALLED: Duration = Duration::from_secs(300);

/// As much of what nobody wants any more is read of a client, and for as long.
const UNWANTED_BYTES: u64 = 16 * 1024 * 1024;
const UNWANTED_TIME: Duration = Duration::from_secs(2);

/// A client that vanishes without a word, or stops reading, must not hold what it has for ever: the logs of a silent job are
/// followed for hours.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    // An answer of few bytes is not held back to be sent with more.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(target_os = "linux")]
    {
        sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
        let stalled = u32::try_from(STALLED.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(stream, stalled)?;
    }
    Ok(())
}

/// Ends a connection. What the client is still sending is read for a while and thrown away: to a client that sends to a closed
/// connection the system says so by a reset, which can overtake the answer, and the answer says why it was not wanted.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut rest = stream.take(UNWANTED_BYTES);
    // Whether it ends, breaks or takes too long is all the same.
    let _ = tokio::time::timeout(UNWANTED_TIME, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}

/// Has the system take no more connections. Who connected after the last one was accepted, and before nobody listens, would lose what
/// it sent; so whoever comes now is not answered at all, asks once more, and is told then that nobody listens.
#[cfg(target_os = "linux")]
fn let_nobody_in(listener: &TcpListener) {
    /// A filter of packets that returns 0: nothing of any is taken (`BPF_RET | BPF_K`, linux/filter.h).
    const NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);
    if let Err(error) = SockRef::from(listener).attach_filter(&[NOTHING]) {
        tracing::debug!(%error, "who connects at this moment may lose a request");
    }
}

/// The connections that wait to be accepted; then nobody listens any more.
pub(super) fn waiting(listener: TcpListener) -> impl Iterator<Item = TcpStream> {
    #[cfg(target_os = "linux")]
    let_nobody_in(&listener);
    let listener = listener.into_std();
    std::iter::from_fn(move || {
        let (stream, _) = listener.as_ref().ok()?.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        TcpStream::from_std(stream).ok()
    })
}
