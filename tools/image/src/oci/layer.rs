//! A layer of an image: files, directories and links that belong to root and have the same modification time.

use super::digest;
use crate::epoch::SourceEpoch;
use flate2::{Compression, GzBuilder};
use std::io::{self, Write as _};
use tar::{Builder, EntryType, Header};

/// A complete layer.
pub struct Layer {
    diff_id: String,
    compressed: Vec<u8>,
}

/// Builds a layer. Entries keep the order in which they are added.
pub struct LayerBuilder {
    tar: Builder<Vec<u8>>,
    time: u64,
}

impl Layer {
    /// Returns a builder for a layer. All its entries get this modification time.
    #[must_use]
    pub fn builder(time: SourceEpoch) -> LayerBuilder {
        LayerBuilder { tar: Builder::new(Vec::new()), time: time.seconds() }
    }

    /// The digest of the uncompressed layer.
    pub(super) fn diff_id(&self) -> &str {
        &self.diff_id
    }

    /// The compressed layer.
    pub(super) fn compressed(&self) -> &[u8] {
        &self.compressed
    }
}

impl LayerBuilder {
    /// Adds a directory.
    ///
    /// # Errors
    /// [`io::Error`] if the path is too long.
    pub fn add_dir(&mut self, path: &str, mode: u32) -> io::Result<()> {
        let mut header = self.header(EntryType::Directory, mode);
        self.tar.append_data(&mut header, path, io::empty())
    }

    /// Adds a file.
    ///
    /// # Errors
    /// [`io::Error`] if the path is too long.
    pub fn add_file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut header = self.header(EntryType::Regular, mode);
        header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
        self.tar.append_data(&mut header, path, content)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// [`io::Error`] if the path or its target is too long.
    pub fn add_symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        let mut header = self.header(EntryType::Symlink, 0o777);
        self.tar.append_link(&mut header, path, target)
    }

    /// Compresses the layer.
    ///
    /// # Errors
    /// [`io::Error`] if an entry cannot be written.
    pub fn finish(self) -> io::Result<Layer> {
        let content = self.tar.into_inner()?;
        // The gzip header contains neither a time nor an operating system.
        let mut encoder = GzBuilder::new().operating_system(255).write(Vec::new(), Compression::best());
        encoder.write_all(&content)?;
        Ok(Layer { diff_id: digest(&content), compressed: encoder.finish()? })
    }

    fn header(&self, kind: EntryType, mode: u32) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.time);
        header.set_size(0);
        header
    }
}
