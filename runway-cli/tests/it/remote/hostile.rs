//! Responses from broken and malicious servers.

use super::scripted_server::{job, response, serve_responses};
use super::{HELLO, runway_at};

/// Commands that send a request and read the response.
const COMMANDS: [&[&str]; 6] = [
    &["ls"],
    &["status", "4d5c9fa91db4"],
    &["cancel", "4d5c9fa91db4"],
    &["usage", "search"],
    &["logs", "-f", "4d5c9fa91db4", "--retry-for", "1s"],
    &["submit", HELLO, "--retry-for", "1s"],
];

#[test]
fn unexpected_response_body_is_reported() {
    let deep = "[".repeat(1_000_000);
    let broken = format!(r#"{{"items":[{}"#, job("4d5c9fa91db4", "running"));
    for body in ["", "<html>", "null", "[]", "{}", "\u{0}", r#"{"items":7}"#, &deep, &broken] {
        for status in [
            "200 OK",
            "404 Not Found",
            "301 Moved\r\nLocation: http://127.0.0.1:1/",
            "204 No Content",
            "999 X",
        ] {
            let (url, _) = serve_responses(vec![response(status, "", body.as_bytes())]);
            for command in COMMANDS {
                let ran = runway_at(&url, command);
                assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{status} {command:?} {}", ran.stderr);
                assert!(ran.stderr.contains(&url), "{}", ran.stderr);
            }
        }
    }
}

#[test]
fn non_http_response_is_reported() {
    let long_head = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &b"x".repeat(10_000_000)].concat();
    for bytes in [&b""[..], b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n", b"\0\0\0\0", &long_head] {
        let (url, _) = serve_responses(vec![bytes.to_vec()]);
        for command in COMMANDS {
            let ran = runway_at(&url, command);
            assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{command:?} {}", ran.stderr);
        }
    }
}

#[test]
fn oversized_response_is_rejected() {
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n[".as_slice(), &b" ".repeat(40 * 1024 * 1024)].concat();
    let (url, _) = serve_responses(vec![endless]);
    let ran = runway_at(&url, &["ls"]);
    assert_eq!(ran.code, 4);
    assert!(ran.stderr.contains("the response is too large"), "{}", ran.stderr);
}

#[test]
fn endless_list_is_rejected() {
    let page = format!(r#"{{"items":[{}],"continue":"1-4d5c9fa91db4"}}"#, job("4d5c9fa91db4", "running"));
    let (url, requests) = serve_responses(vec![response("200 OK", "", page.as_bytes())]);
    let ran = runway_at(&url, &["ls"]);
    assert_eq!(ran.code, 4);
    assert!(ran.stderr.contains("does not end"), "{}", ran.stderr);
    assert_eq!(requests.try_iter().count(), 1000);
    let page = page.replace("1-4d5c9fa91db4", "1&tenant=x");
    let (url, _) = serve_responses(vec![response("200 OK", "", page.as_bytes())]);
    assert_eq!(runway_at(&url, &["ls"]).code, 4);
}

#[test]
fn list_is_read_page_by_page() {
    let page = |id: &str, next: &str| {
        let page = format!(r#"{{"items":[{}],"continue":{next}}}"#, job(id, "running"));
        response("200 OK", "", page.as_bytes())
    };
    let (url, requests) =
        serve_responses(vec![page("000000000001", r#""a-000000000001""#), page("000000000002", "null")]);
    let ran = runway_at(&url, &["ls", "-o", "name", "--phase", "running"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "000000000001\n000000000002\n"));
    let paths: Vec<_> =
        requests.try_iter().map(|request| request.lines().next().unwrap().to_owned()).collect();
    assert_eq!(
        paths,
        [
            "GET /v1/jobs?limit=1000&phase=running HTTP/1.1",
            "GET /v1/jobs?limit=1000&phase=running&continue=a-000000000001 HTTP/1.1"
        ]
    );
}

#[test]
fn control_characters_from_a_server_are_escaped() {
    let hostile_text = "\\u001b[2J\\u009b\\u202e\\u0007x";
    let hostile_job = job("4d5c9fa91db4", "pending")
        .replace("\"hello\"", &format!("\"{hostile_text}\""))
        .replace("\"search\"", &format!("\"{hostile_text}\""))
        .replace("\"cpu_long\"", &format!("\"{hostile_text}\""))
        .replace("\"m\"", &format!("\"{hostile_text}\""))
        .replace("\"hint\":null", &format!("\"hint\":\"{hostile_text}\""));
    let ended = hostile_job.replace("pending", "failed");
    let list = format!(r#"{{"items":[{hostile_job}],"continue":null}}"#);
    let problem = format!(
        r#"{{"type":"{hostile_text}","title":"{hostile_text}","status":422,"detail":"{hostile_text}","instance":"{hostile_text}","violations":[{{"code":"unknown-class","path":"/image","message":"{hostile_text}","requested":"{hostile_text}","allowed":{{"one_of":["{hostile_text}"]}},"policy":"{hostile_text}","fix":"{hostile_text}"}}]}}"#
    );
    let bare =
        format!(r#"{{"title":"{hostile_text}","detail":"{hostile_text}","instance":"{hostile_text}"}}"#);
    let usage = format!(
        r#"{{"tenant":"{hostile_text}","gpus":{{"held":0,"limit":0}},"jobs":{{"held":0,"limit":0}},"rate":{{"remaining":0,"reset_seconds":18446744073709551615}}}}"#
    );
    let ok = |body: &str| vec![response("200 OK", "", body.as_bytes())];
    let no = |body: &str| vec![response("422 No", "Retry-After: 18446744073709551615\r\n", body.as_bytes())];
    let cases: [(&[&str], Vec<Vec<u8>>); 9] = [
        (&["ls", "-o", "wide"], ok(&list)),
        (&["ls"], ok(&list)),
        (&["status", "4d5c9fa91db4"], ok(&hostile_job)),
        (&["usage", "search"], ok(&usage)),
        (&["usage", "search", "-o", "name"], ok(&usage)),
        (&["submit", HELLO, "--wait"], [ok(&hostile_job), ok(&ended)].concat()),
        (&["submit", HELLO], no(&problem)),
        (&["submit", HELLO], no(&bare)),
        (&["status", "4d5c9fa91db4"], no(&bare)),
    ];
    for (command, responses) in cases {
        let (url, _) = serve_responses(responses);
        let ran = runway_at(&url, command);
        let printed = format!("{}{}", ran.stdout, ran.stderr);
        assert!(printed.contains("\\u{1b}"), "{command:?}: {printed:?}");
        assert!(!printed.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{7}']), "{command:?}: {printed:?}");
    }
}
