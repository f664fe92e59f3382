//! The JSON documents of an image. Each document is a Rust type, so that the order of its fields is fixed.
//! The digests depend on this order.

use super::{Image, digest};
use serde::Serialize;
use std::collections::BTreeMap;

/// The operating system of all images.
const OS: &str = "linux";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OciLayout {
    image_layout_version: &'static str,
}

impl OciLayout {
    pub(super) const CURRENT: Self = Self { image_layout_version: "1.0.0" };
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageIndex {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

impl ImageIndex {
    pub(super) fn new(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: "application/vnd.oci.image.index.v1+json", manifests }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageManifest<'a> {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: &'a BTreeMap<String, String>,
}

impl<'a> ImageManifest<'a> {
    pub(super) fn new(config: &[u8], image: &'a Image<'_>) -> Self {
        let layer = Descriptor::new("application/vnd.oci.image.layer.v1.tar+gzip", image.layer.compressed());
        Self {
            schema_version: 2,
            media_type: MANIFEST_MEDIA_TYPE,
            config: Descriptor::new("application/vnd.oci.image.config.v1+json", config),
            layers: vec![layer],
            annotations: &image.annotations,
        }
    }
}

const MANIFEST_MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Describes a blob by type, digest and size.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: &'static str,
    pub(super) digest: String,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

impl Descriptor {
    fn new(media_type: &'static str, bytes: &[u8]) -> Self {
        let annotations = BTreeMap::new();
        Self { media_type, digest: digest(bytes), size: bytes.len(), platform: None, annotations }
    }

    /// Returns the descriptor of a manifest under a name. containerd and Docker read the full name from an
    /// annotation. Other tools read the tag from another annotation.
    pub(super) fn for_name(manifest: &[u8], name: &str) -> Self {
        let tag = name.rsplit_once(':').map_or(name, |(_, tag)| tag);
        let annotations = [
            ("io.containerd.image.name", name.to_owned()),
            ("org.opencontainers.image.ref.name", tag.to_owned()),
        ];
        Self {
            platform: Some(Platform::CURRENT),
            annotations: annotations.into(),
            ..Self::new(MANIFEST_MEDIA_TYPE, manifest)
        }
    }
}

#[derive(Serialize)]
struct Platform {
    architecture: &'static str,
    os: &'static str,
}

impl Platform {
    const CURRENT: Self = Self { architecture: architecture(), os: OS };
}

/// The processor architecture of this program, as OCI images name it.
const fn architecture() -> &'static str {
    match std::env::consts::ARCH.as_bytes() {
        b"x86_64" => "amd64",
        b"aarch64" => "arm64",
        _ => std::env::consts::ARCH,
    }
}

#[derive(Serialize)]
pub(super) struct ImageConfig<'a> {
    created: String,
    architecture: &'static str,
    os: &'static str,
    config: &'a ContainerConfig,
    rootfs: RootFs<'a>,
    history: [HistoryEntry; 1],
}

impl<'a> ImageConfig<'a> {
    pub(super) fn new(image: &'a Image<'_>) -> Self {
        let created = image.created.to_string();
        Self {
            created: created.clone(),
            architecture: architecture(),
            os: OS,
            config: &image.config,
            rootfs: RootFs { kind: "layers", diff_ids: [image.layer.diff_id()] },
            history: [HistoryEntry { created, created_by: "cargo xtask" }],
        }
    }
}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// Digests of the uncompressed layers.
    diff_ids: [&'a str; 1],
}

#[derive(Serialize)]
struct HistoryEntry {
    created: String,
    created_by: &'static str,
}

/// Default settings for a container of the image.
#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// User and group. They are numbers, so that Kubernetes can verify that the user is not root.
    pub user: &'static str,
    /// Ports such as `8080/tcp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<&'static str, EmptyObject>,
    /// Variables such as `PATH=/bin`.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub env: &'static [&'static str],
    /// The program and its first arguments.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub entrypoint: &'static [&'static str],
    /// The default arguments after the entry point.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub cmd: &'static [&'static str],
    /// The working directory.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub working_dir: &'static str,
    /// Paths at which a container runtime creates anonymous volumes, as `VOLUME` in a Dockerfile does.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<&'static str, EmptyObject>,
    /// Labels, by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The JSON value `{}`, for maps in which only the keys matter.
#[derive(Serialize)]
pub struct EmptyObject {}
