//! An archive of images: a packed OCI image layout. Container engines and registry tools can import it.

use super::documents::{Descriptor, ImageConfig, ImageIndex, ImageManifest, OciLayout};
use super::{Image, digest};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use tar::{Builder, EntryType, Header};

/// Builds an archive of images.
#[derive(Default)]
pub struct ImageArchive {
    /// Blobs by digest.
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: Vec<Descriptor>,
}

impl ImageArchive {
    /// Adds an image under each of its names. Returns the digest of its manifest, by which registries also
    /// identify the image.
    ///
    /// # Errors
    /// [`io::Error`] if a document of the image cannot be encoded.
    pub fn add(&mut self, image: &Image<'_>) -> io::Result<String> {
        let config = to_json(&ImageConfig::new(image))?;
        let manifest = to_json(&ImageManifest::new(&config, image))?;
        let descriptors = image.names.iter().map(|name| Descriptor::for_name(&manifest, name));
        self.manifests.extend(descriptors);
        self.add_blob(image.layer.compressed().to_vec());
        self.add_blob(config);
        Ok(self.add_blob(manifest))
    }

    /// Returns the bytes of the archive.
    ///
    /// # Errors
    /// [`io::Error`] if a document of the archive cannot be encoded.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        append_file(&mut tar, "oci-layout", &to_json(&OciLayout::CURRENT)?)?;
        append_file(&mut tar, "index.json", &to_json(&ImageIndex::new(self.manifests))?)?;
        for (name, bytes) in self.blobs {
            append_file(&mut tar, &format!("blobs/{}", name.replace(':', "/")), &bytes)?;
        }
        tar.into_inner()
    }

    fn add_blob(&mut self, bytes: Vec<u8>) -> String {
        let name = digest(&bytes);
        self.blobs.insert(name.clone(), bytes);
        name
    }
}

fn to_json(document: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(document)?)
}

fn append_file(tar: &mut Builder<Vec<u8>>, path: &str, content: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_data(&mut header, path, content)
}
