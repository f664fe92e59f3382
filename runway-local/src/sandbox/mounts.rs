//! The mounts of a job: the files of the machine, read-only, and a few private directories.
//!
//! The new root is an empty file system in memory. The top-level directories of the machine are bound into
//! it, except for the ones that a job must not see. The flags are set for each mount separately, because a
//! mount from outside of a user namespace must keep its flags.

use super::{ErrorContext, SandboxError};
use crate::plan::Sandbox;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind,
    mount_bind_recursive, mount_change, mount_remount, move_mount, open_tree, unmount,
};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The mount point of the new root during the setup. Jobs never see the machine's `/tmp`, so the new root can
/// cover it.
const NEW_ROOT: &str = "/tmp";
/// Directories that are empty or private in a job.
const PRIVATE_DIRS: [&str; 7] = ["dev", "home", "proc", "root", "run", "sys", "tmp"];
/// Devices that every job can use.
const DEFAULT_DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// The part of `/sys` that describes processors and memory. A job without GPUs sees only this part.
const SYSFS_DIR: &str = "/sys/devices/system";
/// The parts of `/sys` that GPU libraries read. A job with GPUs sees only these parts.
const GPU_SYSFS_DIRS: [&str; 3] = ["/sys/bus", "/sys/devices", "/sys/module"];

const BASE_FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Creates the mounts of a job and changes the root directory to them.
pub(crate) fn setup(sandbox: &Sandbox, files_dir: &Path) -> Result<(), SandboxError> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("making the mounts private")?;
    // The directory can be below `/tmp`, which the new root covers. Its mount is therefore cloned first.
    let files_mount =
        open_tree(CWD, files_dir, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
            .context(format_args!("opening `{}`", files_dir.display()))?;
    let resolver = if sandbox.open_network { fs::read("/etc/resolv.conf").ok() } else { None };
    let root = Path::new(NEW_ROOT);
    mount("tmpfs", root, "tmpfs", BASE_FLAGS, Some(c"mode=755,size=1m")).context("mounting the new root")?;
    let mut bound = bind_host_root(root)?;
    for name in PRIVATE_DIRS {
        create_dir(&root.join(name))?;
    }
    move_mount(&files_mount, "", CWD, root.join("tmp"), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .context("binding `/tmp`")?;
    remount(&root.join("tmp"), BASE_FLAGS)?;
    setup_devices(root, sandbox)?;
    mount("proc", root.join("proc"), "proc", BASE_FLAGS | MountFlags::NOEXEC, None)
        .context("mounting `/proc`")?;
    bound.extend(bind_sysfs(root, !sandbox.devices.is_empty())?);
    make_read_only(&bound)?;
    for hidden_dir in &sandbox.hidden_dirs {
        mask_dir(root, hidden_dir)?;
    }
    let temporary = root.join("var/tmp");
    if temporary.is_dir() {
        mount_bind(root.join("tmp"), &temporary).context("binding `/var/tmp`")?;
        remount(&temporary, BASE_FLAGS)?;
    }
    if let Some(resolver) = resolver {
        setup_resolver(root, &resolver)?;
    }
    remount(root, BASE_FLAGS | MountFlags::RDONLY)?;
    std::env::set_current_dir(root).context("changing to the new root")?;
    rustix::process::pivot_root(".", ".").context("changing the root directory")?;
    // After the pivot, the old root is mounted on top of the new one.
    unmount(".", UnmountFlags::DETACH).context("unmounting the old root")?;
    std::env::set_current_dir("/").context("changing to the new root")
}

/// Binds the top-level directories of the machine, except for the private ones, and copies top-level symbolic
/// links. Returns the mount points.
fn bind_host_root(root: &Path) -> Result<Vec<PathBuf>, SandboxError> {
    let mut bound = Vec::new();
    for entry in fs::read_dir("/").context("reading `/`")? {
        let entry = entry.context("reading `/`")?;
        let name = entry.file_name();
        if PRIVATE_DIRS.iter().any(|own| name == *own) {
            continue;
        }
        let (from, to) = (entry.path(), root.join(&name));
        let kind = entry.file_type().context("reading `/`")?;
        if kind.is_symlink() {
            let target = fs::read_link(&from).context(format_args!("reading `{}`", from.display()))?;
            std::os::unix::fs::symlink(target, &to).context(format_args!("linking `{}`", from.display()))?;
        } else if kind.is_dir() {
            bind(&from, &to, &mut bound)?;
        }
    }
    Ok(bound)
}

/// Binds a directory with all mounts below it. A directory that this process may not access stays empty.
fn bind(from: &Path, to: &Path, bound: &mut Vec<PathBuf>) -> Result<(), SandboxError> {
    create_dir(to)?;
    match mount_bind_recursive(from, to) {
        Err(Errno::ACCESS) => Ok(()),
        result => {
            result.context(format_args!("binding `{}`", from.display()))?;
            bound.push(to.to_owned());
            Ok(())
        }
    }
}

fn setup_devices(root: &Path, sandbox: &Sandbox) -> Result<(), SandboxError> {
    let dev = root.join("dev");
    let default_devices = DEFAULT_DEVICES.iter().map(|name| Path::new("/dev").join(name));
    for device in default_devices.chain(sandbox.devices.iter().cloned()) {
        let at = root.join(device.strip_prefix("/").unwrap_or(&device));
        File::create(&at).context(format_args!("creating `{}`", device.display()))?;
        mount_bind(&device, &at).context(format_args!("binding `{}`", device.display()))?;
    }
    for (name, target) in
        [("fd", "self/fd"), ("stdin", "self/fd/0"), ("stdout", "self/fd/1"), ("stderr", "self/fd/2")]
    {
        let link = std::os::unix::fs::symlink(Path::new("/proc").join(target), dev.join(name));
        link.context(format_args!("linking `/dev/{name}`"))?;
    }
    create_dir(&dev.join("shm"))?;
    let size =
        std::ffi::CString::new(format!("mode=1777,size={}", sandbox.shm_size.units())).unwrap_or_default();
    mount("tmpfs", dev.join("shm"), "tmpfs", BASE_FLAGS | MountFlags::NOEXEC, Some(size.as_c_str()))
        .context("mounting `/dev/shm`")
}

fn bind_sysfs(root: &Path, has_gpus: bool) -> Result<Vec<PathBuf>, SandboxError> {
    let mut bound = Vec::new();
    let wanted: &[&str] = if has_gpus { &GPU_SYSFS_DIRS } else { &[SYSFS_DIR] };
    for from in wanted.iter().map(Path::new).filter(|path| path.is_dir()) {
        let to = root.join(from.strip_prefix("/").unwrap_or(from));
        let parent = to.parent().unwrap_or(root);
        fs::create_dir_all(parent).context(format_args!("creating `{}`", parent.display()))?;
        bind(from, &to, &mut bound)?;
    }
    Ok(bound)
}

/// Makes every mount at or below these mount points read-only.
fn make_read_only(bound: &[PathBuf]) -> Result<(), SandboxError> {
    let table = fs::read("/proc/self/mountinfo").context("reading `/proc/self/mountinfo`")?;
    for line in table.split(|byte| *byte == b'\n') {
        let Some((point, flags)) = parse_mount(line) else { continue };
        if !bound.iter().any(|bound| point.starts_with(bound)) {
            continue;
        }
        match mount_remount(&point, MountFlags::BIND | MountFlags::RDONLY | BASE_FLAGS | flags, c"") {
            // This process cannot reach the mount, so neither can the job.
            Ok(()) | Err(Errno::ACCESS) => {}
            result => return result.context(format_args!("making `{}` read-only", point.display())),
        }
    }
    Ok(())
}

/// Covers a directory with an empty one. Does nothing if the directory does not exist in the new root.
fn mask_dir(root: &Path, hidden_dir: &Path) -> Result<(), SandboxError> {
    let at = root.join(hidden_dir.strip_prefix("/").unwrap_or(hidden_dir));
    if !at.is_dir() {
        return Ok(());
    }
    mount("tmpfs", &at, "tmpfs", BASE_FLAGS | MountFlags::RDONLY, Some(c"mode=555,size=4k"))
        .context(format_args!("hiding `{}`", hidden_dir.display()))
}

/// Copies the list of name servers to the new root. On many systems `/etc/resolv.conf` is a link to a file
/// below `/run`, which jobs do not see. Does nothing if the file is elsewhere.
fn setup_resolver(root: &Path, resolver: &[u8]) -> Result<(), SandboxError> {
    let Ok(target) = fs::canonicalize("/etc/resolv.conf") else { return Ok(()) };
    if !target.starts_with("/run") {
        return Ok(());
    }
    let at = root.join(target.strip_prefix("/").unwrap_or(&target));
    let parent = at.parent().unwrap_or(root);
    fs::create_dir_all(parent).and_then(|()| fs::write(&at, resolver)).context("writing `/etc/resolv.conf`")
}

fn create_dir(dir: &Path) -> Result<(), SandboxError> {
    fs::create_dir(dir).context(format_args!("creating `{}`", dir.display()))
}

fn remount(at: &Path, flags: MountFlags) -> Result<(), SandboxError> {
    let table = fs::read("/proc/self/mountinfo").context("reading `/proc/self/mountinfo`")?;
    let mut lines = table.split(|byte| *byte == b'\n').rev().filter_map(parse_mount);
    // The last mount on a mount point is the visible one.
    let current = lines.find(|(point, _)| point == at).map_or(MountFlags::empty(), |(_, flags)| flags);
    mount_remount(at, MountFlags::BIND | flags | current, c"")
        .context(format_args!("setting the flags of `{}`", at.display()))
}

/// Parses a line of `/proc/self/mountinfo`. Returns the mount point and the flags that a remount must keep.
fn parse_mount(line: &[u8]) -> Option<(PathBuf, MountFlags)> {
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let (point, options) = (unescape(fields.next()?), fields.next()?);
    let mut flags = MountFlags::empty();
    for option in options.split(|byte| *byte == b',') {
        flags |= match option {
            b"ro" => MountFlags::RDONLY,
            b"nosuid" => MountFlags::NOSUID,
            b"nodev" => MountFlags::NODEV,
            b"noexec" => MountFlags::NOEXEC,
            b"noatime" => MountFlags::NOATIME,
            b"nodiratime" => MountFlags::NODIRATIME,
            b"relatime" => MountFlags::RELATIME,
            _ => MountFlags::empty(),
        };
    }
    Some((point, flags))
}

/// Decodes the octal escapes of `/proc/self/mountinfo`, such as `\040` for a space.
fn unescape(path: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    PathBuf::from(OsStr::from_bytes(&bytes).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_flags_and_escaped_paths_are_parsed() {
        let line =
            br"41 30 8:1 /a /mnt/with\040blank\134 rw,nosuid,noexec,relatime shared:1 - ext4 /dev/sda1 rw";
        let (point, flags) = parse_mount(line).unwrap();
        assert_eq!(point, Path::new(r"/mnt/with blank\"));
        assert_eq!(flags, MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::RELATIME);
        assert!(parse_mount(b"").is_none());
    }
}
