//! A server that sends scripted responses to any request.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

/// Builds a response with its `Content-Length`.
pub fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Starts a server that sends the next item of `responses` to each connection. When all items are used, it
/// sends the last item again. Returns the URL of the server and a receiver of the requests.
pub fn serve_responses(responses: Vec<Vec<u8>>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (request_tx, requests) = channel();
    std::thread::spawn(move || {
        for i in 0.. {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let request = read_request(&mut stream);
            // The client may close the connection early.
            let _ = stream.write_all(responses.get(i).unwrap_or_else(|| responses.last().unwrap()));
            // The test may have dropped the receiver.
            let _ = request_tx.send(request);
        }
    });
    (url, requests)
}

/// Starts a server like [`serve_responses`], with separate responses: `output` for requests to read the
/// output of a job, and `others` for all other requests. Returns the URL of the server.
pub fn serve_by_path(output: Vec<Vec<u8>>, others: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut served = [0, 0];
        while let Ok((mut stream, _)) = listener.accept() {
            let is_output = read_request(&mut stream).lines().next().unwrap_or_default().contains("/logs?");
            let (answers, i) =
                (if is_output { &output } else { &others }, &mut served[usize::from(is_output)]);
            let _ = stream.write_all(answers.get(*i).unwrap_or_else(|| answers.last().unwrap()));
            *i += 1;
        }
    });
    url
}

/// Reads the head of a request, and a body of the length in the `Content-Length` header.
pub fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or_default() {
                return text;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return text,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Returns the value of a header of a request.
pub fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let head = request.split("\r\n\r\n").next()?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// Returns a job as the server encodes it.
pub fn job(id: &str, phase: &str) -> String {
    format!(
        r#"{{"id":"{id}","name":"hello","tenant":"search","class":"cpu_long","phase":"{phase}","reason":null,"message":"m","hint":null,"exit_code":null,"attempts":1,"created_at":"2026-11-21T08:00:00Z","started_at":null,"finished_at":null,"quote":null,"cost_usd":"0.000001","observed_at":"2026-11-21T08:00:00Z"}}"#
    )
}
