//! Tests that the files below `infra/` pin every image by digest. A tag can be moved to other content.

use runway_steps::workspace_root;
use std::fs;
use std::path::{Path, PathBuf};

/// Images without a digest: the empty image, and the server's image. Operators build, push and pin the latter.
const EXEMPT: [&str; 2] = ["scratch", "runway-http"];

/// Returns the manifests and Dockerfiles below a directory.
fn image_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let is_manifest = path.extension().is_some_and(|extension| extension == "yaml");
        if path.is_dir() {
            found.extend(image_files(&path));
        } else if is_manifest || path.ends_with("Dockerfile") {
            found.push(path);
        }
    }
    found
}

/// Returns the image that a line of a manifest or of a Dockerfile names.
fn image_in(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("- ").unwrap_or(line);
    let name = line.strip_prefix("image: ").or_else(|| line.strip_prefix("FROM "))?;
    name.split_whitespace().next()
}

fn is_pinned(image: &str) -> bool {
    image.rsplit_once("@sha256:").is_some_and(|(_, digest)| {
        digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[test]
fn every_image_is_pinned_by_digest() {
    let mut pinned = Vec::new();
    for path in image_files(&workspace_root().join("infra")) {
        let text = fs::read_to_string(&path).unwrap();
        for image in text.lines().filter_map(image_in).filter(|image| !EXEMPT.contains(image)) {
            assert!(is_pinned(image), "{}: {image}", path.display());
            pinned.push(image.split([':', '@']).next().unwrap_or_default().to_owned());
        }
    }
    pinned.sort();
    assert_eq!(pinned, ["nvcr.io/nvidia/k8s-device-plugin", "rust"]);
}

#[test]
fn image_in_reads_manifests_and_dockerfiles() {
    assert_eq!(image_in("          image: a/b:1"), Some("a/b:1"));
    assert_eq!(image_in("      - image: a/b:1 # comment"), Some("a/b:1"));
    assert_eq!(image_in("FROM rust:1 AS build"), Some("rust:1"));
    assert_eq!(image_in("images: {allow: [\"**\"]}"), None);
}

#[test]
fn tags_and_short_digests_are_not_pinned() {
    assert!(is_pinned(&format!("a/b:1@sha256:{}", "0a".repeat(32))));
    for image in ["a/b", "a/b:1", "a/b@sha256:0a0a", format!("a/b@sha256:{}", "0A".repeat(32)).as_str()] {
        assert!(!is_pinned(image), "{image}");
    }
}
