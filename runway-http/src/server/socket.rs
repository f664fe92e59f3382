//! Socket options of a connection, and its graceful close.

use rustix::net::sockopt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Idle time after which the kernel probes whether the client still exists.
#[cfg(target_os = "linux")]
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Time after which the kernel drops a connection whose client acknowledges none of the bytes sent to it.
#[cfg(target_os = "linux")]
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(300);

/// Maximum number of bytes that a [`Lingering`] stream reads and discards during its shutdown.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// Time for which a [`Lingering`] stream reads and discards data during its shutdown.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Sets the options of a connection. They let the kernel detect a client that vanished or stopped reading.
///
/// Without them, such a client would hold its connection forever. An idle timeout cannot replace them,
/// because a client that follows the log of a silent job can be idle for hours.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Send small responses at once instead of collecting them.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(target_os = "linux")]
    {
        sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
        let timeout = u32::try_from(WRITE_STALL_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(stream, timeout)?;
    }
    Ok(())
}

/// A stream whose shutdown lingers: it closes its write half, then reads and discards data from the client.
/// It stops after 16 MiB or 2 s.
///
/// If a client sends data to a closed connection, the kernel replies with a reset. The reset can overtake the
/// response, and the client then does not learn why the server did not read its body.
pub(super) struct Lingering<S> {
    stream: S,
    state: LingerState,
}

/// Progress of the shutdown of a [`Lingering`] stream.
enum LingerState {
    /// The stream is in use.
    Open,
    /// The write half is shut down. The stream discards up to `remaining` more bytes until the deadline.
    Discarding { remaining: usize, deadline: Pin<Box<Sleep>> },
}

impl<S> Lingering<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, state: LingerState::Open }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                LingerState::Open => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
                    let deadline = Box::pin(tokio::time::sleep(LINGER_TIME));
                    this.state = LingerState::Discarding { remaining: LINGER_BYTES, deadline };
                }
                LingerState::Discarding { remaining, deadline } => {
                    if deadline.as_mut().poll(context).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                    let mut bytes = [0; 8 * 1024];
                    let mut buffer = ReadBuf::new(&mut bytes);
                    let read = ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer));
                    let count = buffer.filled().len();
                    *remaining = remaining.saturating_sub(count);
                    // Stop lingering at the end of the stream, after an error, and at the byte limit.
                    if read.is_err() || count == 0 || *remaining == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}
