//! The JSON parser returns the same tree as the YAML parser.

use proptest::prelude::*;
use runway_core::document::{
    Document, MAX_DOCUMENT_BYTES, MAX_DOCUMENT_DEPTH, MAX_DOCUMENT_NODES, ScalarKind, Value, parse_all,
    parse_json,
};

/// Parses the text with the YAML parser. The comment at the end is not valid JSON, so the JSON parser is not
/// used.
fn as_yaml(text: &str) -> Option<Document> {
    let text = format!("{text}\n# YAML");
    assert!(parse_json(text.as_bytes()).is_none());
    parse_all(text.as_bytes()).remove(0).ok()
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n", "\r\n", "\n\n  ", "\r "])
}

fn text() -> impl Strategy<Value = String> {
    let to_json = |text: String| serde_json::to_string(&text).unwrap();
    prop_oneof![
        "[a-z~.:#&*!%@ -]{0,8}".prop_map(to_json),
        // This alphabet contains no character that YAML requires to be escaped.
        "[ -~äé€\u{2028}😀\\n\\t\"\\\\]{0,12}".prop_map(to_json),
        prop::sample::select(vec![
            r#""null""#,
            r#""\u00e4""#,
            r#""\/""#,
            r#""\b\f\n\r\t""#,
            r#""\u0000""#,
            r#""1e3""#,
            r#""""#,
        ])
        .prop_map(str::to_owned),
    ]
}

fn number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?"
}

fn json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_owned);
    let leaf = prop_oneof![text(), number(), word];
    let value = leaf.prop_recursive(4, 40, 6, |inner| {
        let item = (space(), inner.clone(), space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let entry = (space(), text(), space(), inner, space())
            .prop_map(|(a, key, b, value, c)| format!("{a}{key}{b}:{value}{c}"));
        prop_oneof![
            prop::collection::vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(entry, 0..6).prop_map(|entries| format!("{{{}}}", entries.join(","))),
        ]
    });
    (space(), value, space()).prop_map(|(a, value, b)| format!("{a}{{\"it\":{value}}}{b}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn json_parser_agrees_with_yaml_parser(text in json()) {
        let document = parse_json(text.as_bytes());
        // Both parsers must return the same tree, or both must reject the text.
        match (document, as_yaml(&text)) {
            (Some(json), Some(yaml)) => prop_assert_eq!(json, yaml),
            // Both parsers reject the text, because it has a duplicate key.
            (None, None) => {}
            (json, yaml) => prop_assert!(false, "{}: {:?} {:?}", text, json, yaml),
        }
    }

    #[test]
    fn damaged_json_is_left_to_the_yaml_parser(text in json(), at in 0..200_usize, by in any::<u8>()) {
        let mut bytes = text.into_bytes();
        let at = at % bytes.len();
        bytes[at] = by;
        let is_json = |bytes: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
        prop_assert!(parse_json(&bytes).is_none() || is_json(&bytes));
        bytes.truncate(at);
        prop_assert!(parse_json(&bytes).is_none() || is_json(&bytes));
    }
}

#[test]
fn numbers_keep_their_literals_and_strings_their_type() {
    let document = parse_json(br#"{"a": 1e3, "b": "1e3", "c": 10, "d": 1.50}"#).unwrap();
    let scalars: Vec<_> = ["/a", "/b", "/c", "/d"].map(|at| document.find(at).unwrap().value.clone()).into();
    let scalar = |kind, text: &str| Value::Scalar(kind, text.into());
    assert_eq!(
        scalars,
        [
            scalar(ScalarKind::Float, "1e3"),
            scalar(ScalarKind::String, "1e3"),
            scalar(ScalarKind::Integer, "10"),
            scalar(ScalarKind::Float, "1.50"),
        ]
    );
}

#[test]
fn json_has_the_same_limits_as_yaml() {
    let of_bytes = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let of_values = |values: usize| format!("[{}]", vec!["1"; values - 1].join(","));
    let of_depth = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let keys = |keys: usize| {
        let entries: Vec<_> = (0..keys).map(|n| format!("\"{n}\":1")).collect();
        format!("{{{}}}", entries.join(","))
    };
    for (largest, too_large) in [
        (of_bytes(MAX_DOCUMENT_BYTES), of_bytes(MAX_DOCUMENT_BYTES + 1)),
        (of_values(MAX_DOCUMENT_NODES), of_values(MAX_DOCUMENT_NODES + 1)),
        (of_depth(MAX_DOCUMENT_DEPTH), of_depth(MAX_DOCUMENT_DEPTH + 1)),
        (keys((MAX_DOCUMENT_NODES - 1) / 2), keys(MAX_DOCUMENT_NODES / 2)),
    ] {
        assert!(parse_json(largest.as_bytes()).is_some());
        assert!(parse_json(too_large.as_bytes()).is_none());
        assert!(parse_all(too_large.as_bytes())[0].is_err(), "the YAML parser reports an error");
    }
    assert!(parse_json(of_depth(100_000).as_bytes()).is_none());
}

#[test]
fn duplicate_key_is_rejected_in_mapping_of_any_size() {
    for size in [2, 15, 16, 17, 100] {
        let keys = |last: String| -> String {
            let keys = (1..size).map(|n| format!("\"k{n}\":1")).chain([format!("\"{last}\":1")]);
            format!("{{{}}}", keys.collect::<Vec<_>>().join(","))
        };
        assert!(parse_json(keys(format!("k{size}")).as_bytes()).is_some(), "{size}");
        for twice in [1, size / 2, size - 1].map(|n| n.max(1)) {
            assert!(parse_json(keys(format!("k{twice}")).as_bytes()).is_none(), "{size} {twice}");
            assert!(parse_json(keys(format!("\\u006b{twice}")).as_bytes()).is_none(), "{size} {twice}");
        }
    }
}

#[test]
fn non_object_is_left_to_the_yaml_parser() {
    for source in [
        &b"\"text\""[..],
        b"1",
        b"null",
        b"",
        b" ",
        b"{} {}",
        b"{}\n---\n{}",
        b"{}x",
        b"[1,]",
        b"{\"a\":1,\"a\":2}",
        b"{a: 1}",
        b"{'a': 1}",
        b"\xef\xbb\xbf{}",
        b"{\"a\": \"\xff\"}",
        b"{\"a\": \"\\ud800\"}",
        b"{\"a\": 01}",
        b"{\"a\": .5}",
        b"{\"a\": NaN}",
        b"{\"a\": \"\n\"}",
        b"{\"a\": \0}",
    ] {
        assert_eq!(parse_json(source), None, "{}", String::from_utf8_lossy(source));
    }
}
