//! A proxy that loses responses.

use super::script::read;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

/// The delivery of the response to one request.
#[derive(Clone, Copy)]
pub enum Fate {
    /// The complete response arrives.
    Passes,
    /// The server handles the request, and the connection closes without a response.
    Lost,
    /// Only this many bytes of the body arrive.
    Cut(usize),
}

/// Starts a proxy and returns its URL. Each connection uses the next delivery, and all further ones use the
/// last.
pub fn before(server: SocketAddr, fates: Vec<Fate>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for i in 0.. {
            let Ok((client, _)) = listener.accept() else { return };
            let fate = *fates.get(i).unwrap_or_else(|| fates.last().unwrap());
            std::thread::spawn(move || pass(client, server, fate));
        }
    });
    url
}

fn pass(mut client: TcpStream, server: SocketAddr, fate: Fate) {
    let request = read(&mut client);
    if request.is_empty() {
        return;
    }
    let mut server = TcpStream::connect(server).unwrap();
    // Each connection carries one request, so each request has its own delivery.
    server.write_all(request.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let mut sent = 0;
    while let Ok(read @ 1..) = server.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..read]);
        let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4);
        let end = match (fate, head) {
            (Fate::Lost, Some(_)) => break,
            (Fate::Passes, _) => answer.len(),
            (Fate::Cut(bytes), Some(head)) => answer.len().min(head + bytes),
            (Fate::Lost | Fate::Cut(_), None) => 0,
        };
        if end > sent && client.write_all(&answer[sent..end]).is_err() {
            return;
        }
        sent = sent.max(end);
        if matches!((fate, head), (Fate::Cut(bytes), Some(head)) if sent == head + bytes) {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}
