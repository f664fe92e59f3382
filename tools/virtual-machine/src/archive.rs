//! A cpio archive in the `newc` format. The kernel unpacks it into memory at boot.

/// Builds an archive.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    count: u32,
}

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

impl Archive {
    pub(super) fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER, b"");
    }

    pub(super) fn program(&mut self, name: &str, content: &[u8]) {
        self.entry(name, PROGRAM, content);
    }

    pub(super) fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, FILE, content);
    }

    pub(super) fn link(&mut self, name: &str, target: &str) {
        self.entry(name, LINK, target.as_bytes());
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.count += 1;
        let (length, name_length) = (content.len(), name.len() + 1);
        // The fields are: inode, mode, user, group, links, time, size, four device numbers, length of the
        // name, checksum.
        self.bytes.extend(
            format!("070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{length:08x}", self.count, 0, 0, 1, 0)
                .bytes(),
        );
        self.bytes.extend(format!("{:08x}{:08x}{:08x}{:08x}{name_length:08x}{:08x}", 0, 0, 0, 0, 0).bytes());
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_begins_at_a_multiple_of_four() {
        let mut archive = Archive::default();
        archive.program("abc", b"12345");
        let bytes = archive.finish();
        // The header has 110 bytes. `abc` and its NUL follow.
        assert_eq!(bytes.get(110..124), Some(&b"abc\x00\x00\x0012345\x00\x00\x00"[..]));
        assert_eq!(bytes.get(124..130), Some(&b"070701"[..]));
        assert_eq!(bytes.get(54..62), Some(&b"00000005"[..]));
        assert_eq!(bytes.len() % 4, 0);
    }
}
