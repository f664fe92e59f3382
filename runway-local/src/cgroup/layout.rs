//! The control group hierarchies of this machine, and where in them the groups of jobs are created.

use super::group::{Cgroup, JobCgroups};
use super::{CgroupVersion, Controller, Limits, NotEnforced, UnenforcedLimit};
use crate::errno;
use rustix::fs::{Access, access};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The hierarchies of this machine, and the parent of the jobs' groups in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CgroupLayout {
    hierarchies: Vec<Hierarchy>,
    /// Whether the parent was configured. Runway never deletes a configured parent.
    has_custom_parent: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    version: CgroupVersion,
    mount: PathBuf,
    /// The parent of the jobs' groups.
    base: PathBuf,
    controllers: Vec<Controller>,
    /// The `cgroup.procs` file that this process may not write to, although moving processes to `base`
    /// requires it. `None` if this process may move processes.
    unwritable_procs: Option<PathBuf>,
}

/// The name of the default parent.
const BASE_NAME: &str = "runway";

impl CgroupLayout {
    /// Reads the hierarchies of this machine. `parent` is a path from the root of each hierarchy, below which
    /// jobs are created.
    pub(crate) fn discover(parent: Option<&Path>) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        Ok(Self::parse(&mounts, &own, parent, &|path| access(path, Access::WRITE_OK).is_ok(), &|path| {
            fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default()
        }))
    }

    fn parse(
        mounts: &str,
        own: &str,
        parent: Option<&Path>,
        is_writable: &dyn Fn(&Path) -> bool,
        controllers: &dyn Fn(&Path) -> String,
    ) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in mounts.lines() {
            let Some(mount) = Mount::parse(line) else { continue };
            if hierarchies.iter().any(|known| known.mount == mount.point) {
                continue;
            }
            let is_named =
                |known: Controller| mount.options.split(',').any(|option| option == known.as_str());
            let controllers_of_mount = Controller::ALL.into_iter().filter(|known| is_named(*known));
            let (version, mut available): (_, Vec<_>) = match mount.kind {
                "cgroup" => (CgroupVersion::V1, controllers_of_mount.collect()),
                _ => (CgroupVersion::V2, Vec::new()),
            };
            let own = own_group(own, version, &available).unwrap_or("/");
            // A mount can show only a part of the hierarchy. `mount.root` is the path of this part in the
            // hierarchy.
            let own = Path::new(own).strip_prefix(mount.root).unwrap_or(Path::new(""));
            let base = match (parent, version) {
                (Some(parent), _) => mount.point.join(parent.strip_prefix("/").unwrap_or(parent)),
                (None, CgroupVersion::V1) => mount.point.join(own).join(BASE_NAME),
                (None, CgroupVersion::V2) => {
                    let path = mount.point.join(own);
                    let above: Vec<_> =
                        path.ancestors().take_while(|at| at.starts_with(mount.point)).collect();
                    let writable = |at: &&&Path| is_writable(at) && is_writable(&at.join("cgroup.procs"));
                    above.iter().rev().find(writable).map_or(path.as_path(), |at| *at).join(BASE_NAME)
                }
            };
            if version == CgroupVersion::V2 {
                // If a controller cannot be enabled in `base`, the files of its limits are missing there.
                // Setting the limit then fails and is reported.
                let offered = controllers(mount.point);
                let offers =
                    |known: &Controller| offered.split_whitespace().any(|name| name == known.as_str());
                available = Controller::ALL.into_iter().filter(offers).collect();
            }
            // Version 2 moves a process only if the caller may write to `cgroup.procs` of the common ancestor
            // of both groups.
            let own_path = mount.point.join(own);
            let common_ancestor = base.ancestors().find(|at| own_path.starts_with(at)).unwrap_or(mount.point);
            let procs_file = common_ancestor.join("cgroup.procs");
            let is_unwritable = version == CgroupVersion::V2 && !is_writable(&procs_file);
            if available.is_empty() {
                continue;
            }
            hierarchies.push(Hierarchy {
                version,
                mount: mount.point.to_owned(),
                base,
                controllers: available,
                unwritable_procs: is_unwritable.then_some(procs_file),
            });
        }
        Self { hierarchies, has_custom_parent: parent.is_some() }
    }

    /// Creates the groups of a job in all hierarchies and sets the limits. Returns the groups, and the
    /// required limits that could not be set.
    pub(crate) fn create(&self, name: &str, limits: &Limits) -> (JobCgroups, Vec<UnenforcedLimit>) {
        let mut cgroups = JobCgroups::new(!self.has_custom_parent);
        let mut unenforced = Vec::new();
        for limit in Controller::REQUIRED {
            if !self.hierarchies.iter().any(|hierarchy| hierarchy.controllers.contains(&limit)) {
                unenforced.push(UnenforcedLimit {
                    limit,
                    reason: "no control group hierarchy limits it".to_owned(),
                });
            }
        }
        for hierarchy in &self.hierarchies {
            let required: Vec<_> =
                hierarchy.controllers.iter().copied().filter(|c| Controller::REQUIRED.contains(c)).collect();
            let mut report = |limit: Controller, error: &io::Error, path: &Path| {
                let reason = format!("`{}`: {}", path.display(), errno::message(error));
                unenforced.push(UnenforcedLimit { limit, reason });
            };
            match hierarchy.create(name) {
                Ok(path) => {
                    let group = Cgroup {
                        path,
                        version: hierarchy.version,
                        controllers: hierarchy.controllers.clone(),
                    };
                    for (controller, file, error) in group.set_limits(limits) {
                        if required.contains(&controller) {
                            report(controller, &error, &group.path.join(file));
                        }
                    }
                    cgroups.add(group);
                }
                Err((path, error)) => {
                    for limit in required {
                        report(limit, &error, &path);
                    }
                }
            }
        }
        (cgroups, unenforced)
    }

    /// Returns the error for limits that cannot be enforced. It includes advice if an unprivileged user can
    /// solve the problem.
    pub(crate) fn not_enforced(&self, unenforced: &[UnenforcedLimit]) -> NotEnforced {
        // With version 2, systemd delegates a subtree to each user, but login sessions are outside of it.
        // With version 1, nothing is delegated.
        let is_unwritable = self.hierarchies.iter().any(|hierarchy| hierarchy.unwritable_procs.is_some());
        NotEnforced {
            limits: unenforced.iter().map(ToString::to_string).collect(),
            advice: is_unwritable.then_some(
                "start the program with `systemd-run --user --scope`, or let root delegate a control group to this user and \
                 set `--cgroup-parent`",
            ),
        }
    }

    /// Returns the existing groups with this name. Also finds the groups of a job that has no record.
    pub(crate) fn existing(&self, name: &str) -> JobCgroups {
        let mut cgroups = JobCgroups::new(!self.has_custom_parent);
        for hierarchy in &self.hierarchies {
            let path = hierarchy.base.join(name);
            if path.is_dir() {
                cgroups.add(Cgroup {
                    path,
                    version: hierarchy.version,
                    controllers: hierarchy.controllers.clone(),
                });
            }
        }
        cgroups
    }
}

impl Hierarchy {
    fn create(&self, name: &str) -> Result<PathBuf, (PathBuf, io::Error)> {
        if let Some(procs_file) = &self.unwritable_procs {
            return Err((procs_file.clone(), ErrorKind::PermissionDenied.into()));
        }
        let path = self.base.join(name);
        // A process that removes the last group in the parent also deletes the parent. If this happens
        // between the two calls, they are repeated.
        for _ in 0..100 {
            if let Err(error) = fs::create_dir_all(&self.base) {
                return Err((self.base.clone(), error));
            }
            if self.version == CgroupVersion::V2 {
                self.enable_controllers();
            }
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err((path, error)),
                Ok(()) => return Ok(path),
            }
        }
        Err((path, ErrorKind::NotFound.into()))
    }

    /// Enables the controllers in `base` and in all groups above it. Errors are ignored: if a controller is
    /// missing, setting its limit fails later, which is reported.
    fn enable_controllers(&self) {
        let mut above: Vec<_> = self.base.ancestors().take_while(|at| at.starts_with(&self.mount)).collect();
        above.reverse();
        for at in above {
            for controller in &self.controllers {
                let _ = fs::write(at.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
    }
}

/// A mount of a control group hierarchy.
struct Mount<'a> {
    root: &'a str,
    point: &'a Path,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Parses a line of `/proc/self/mountinfo`. Returns `None` for mounts of other file systems.
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let kind = filesystem.next().filter(|kind| matches!(*kind, "cgroup" | "cgroup2"))?;
        Some(Self { root, point: Path::new(point), kind, options: filesystem.nth(1)? })
    }
}

/// Returns the path of this process's group in the hierarchy, from the content of `/proc/self/cgroup`.
fn own_group<'a>(own: &'a str, version: CgroupVersion, controllers: &[Controller]) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, path) = rest.split_once(':')?;
        let is_match = match version {
            CgroupVersion::V2 => names.is_empty(),
            CgroupVersion::V1 => names.split(',').any(|name| controllers.iter().any(|c| c.as_str() == name)),
        };
        is_match.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const UNIFIED: &str = "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    fn read(mounts: &str, own: &str, parent: Option<&str>, writable: &str, offered: &str) -> Vec<Hierarchy> {
        let parent = parent.map(Path::new);
        let is_writable = |path: &Path| path.starts_with(writable);
        CgroupLayout::parse(mounts, own, parent, &is_writable, &|_| offered.to_owned()).hierarchies
    }

    #[test]
    fn hybrid_hosts_use_version_1_controllers() {
        let own = "4:memory:/outer\n2:cpu,cpuacct:/\n0::/\n";
        let found = read(HYBRID, own, None, "/", "");
        let bases: Vec<_> = found.iter().map(|h| h.base.to_str().unwrap()).collect();
        assert_eq!(bases, ["/sys/fs/cgroup/cpu,cpuacct/runway", "/sys/fs/cgroup/memory/outer/runway",]);
        assert_eq!(found[0].controllers, [Controller::Cpu, Controller::Cpuacct]);
    }

    #[test]
    fn version_2_uses_the_highest_writable_group() {
        let own = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run.scope\n";
        let delegated = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
        let found = read(UNIFIED, own, None, delegated, "cpu memory pids");
        assert_eq!(found[0].base, Path::new(delegated).join("runway"));
        assert_eq!(found[0].controllers, [Controller::Cpu, Controller::Memory, Controller::Pids]);
        assert_eq!(found[0].unwritable_procs, None);
        let elsewhere = read(UNIFIED, own, Some("/batch"), delegated, "cpu");
        assert_eq!(elsewhere[0].unwritable_procs.as_deref(), Some(Path::new("/sys/fs/cgroup/cgroup.procs")));
        let as_root = read(UNIFIED, own, None, "/", "cpu");
        assert_eq!(as_root[0].base, Path::new("/sys/fs/cgroup/runway"));
    }

    #[test]
    fn error_in_a_session_suggests_systemd_run() {
        let own = "0::/user.slice/user-1000.slice/session-3.scope\n";
        let read = |writable: &'static str| {
            let hierarchies = read(UNIFIED, own, None, writable, "cpu memory pids");
            CgroupLayout { hierarchies, has_custom_parent: false }
        };
        let unenforced = UnenforcedLimit { limit: Controller::Memory, reason: "x".to_owned() };
        let session = read("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service");
        let message = session.not_enforced(std::slice::from_ref(&unenforced)).to_string();
        assert!(
            message.contains("memory: x; start the program with `systemd-run --user --scope`"),
            "{message}"
        );
        assert_eq!(read("/").not_enforced(&[unenforced]).advice, None);
    }

    #[test]
    fn custom_parent_applies_to_every_hierarchy() {
        let found = read(HYBRID, "4:memory:/outer\n", Some("/batch/jobs"), "/", "");
        assert!(found.iter().all(|h| h.base.ends_with("batch/jobs")), "{found:?}");
    }

    #[test]
    fn own_group_is_relative_to_the_mount_root() {
        let mounts = "32 30 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let found = read(mounts, "4:memory:/docker/abc/in\n", None, "/", "");
        assert_eq!(found[0].base, Path::new("/sys/fs/cgroup/memory/in/runway"));
    }

    #[test]
    fn create_without_hierarchies_enforces_no_limit() {
        let limits = Limits {
            cpu: runway_core::units::CpuMillis::new(500),
            memory: runway_core::units::MemoryBytes::new(1 << 24),
            pids: 10,
            devices: Vec::new(),
        };
        let (cgroups, unenforced) =
            CgroupLayout { hierarchies: Vec::new(), has_custom_parent: false }.create("x", &limits);
        assert!(cgroups.procs_files().is_empty());
        let limits: Vec<_> = unenforced.iter().map(|missing| missing.limit).collect();
        assert_eq!(limits, [Controller::Cpu, Controller::Memory, Controller::Pids]);
    }
}
