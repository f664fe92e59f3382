//! The control group hierarchies of this machine, and where in them the groups of jobs are created.

use super::group::{Group, Groups};
use super::{Controller, Limits, Missing, NotEnforced, Version};
use crate::errno;
use rustix::fs::{Access, access};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The hierarchies of this machine, and the parent of the jobs' groups in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    hierarchies: Vec<Hierarchy>,
    /// Whether the parent was configured. Runway then does not delete it.
    has_parent: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    mount: PathBuf,
    /// The parent of the jobs' groups.
    base: PathBuf,
    controllers: Vec<Controller>,
    /// The `cgroup.procs` file that this process must be able to write to in order to move processes to
    /// `base`, if it may not.
    barrier: Option<PathBuf>,
}

/// The name of the default parent.
const BASE: &str = "runway";

impl Layout {
    /// Reads the hierarchies of this machine. `parent` is a path from the root of each hierarchy, below which
    /// jobs are created.
    pub(crate) fn discover(parent: Option<&Path>) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        Ok(Self::read(&mounts, &own, parent, &|path| access(path, Access::WRITE_OK).is_ok(), &|path| {
            fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default()
        }))
    }

    fn read(
        mounts: &str,
        own: &str,
        parent: Option<&Path>,
        is_writable: &dyn Fn(&Path) -> bool,
        controllers: &dyn Fn(&Path) -> String,
    ) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in mounts.lines() {
            let Some(mount) = Mount::read(line) else { continue };
            if hierarchies.iter().any(|known| known.mount == mount.point) {
                continue;
            }
            let is_named =
                |known: Controller| mount.options.split(',').any(|option| option == known.as_str());
            let named = Controller::ALL.into_iter().filter(|known| is_named(*known));
            let (version, mut named): (_, Vec<_>) = match mount.kind {
                "cgroup" => (Version::V1, named.collect()),
                _ => (Version::V2, Vec::new()),
            };
            let own = own_group(own, version, &named).unwrap_or("/");
            // A mount can show only a part of the hierarchy, starting at its root.
            let own = Path::new(own).strip_prefix(mount.root).unwrap_or(Path::new(""));
            let beneath = match (parent, version) {
                (Some(parent), _) => mount.point.join(parent.strip_prefix("/").unwrap_or(parent)),
                (None, Version::V1) => mount.point.join(own).join(BASE),
                (None, Version::V2) => {
                    let path = mount.point.join(own);
                    let above: Vec<_> =
                        path.ancestors().take_while(|at| at.starts_with(mount.point)).collect();
                    let writable = |at: &&&Path| is_writable(at) && is_writable(&at.join("cgroup.procs"));
                    above.iter().rev().find(writable).map_or(path.as_path(), |at| *at).join(BASE)
                }
            };
            if version == Version::V2 {
                // If a controller cannot be enabled in `base`, its files are missing there. Setting the limit
                // then fails, which is reported.
                let offered = controllers(mount.point);
                let offers =
                    |known: &Controller| offered.split_whitespace().any(|name| name == known.as_str());
                named = Controller::ALL.into_iter().filter(offers).collect();
            }
            // Version 2 moves a process only if the caller may write to the common ancestor of both groups.
            let here = mount.point.join(own);
            let above_both = beneath.ancestors().find(|at| here.starts_with(at)).unwrap_or(mount.point);
            let gate = above_both.join("cgroup.procs");
            let is_barred = version == Version::V2 && !is_writable(&gate);
            if named.is_empty() {
                continue;
            }
            hierarchies.push(Hierarchy {
                version,
                mount: mount.point.to_owned(),
                base: beneath,
                controllers: named,
                barrier: is_barred.then_some(gate),
            });
        }
        Self { hierarchies, has_parent: parent.is_some() }
    }

    /// Creates the groups of a job in all hierarchies and sets the limits. Returns the limits that could not
    /// be set.
    pub(crate) fn make(&self, name: &str, limits: &Limits) -> (Groups, Vec<Missing>) {
        let mut groups = Groups::new(!self.has_parent);
        let mut missing = Vec::new();
        for limit in Controller::LIMITING {
            if !self.hierarchies.iter().any(|hierarchy| hierarchy.controllers.contains(&limit)) {
                missing.push(Missing { limit, why: "no control group hierarchy limits it".to_owned() });
            }
        }
        for hierarchy in &self.hierarchies {
            let limiting: Vec<_> =
                hierarchy.controllers.iter().copied().filter(|c| Controller::LIMITING.contains(c)).collect();
            let mut refuse = |limit: Controller, error: &io::Error, path: &Path| {
                let why = format!("`{}`: {}", path.display(), errno::text(error));
                missing.push(Missing { limit, why });
            };
            match hierarchy.make(name) {
                Ok(path) => {
                    let group = Group {
                        path,
                        version: hierarchy.version,
                        controllers: hierarchy.controllers.clone(),
                    };
                    for (controller, file, error) in group.limit(limits) {
                        if limiting.contains(&controller) {
                            refuse(controller, &error, &group.path.join(file));
                        }
                    }
                    groups.add(group);
                }
                Err((path, error)) => {
                    for limit in limiting {
                        refuse(limit, &error, &path);
                    }
                }
            }
        }
        (groups, missing)
    }

    /// Returns the error for limits that cannot be enforced. It includes advice if an unprivileged user can
    /// solve the problem.
    pub(crate) fn not_enforced(&self, missing: &[Missing]) -> NotEnforced {
        // With version 2, systemd delegates a subtree to each user, but login sessions are outside of it.
        // With version 1, nothing is delegated.
        let is_barred = self.hierarchies.iter().any(|hierarchy| hierarchy.barrier.is_some());
        NotEnforced {
            missing: missing.iter().map(ToString::to_string).collect(),
            advice: is_barred.then_some(
                "start the program with `systemd-run --user --scope`, or let root delegate a control group to this user and \
                 set `--cgroup-parent`",
            ),
        }
    }

    /// Returns the existing groups of a job without a record.
    pub(crate) fn named(&self, name: &str) -> Groups {
        let mut groups = Groups::new(!self.has_parent);
        for hierarchy in &self.hierarchies {
            let path = hierarchy.base.join(name);
            if path.is_dir() {
                groups.add(Group {
                    path,
                    version: hierarchy.version,
                    controllers: hierarchy.controllers.clone(),
                });
            }
        }
        groups
    }
}

impl Hierarchy {
    fn make(&self, name: &str) -> Result<PathBuf, (PathBuf, io::Error)> {
        if let Some(barrier) = &self.barrier {
            return Err((barrier.clone(), ErrorKind::PermissionDenied.into()));
        }
        let path = self.base.join(name);
        // Another process can delete the parent with the last group in it, between the two calls.
        for _ in 0..100 {
            if let Err(error) = fs::create_dir_all(&self.base) {
                return Err((self.base.clone(), error));
            }
            if self.version == Version::V2 {
                self.hand_down();
            }
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err((path, error)),
                Ok(()) => return Ok(path),
            }
        }
        Err((path, ErrorKind::NotFound.into()))
    }

    /// Enables the controllers in all groups above the jobs. Errors are ignored: if a controller is missing,
    /// setting its limit fails later, which is reported.
    fn hand_down(&self) {
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
    /// Parses a line of `/proc/self/mountinfo`. Returns `None` for other file systems.
    fn read(line: &'a str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let kind = filesystem.next().filter(|kind| matches!(*kind, "cgroup" | "cgroup2"))?;
        Some(Self { root, point: Path::new(point), kind, options: filesystem.nth(1)? })
    }
}

/// Returns the path of this process's group in the hierarchy, from the content of `/proc/self/cgroup`.
fn own_group<'a>(own: &'a str, version: Version, controllers: &[Controller]) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, path) = rest.split_once(':')?;
        let is_here = match version {
            Version::V2 => names.is_empty(),
            Version::V1 => names.split(',').any(|name| controllers.iter().any(|c| c.as_str() == name)),
        };
        is_here.then_some(path)
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
        Layout::read(mounts, own, parent, &is_writable, &|_| offered.to_owned()).hierarchies
    }

    #[test]
    fn with_both_versions_the_one_that_limits_is_used() {
        let own = "4:memory:/outer\n2:cpu,cpuacct:/\n0::/\n";
        let found = read(HYBRID, own, None, "/", "");
        let bases: Vec<_> = found.iter().map(|h| h.base.to_str().unwrap()).collect();
        assert_eq!(bases, ["/sys/fs/cgroup/cpu,cpuacct/runway", "/sys/fs/cgroup/memory/outer/runway",]);
        assert_eq!(found[0].controllers, [Controller::Cpu, Controller::Cpuacct]);
    }

    #[test]
    fn with_the_second_version_jobs_go_below_the_highest_group_that_may_be_written() {
        let own = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run.scope\n";
        let delegated = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
        let found = read(UNIFIED, own, None, delegated, "cpu memory pids");
        assert_eq!(found[0].base, Path::new(delegated).join("runway"));
        assert_eq!(found[0].controllers, [Controller::Cpu, Controller::Memory, Controller::Pids]);
        assert_eq!(found[0].barrier, None);
        let elsewhere = read(UNIFIED, own, Some("/batch"), delegated, "cpu");
        assert_eq!(elsewhere[0].barrier.as_deref(), Some(Path::new("/sys/fs/cgroup/cgroup.procs")));
        let as_root = read(UNIFIED, own, None, "/", "cpu");
        assert_eq!(as_root[0].base, Path::new("/sys/fs/cgroup/runway"));
    }

    #[test]
    fn who_is_in_a_session_is_told_the_way_out_of_it() {
        let own = "0::/user.slice/user-1000.slice/session-3.scope\n";
        let read = |writable: &'static str| {
            let hierarchies = read(UNIFIED, own, None, writable, "cpu memory pids");
            Layout { hierarchies, has_parent: false }
        };
        let missing = Missing { limit: Controller::Memory, why: "x".to_owned() };
        let session = read("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service");
        let told = session.not_enforced(std::slice::from_ref(&missing)).to_string();
        assert!(told.contains("memory: x; start the program with `systemd-run --user --scope`"), "{told}");
        assert_eq!(read("/").not_enforced(&[missing]).advice, None);
    }

    #[test]
    fn a_parent_that_is_named_is_the_parent_everywhere() {
        let found = read(HYBRID, "4:memory:/outer\n", Some("/batch/jobs"), "/", "");
        assert!(found.iter().all(|h| h.base.ends_with("batch/jobs")), "{found:?}");
    }

    #[test]
    fn in_a_container_the_own_group_begins_at_the_root_of_the_mount() {
        let mounts = "32 30 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let found = read(mounts, "4:memory:/docker/abc/in\n", None, "/", "");
        assert_eq!(found[0].base, Path::new("/sys/fs/cgroup/memory/in/runway"));
    }

    #[test]
    fn without_control_groups_every_limit_is_missing() {
        let limits = Limits {
            cpu: runway_core::units::CpuMillis::new(500),
            memory: runway_core::units::MemoryBytes::new(1 << 24),
            pids: 10,
            devices: Vec::new(),
        };
        let (groups, missing) = Layout { hierarchies: Vec::new(), has_parent: false }.make("x", &limits);
        assert!(groups.to_join().is_empty());
        let limits: Vec<_> = missing.iter().map(|missing| missing.limit).collect();
        assert_eq!(limits, [Controller::Cpu, Controller::Memory, Controller::Pids]);
    }
}
