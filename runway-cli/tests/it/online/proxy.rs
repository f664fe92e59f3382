//! Something on the way to a server that loses answers.

use super::script::read;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

/// What becomes of the answer to a request.
#[derive(Clone, Copy)]
pub enum Fate {
    /// It arrives.
    Passes,
    /// It is lost: the request was worked on, and the connection is cut.
    Lost,
    /// Only so many bytes of its body arrive.
    Cut(usize),
}

/// Passes each connection's request on; the fates are those of one connection after the other, the last one that of all others.
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
    // One request a connection, so that every one has a fate of its own.
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
