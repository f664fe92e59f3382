//! A cpio archive in the `newc` format. A Linux kernel unpacks such an archive into memory at boot.

/// Builds a cpio archive.
#[derive(Default)]
pub(super) struct CpioArchive {
    bytes: Vec<u8>,
    count: u32,
}

const DIR_MODE: u32 = 0o040_755;
const FILE_MODE: u32 = 0o100_644;
const PROGRAM_MODE: u32 = 0o100_755;
const LINK_MODE: u32 = 0o120_777;

impl CpioArchive {
    pub(super) fn add_dir(&mut self, name: &str) {
        self.append(name, DIR_MODE, b"");
    }

    pub(super) fn add_program(&mut self, name: &str, content: &[u8]) {
        self.append(name, PROGRAM_MODE, content);
    }

    pub(super) fn add_file(&mut self, name: &str, content: &[u8]) {
        self.append(name, FILE_MODE, content);
    }

    pub(super) fn add_symlink(&mut self, name: &str, target: &str) {
        self.append(name, LINK_MODE, target.as_bytes());
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.append("TRAILER!!!", 0, b"");
        self.bytes
    }

    fn append(&mut self, name: &str, mode: u32, content: &[u8]) {
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
    fn entries_are_aligned_to_four_bytes() {
        let mut archive = CpioArchive::default();
        archive.add_program("abc", b"12345");
        let bytes = archive.finish();
        // The header has 110 bytes. `abc` and its NUL follow.
        assert_eq!(bytes.get(110..124), Some(&b"abc\x00\x00\x0012345\x00\x00\x00"[..]));
        assert_eq!(bytes.get(124..130), Some(&b"070701"[..]));
        assert_eq!(bytes.get(54..62), Some(&b"00000005"[..]));
        assert_eq!(bytes.len() % 4, 0);
    }
}
