//! Measures and deletes directory trees that a job has filled.
//!
//! No function follows a symbolic link or passes a path with more than one component to the kernel. Depth and
//! names of the tree therefore do not matter.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Bytes counted for each file in addition to its blocks: the size of an inode in ext4. Otherwise a job could
/// create empty files without limit.
const FILE: u64 = 256;

/// Returns the disk usage of a directory in bytes. Stops counting above `limit`.
///
/// A file with several hard links counts once. Files that are deleted during the measurement do not count.
pub(crate) fn usage(folder: &Path, enough: u64) -> Result<u64, Errno> {
    let mut open = vec![Dir::new(enter(CWD, folder)?)?];
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
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_folder || stat.st_nlink < 2 || linked.insert(stat.st_ino) {
            let blocks = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
            total = total.saturating_add(blocks).saturating_add(FILE);
        }
        if total > enough {
            break;
        }
        if is_folder {
            match enter(dir, entry.file_name()) {
                Ok(inner) => open.push(Dir::new(inner)?),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(total)
}

/// Deletes a directory with its content. Nested directories are first moved to the top, one by one. Neither
/// the depth of the tree nor the limit of open files then matters.
pub(crate) fn remove(folder: &Path) -> Result<(), Errno> {
    let top = match enter(CWD, folder) {
        Err(Errno::NOENT) => return Ok(()),
        top => top?,
    };
    let mut moved = 0u64;
    loop {
        let names = names(top.as_fd())?;
        if names.is_empty() {
            return match rustix::fs::rmdir(folder) {
                // Another process has deleted it.
                Err(Errno::NOENT) => Ok(()),
                result => result,
            };
        }
        for name in names {
            if take_away(top.as_fd(), &name)? {
                continue;
            }
            let inner = match enter(top.as_fd(), &name) {
                Err(Errno::NOENT) => continue,
                inner => inner?,
            };
            // The owner needs these permissions to delete entries of the directory.
            let _ = rustix::fs::fchmod(&inner, Mode::RWXU);
            for deep in self::names(inner.as_fd())? {
                if !take_away(inner.as_fd(), &deep)? {
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
                // Entries that were created since are deleted in the next iteration.
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Opens a directory. Adds the owner's permissions if they are missing, because this process is the owner.
fn enter(at: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let _ = rustix::fs::chmodat(&at, name, Mode::RWXU, AtFlags::empty());
            rustix::fs::openat(at, name, flags, Mode::empty())
        }
        opened => opened,
    }
}

fn names(folder: impl AsFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Deletes a file or an empty directory. Returns `false` for a directory that is not empty.
fn take_away(at: impl AsFd, name: &CString) -> Result<bool, Errno> {
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

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("runway-tree-{}-{name}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn a_file_with_two_names_counts_once_and_a_link_leads_nowhere() {
        let folder = folder("usage");
        fs::create_dir(folder.join("in")).unwrap();
        fs::write(folder.join("in/a"), vec![1; 1 << 20]).unwrap();
        let once = usage(&folder, u64::MAX).unwrap();
        assert!((1 << 20..(1 << 20) + 65536).contains(&once), "{once}");
        fs::hard_link(folder.join("in/a"), folder.join("b")).unwrap();
        std::os::unix::fs::symlink("/usr", folder.join("c")).unwrap();
        assert!(usage(&folder, u64::MAX).unwrap() <= once + 4096);
        assert!(usage(&folder, 1000).unwrap() > 1000);
        remove(&folder).unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn neither_depth_nor_modes_keep_a_folder() {
        let top = folder("deep");
        let mut at = enter(CWD, &top).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            rustix::fs::openat(&at, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
            at = enter(&at, "d").unwrap();
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
