//! Measures and deletes directory trees that a job has filled.
//!
//! Below the top directory, no function follows a symbolic link, and each path that is passed to the kernel
//! has one component. The length of a path in the tree therefore does not matter.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Bytes counted for each file in addition to its blocks: the size of an inode in ext4. Otherwise a job could
/// create empty files without limit.
const FILE_OVERHEAD: u64 = 256;

/// Returns the disk usage of a directory in bytes. Stops counting above `limit`.
///
/// A file with several hard links counts once. A file that is deleted during the measurement may not count.
/// The function keeps one open file per level, so it fails for a tree that is deeper than the limit of open
/// files.
pub(crate) fn disk_usage(dir_path: &Path, limit: u64) -> Result<u64, Errno> {
    let mut open = vec![Dir::new(open_dir(CWD, dir_path)?)?];
    let mut linked = BTreeSet::new();
    let mut total = 0u64;
    while let Some(dir) = open.last_mut() {
        let Some(entry) = dir.read() else {
            open.pop();
            continue;
        };
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let dir = dir.fd()?;
        let stat = match rustix::fs::statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_dir || stat.st_nlink < 2 || linked.insert(stat.st_ino) {
            let blocks = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
            total = total.saturating_add(blocks).saturating_add(FILE_OVERHEAD);
        }
        if total > limit {
            break;
        }
        if is_dir {
            match open_dir(dir, entry.file_name()) {
                Ok(inner) => open.push(Dir::new(inner)?),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(total)
}

/// Deletes a directory with its content. Nested directories are first moved to the top directory, one by one.
/// Neither the depth of the tree nor the limit of open files then matters.
pub(crate) fn remove(dir: &Path) -> Result<(), Errno> {
    let top = match open_dir(CWD, dir) {
        Err(Errno::NOENT) => return Ok(()),
        top => top?,
    };
    let mut moved = 0u64;
    loop {
        let entries = entry_names(top.as_fd())?;
        if entries.is_empty() {
            return match rustix::fs::rmdir(dir) {
                // Another process has deleted the directory.
                Err(Errno::NOENT) => Ok(()),
                result => result,
            };
        }
        for name in entries {
            if remove_entry(top.as_fd(), &name)? {
                continue;
            }
            let inner = match open_dir(top.as_fd(), &name) {
                Err(Errno::NOENT) => continue,
                inner => inner?,
            };
            // The owner needs these permissions to delete entries of the directory.
            let _ = rustix::fs::fchmod(&inner, Mode::RWXU);
            for deep in entry_names(inner.as_fd())? {
                if !remove_entry(inner.as_fd(), &deep)? {
                    let _ = rustix::fs::chmodat(&inner, &deep, Mode::RWXU, AtFlags::empty());
                    loop {
                        moved += 1;
                        let free = CString::new(format!("moved-{moved}")).unwrap_or_default();
                        let flags = rustix::fs::RenameFlags::NOREPLACE;
                        match rustix::fs::renameat_with(&inner, &deep, &top, &free, flags) {
                            Err(Errno::EXIST) => {}
                            result => break result?,
                        }
                    }
                }
            }
            match rustix::fs::unlinkat(&top, &name, AtFlags::REMOVEDIR) {
                // Entries that another process created after the listing are deleted in the next iteration.
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Opens a directory. If access is denied, adds the permissions of the owner and opens it again. The owner of
/// a job's files is the user of this process, unless this process is root.
fn open_dir(at: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let _ = rustix::fs::chmodat(&at, name, Mode::RWXU, AtFlags::empty());
            rustix::fs::openat(at, name, flags, Mode::empty())
        }
        opened => opened,
    }
}

fn entry_names(dir: impl AsFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Deletes a file or an empty directory. Returns `true` if the entry does not exist afterwards. Returns
/// `false` if the entry is a directory that is not empty, or if `rmdir` fails with `EACCES`.
fn remove_entry(at: impl AsFd, name: &CString) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(at.as_fd(), name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    match rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn create_test_dir(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("runway-tree-{}-{name}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn disk_usage_counts_hard_links_once_and_skips_symlinks() {
        let dir = create_test_dir("usage");
        fs::create_dir(dir.join("in")).unwrap();
        fs::write(dir.join("in/a"), vec![1; 1 << 20]).unwrap();
        let once = disk_usage(&dir, u64::MAX).unwrap();
        assert!((1 << 20..(1 << 20) + 65536).contains(&once), "{once}");
        fs::hard_link(dir.join("in/a"), dir.join("b")).unwrap();
        std::os::unix::fs::symlink("/usr", dir.join("c")).unwrap();
        assert!(disk_usage(&dir, u64::MAX).unwrap() <= once + 4096);
        assert!(disk_usage(&dir, 1000).unwrap() > 1000);
        remove(&dir).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn remove_deletes_deep_and_closed_directories() {
        let top = create_test_dir("deep");
        let mut at = open_dir(CWD, &top).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            rustix::fs::openat(&at, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
            at = open_dir(&at, "d").unwrap();
        }
        drop(at);
        fs::create_dir_all(top.join("closed/in")).unwrap();
        fs::write(top.join("moved-1"), "in the way").unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        fs::set_permissions(top.join("closed"), closed).unwrap();
        remove(&top).unwrap();
        assert!(!top.exists());
        remove(&top).unwrap();
    }
}
