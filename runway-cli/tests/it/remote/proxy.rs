//! A proxy between the client and the server that loses or truncates responses.

use super::scripted_server::read_request;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

/// The delivery of the response to one request.
#[derive(Clone, Copy)]
pub enum Delivery {
    /// The complete response arrives.
    Complete,
    /// The server handles the request, and the connection closes without a response.
    Lost,
    /// The connection closes after this many bytes of the body, including its chunk headers.
    Truncated(usize),
}

/// Starts a proxy and returns its URL. Each connection uses the next item of `deliveries`. When all items are
/// used, further connections use the last item.
pub fn start_proxy(server: SocketAddr, deliveries: Vec<Delivery>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for i in 0.. {
            let Ok((client, _)) = listener.accept() else { return };
            let delivery = *deliveries.get(i).unwrap_or_else(|| deliveries.last().unwrap());
            std::thread::spawn(move || forward(client, server, delivery));
        }
    });
    url
}

fn forward(mut client: TcpStream, server: SocketAddr, delivery: Delivery) {
    let request = read_request(&mut client);
    if request.is_empty() {
        return;
    }
    let mut server = TcpStream::connect(server).unwrap();
    // `Connection: close` limits a connection to one request, so each request uses its own item of
    // `deliveries`.
    server.write_all(request.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).unwrap();
    let mut response = Vec::new();
    let mut buffer = [0; 4096];
    let mut sent = 0;
    while let Ok(read @ 1..) = server.read(&mut buffer) {
        response.extend_from_slice(&buffer[..read]);
        let head = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4);
        let end = match (delivery, head) {
            (Delivery::Lost, Some(_)) => break,
            (Delivery::Complete, _) => response.len(),
            (Delivery::Truncated(bytes), Some(head)) => response.len().min(head + bytes),
            (Delivery::Lost | Delivery::Truncated(_), None) => 0,
        };
        if end > sent && client.write_all(&response[sent..end]).is_err() {
            return;
        }
        sent = sent.max(end);
        if matches!((delivery, head), (Delivery::Truncated(bytes), Some(head)) if sent == head + bytes) {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}
