//! Builds container images in the OCI format without a container engine. The same content gives the same
//! bytes, because the caller passes the time.

mod archive;
mod documents;
mod layer;

pub use archive::ImageArchive;
pub use documents::{ContainerConfig, EmptyObject};
pub use layer::{Layer, LayerBuilder};

use crate::epoch::SourceEpoch;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// An image: its content, its default settings and its metadata.
pub struct Image<'a> {
    /// Names with registry, repository and tag. An image can have several names.
    pub names: &'a [&'a str],
    /// The content.
    pub layer: &'a Layer,
    /// Default settings for a container.
    pub config: ContainerConfig,
    /// The creation time.
    pub created: SourceEpoch,
    /// Annotations of the manifest, by key.
    pub annotations: BTreeMap<String, String>,
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::{ContainerConfig, Image, ImageArchive, Layer, digest};
    use crate::epoch::SourceEpoch;
    use flate2::read::GzDecoder;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::io::Read;

    const NAMES: [&str; 2] = ["registry.internal/one:1", "registry.internal/two:2"];

    fn archive(mode: u32) -> Vec<u8> {
        let created = SourceEpoch::parse("86400").unwrap();
        let mut layer = Layer::builder(created);
        layer.add_dir("bin", 0o755).unwrap();
        layer.add_file("bin/tool", mode, b"tool").unwrap();
        layer.add_symlink("bin/other", "tool").unwrap();
        let layer = layer.finish().unwrap();
        let start = ContainerConfig { user: "65532:65532", cmd: &["tool"], ..ContainerConfig::default() };
        let annotations = BTreeMap::from([("key".to_owned(), "text".to_owned())]);
        let image = Image { names: &NAMES, layer: &layer, config: start, created, annotations };
        let mut archive = ImageArchive::default();
        archive.add(&image).unwrap();
        archive.finish().unwrap()
    }

    /// Returns the files of an archive by name.
    fn files(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut tar = tar::Archive::new(bytes);
        let entries = tar.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        entries.collect()
    }

    /// Returns the blob of a descriptor. Checks that the digest, the size and the media type are right.
    fn blob_of<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value, media_type: &str) -> &'a [u8] {
        let name = descriptor["digest"].as_str().unwrap();
        let blob = &files[&format!("blobs/{}", name.replace(':', "/"))];
        assert_eq!(digest(blob), name);
        assert_eq!(descriptor["size"], blob.len());
        assert_eq!(descriptor["mediaType"], format!("application/vnd.oci.image.{media_type}"));
        blob
    }

    fn json_of(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn same_content_gives_the_same_bytes() {
        assert_eq!(archive(0o555), archive(0o555));
        assert_ne!(archive(0o555), archive(0o755));
    }

    #[test]
    fn archive_is_a_complete_oci_layout() {
        let files = files(&archive(0o555));
        assert_eq!(json_of(&files["oci-layout"]), json!({ "imageLayoutVersion": "1.0.0" }));
        let index = json_of(&files["index.json"]);
        assert_eq!(index["schemaVersion"], 2);
        assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
        let manifests = index["manifests"].as_array().unwrap();
        for (manifest, name) in manifests.iter().zip(NAMES) {
            assert_eq!(manifest["annotations"]["io.containerd.image.name"], name);
            assert!(
                name.ends_with(
                    manifest["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap()
                )
            );
            assert_eq!(manifest["platform"]["os"], "linux");
            let manifest = json_of(blob_of(&files, manifest, "manifest.v1+json"));
            assert_eq!(manifest["schemaVersion"], 2);
            assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
            assert_eq!(manifest["annotations"], json!({ "key": "text" }));
            assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
            let layer = blob_of(&files, &manifest["layers"][0], "layer.v1.tar+gzip");
            let mut content = Vec::new();
            GzDecoder::new(layer).read_to_end(&mut content).unwrap();
            let config = json_of(blob_of(&files, &manifest["config"], "config.v1+json"));
            assert_eq!(config["rootfs"], json!({ "type": "layers", "diff_ids": [digest(&content)] }));
            assert_eq!(config["config"], json!({ "User": "65532:65532", "Cmd": ["tool"] }));
            assert_eq!(
                (&config["os"], &config["created"]),
                (&json!("linux"), &json!("1970-01-02T00:00:00Z"))
            );
            assert_eq!(config["architecture"], index["manifests"][0]["platform"]["architecture"]);
        }
        assert_eq!(manifests.len(), 2);
        // The archive contains the layout, the index, one manifest, one config and one layer. So it has no
        // unreferenced file.
        assert_eq!(files.len(), 5);
    }

    #[test]
    fn layer_entries_belong_to_root_and_share_one_time() {
        let files = files(&archive(0o555));
        let manifest = &json_of(&files["index.json"])["manifests"][0];
        let manifest = json_of(blob_of(&files, manifest, "manifest.v1+json"));
        let layer = blob_of(&files, &manifest["layers"][0], "layer.v1.tar+gzip");
        let mut tar = tar::Archive::new(GzDecoder::new(layer));
        let mut entries = Vec::new();
        for entry in tar.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!(header.mtime().unwrap(), 86_400);
            entries.push((entry.path().unwrap().display().to_string(), header.mode().unwrap()));
        }
        assert_eq!(
            entries,
            [("bin", 0o755), ("bin/tool", 0o555), ("bin/other", 0o777)].map(|(p, m)| (p.to_owned(), m))
        );
    }
}
