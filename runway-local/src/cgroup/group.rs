//! The control groups of one job: sets limits, reads usage, kills processes.

use super::{CgroupVersion, Controller, Limits};
use runway_core::units::MemoryBytes;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The control groups of one job, one in each hierarchy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobCgroups {
    groups: Vec<Cgroup>,
    /// Whether the parent is the default one. Runway deletes this parent with the group of the last job.
    owns_parent: bool,
}

/// A control group in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cgroup {
    pub path: PathBuf,
    pub version: CgroupVersion,
    pub controllers: Vec<Controller>,
}

/// The default period of a CPU limit, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;
/// The maximum period that the kernel accepts, in microseconds. Used for a small limit, whose quota in the
/// default period would be below [`MIN_QUOTA`].
const MAX_PERIOD: u64 = 1_000_000;
/// The minimum CPU quota that the kernel accepts, in microseconds.
const MIN_QUOTA: u64 = 1_000;
/// `null`, `zero`, `full`, `random`, `urandom` and `tty`: the default devices in a job's `/dev`.
const DEFAULT_DEVICES: [&str; 6] =
    ["c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm"];

type LimitError = (Controller, &'static str, io::Error);

impl Cgroup {
    fn has(&self, controller: Controller) -> bool {
        self.controllers.contains(&controller)
    }

    fn write(&self, file: &str, value: impl ToString) -> io::Result<()> {
        fs::write(self.path.join(file), value.to_string())
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path.join(file)).ok()
    }

    /// Sets the limits of this hierarchy's controllers. Returns an error for each file that could not be
    /// written.
    pub(super) fn set_limits(&self, limits: &Limits) -> Vec<LimitError> {
        let mut failed = Vec::new();
        let mut set = |controller, file, value: String| {
            if let Err(error) = self.write(file, value) {
                failed.push((controller, file, error));
            }
        };
        let (quota, period) = quota(limits.cpu.units());
        match self.version {
            CgroupVersion::V1 => {
                if self.has(Controller::Cpu) {
                    set(Controller::Cpu, "cpu.cfs_period_us", period.to_string());
                    set(Controller::Cpu, "cpu.cfs_quota_us", quota.to_string());
                }
                if self.has(Controller::Memory) {
                    let bytes = limits.memory.units().to_string();
                    set(Controller::Memory, "memory.limit_in_bytes", bytes.clone());
                    if self.path.join("memory.memsw.limit_in_bytes").exists() || has_swap() {
                        set(Controller::Memory, "memory.memsw.limit_in_bytes", bytes);
                    }
                }
                if self.has(Controller::Pids) {
                    set(Controller::Pids, "pids.max", limits.pids.to_string());
                }
                if self.has(Controller::Devices) {
                    set(Controller::Devices, "devices.deny", "a".to_owned());
                    let assigned =
                        limits.devices.iter().map(|(major, minor)| format!("c {major}:{minor} rw"));
                    for rule in DEFAULT_DEVICES.into_iter().map(str::to_owned).chain(assigned) {
                        set(Controller::Devices, "devices.allow", rule);
                    }
                }
            }
            CgroupVersion::V2 => {
                if self.has(Controller::Cpu) {
                    set(Controller::Cpu, "cpu.max", format!("{quota} {period}"));
                }
                if self.has(Controller::Memory) {
                    set(Controller::Memory, "memory.max", limits.memory.units().to_string());
                    if self.path.join("memory.swap.max").exists() || has_swap() {
                        set(Controller::Memory, "memory.swap.max", "0".to_owned());
                    }
                }
                if self.has(Controller::Pids) {
                    set(Controller::Pids, "pids.max", limits.pids.to_string());
                }
            }
        }
        failed
    }

    fn is_empty(&self) -> bool {
        let populated = (self.version == CgroupVersion::V2).then(|| self.read("cgroup.events")).flatten();
        match populated {
            Some(events) => field(&events, "populated") == Some(0),
            None => self.read("cgroup.procs").is_none_or(|procs| procs.is_empty()),
        }
    }
}

impl JobCgroups {
    pub(super) const fn new(owns_parent: bool) -> Self {
        Self { groups: Vec::new(), owns_parent }
    }

    pub(super) fn add(&mut self, group: Cgroup) {
        self.groups.push(group);
    }

    /// Returns the files to write to, so that a single-threaded process joins all groups.
    ///
    /// With version 1, the process writes to `tasks`, which moves only the calling thread. To move a whole
    /// process, the kernel blocks the start and exit of all processes for 10 ms or more. Version 2 cannot
    /// separate the threads of a process, so joining it takes this time.
    pub(crate) fn procs_files(&self) -> Vec<PathBuf> {
        let file = |version| if version == CgroupVersion::V1 { "tasks" } else { "cgroup.procs" };
        self.groups.iter().map(|group| group.path.join(file(group.version))).collect()
    }

    /// Returns how many processes the kernel has killed for lack of memory, or 0 if no group counts them.
    pub(crate) fn oom_kills(&self) -> u64 {
        let kills = self.with_controller(Controller::Memory).and_then(|group| {
            let file = match group.version {
                CgroupVersion::V1 => "memory.oom_control",
                CgroupVersion::V2 => "memory.events",
            };
            field(&group.read(file)?, "oom_kill")
        });
        kills.unwrap_or(0)
    }

    /// Returns the CPU time used so far.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        if let Some(group) = self.with_controller(Controller::Cpuacct) {
            return group.read("cpuacct.usage")?.trim().parse().ok().map(Duration::from_nanos);
        }
        let group = self.groups.iter().find(|group| group.version == CgroupVersion::V2)?;
        field(&group.read("cpu.stat")?, "usage_usec").map(Duration::from_micros)
    }

    /// Returns how long the CPU limit has throttled the processes so far.
    pub(crate) fn throttled_time(&self) -> Option<Duration> {
        let group = self.with_controller(Controller::Cpu)?;
        let stat = group.read("cpu.stat")?;
        match group.version {
            CgroupVersion::V1 => field(&stat, "throttled_time").map(Duration::from_nanos),
            CgroupVersion::V2 => field(&stat, "throttled_usec").map(Duration::from_micros),
        }
    }

    /// Returns the memory currently in use.
    pub(crate) fn current_memory(&self) -> Option<MemoryBytes> {
        self.read_memory("memory.usage_in_bytes", "memory.current")
    }

    /// Returns the peak memory. With version 2, this requires Linux 5.19.
    pub(crate) fn peak_memory(&self) -> Option<MemoryBytes> {
        self.read_memory("memory.max_usage_in_bytes", "memory.peak")
    }

    fn read_memory(&self, v1: &str, v2: &str) -> Option<MemoryBytes> {
        let group = self.with_controller(Controller::Memory)?;
        let file = match group.version {
            CgroupVersion::V1 => v1,
            CgroupVersion::V2 => v2,
        };
        group.read(file)?.trim().parse().ok().map(MemoryBytes::new)
    }

    /// Kills the processes in the groups once.
    ///
    /// Version 2 kills them together. With version 1, each listed process is killed, and processes that start
    /// during the call can escape. A caller must repeat the call until the groups are empty. This ends,
    /// because the number of processes is limited.
    pub(crate) fn kill(&self) {
        let version_2 = self.groups.iter().filter(|group| group.version == CgroupVersion::V2);
        let killed = version_2.map(|group| group.write("cgroup.kill", 1)).any(|result| result.is_ok());
        if !killed {
            for pid in self.processes() {
                if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
    }

    /// Returns the pids of the processes in the groups. All groups have the same processes, so one group is
    /// read.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let listed = self.groups.first().and_then(|group| group.read("cgroup.procs")).unwrap_or_default();
        listed.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Returns whether all groups are empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.iter().all(Cgroup::is_empty)
    }

    /// Kills the processes until the groups are empty. Returns `false` if the timeout expires before.
    pub(crate) fn kill_all(&self, timeout: Duration) -> bool {
        let began = Instant::now();
        let mut delay = Duration::from_micros(100);
        while !self.is_empty() {
            if began.elapsed() > timeout {
                return false;
            }
            self.kill();
            sleep(delay);
            delay = (delay * 2).min(Duration::from_millis(20));
        }
        true
    }

    /// Deletes the groups. The kernel can report an empty group as busy for a moment. Deleting is then
    /// retried until the timeout expires.
    pub(crate) fn remove(&self, timeout: Duration) -> io::Result<()> {
        let began = Instant::now();
        for group in &self.groups {
            let mut delay = Duration::from_micros(100);
            loop {
                match fs::remove_dir(&group.path) {
                    Err(error) if error.kind() == ErrorKind::ResourceBusy && began.elapsed() < timeout => {
                        sleep(delay);
                        delay = (delay * 2).min(Duration::from_millis(20));
                    }
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => break,
                }
            }
            if self.owns_parent {
                // Fails while the parent has groups of other jobs. Only the last job deletes the parent.
                let _ = group.path.parent().map(fs::remove_dir);
            }
        }
        Ok(())
    }

    fn with_controller(&self, controller: Controller) -> Option<&Cgroup> {
        self.groups.iter().find(|group| group.has(controller))
    }
}

/// Returns the quota and the period, in microseconds, of a limit in thousandths of a core.
fn quota(millis: u64) -> (u64, u64) {
    let period =
        if millis.saturating_mul(DEFAULT_PERIOD) / 1000 < MIN_QUOTA { MAX_PERIOD } else { DEFAULT_PERIOD };
    ((millis.saturating_mul(period) / 1000).max(MIN_QUOTA), period)
}

/// Returns whether this machine has swap space.
fn has_swap() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1)
}

/// Returns the value of a field in a text with one `name value` pair per line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cpu_limits_use_a_longer_period() {
        assert_eq!(quota(500), (50_000, 100_000));
        assert_eq!(quota(2_500), (250_000, 100_000));
        assert_eq!(quota(10), (1_000, 100_000));
        assert_eq!(quota(9), (9_000, 1_000_000));
        assert_eq!(quota(1), (1_000, 1_000_000));
        assert_eq!(quota(0), (1_000, 1_000_000));
    }

    #[test]
    fn field_matches_the_whole_name() {
        let text = "low 0\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(field(text, "oom_kill"), Some(2));
        assert_eq!(field(text, "oom"), Some(3));
        assert_eq!(field(text, "max"), None);
    }
}
