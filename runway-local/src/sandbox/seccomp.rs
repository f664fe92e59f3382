//! The system call filter: a job can make only the calls that ordinary programs need.
//!
//! The list is the default filter of container engines, without `ptrace` and similar calls. A call on the
//! deny list fails with `EPERM`. An unknown call fails with `ENOSYS`, so that a C library falls back to an
//! older call. `clone3` fails with `ENOSYS` too, because a filter cannot read its arguments. `clone` can
//! create threads and processes, but no namespaces.

use libc::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Calls that jobs must not make.
#[rustfmt::skip]
const DENIED: &[c_long] = &[
    SYS_acct, SYS_add_key, SYS_adjtimex, SYS_bpf, SYS_chroot, SYS_clock_adjtime, SYS_clock_settime,
    SYS_delete_module, SYS_fanotify_init, SYS_finit_module, SYS_fsconfig, SYS_fsmount, SYS_fsopen, SYS_fspick,
    SYS_init_module, SYS_io_uring_enter, SYS_io_uring_register, SYS_io_uring_setup, SYS_kcmp,
    SYS_kexec_file_load, SYS_kexec_load, SYS_keyctl, SYS_mount, SYS_mount_setattr, SYS_move_mount,
    SYS_move_pages, SYS_name_to_handle_at, SYS_nfsservctl, SYS_open_by_handle_at, SYS_open_tree,
    SYS_perf_event_open, SYS_pidfd_getfd, SYS_pivot_root, SYS_process_madvise, SYS_process_vm_readv,
    SYS_process_vm_writev, SYS_ptrace, SYS_quotactl, SYS_quotactl_fd, SYS_reboot, SYS_request_key, SYS_setdomainname,
    SYS_sethostname, SYS_setns, SYS_settimeofday, SYS_swapoff, SYS_swapon, SYS_syslog, SYS_umount2, SYS_unshare,
    SYS_userfaultfd, SYS_vhangup,
];

/// Calls that ordinary programs need.
#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    SYS_accept, SYS_accept4, SYS_bind, SYS_brk, SYS_capget, SYS_capset, SYS_chdir,
    SYS_clock_getres, SYS_clock_gettime, SYS_clock_nanosleep, SYS_close, SYS_close_range, SYS_connect,
    SYS_copy_file_range, SYS_dup, SYS_dup3, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2,
    SYS_eventfd2, SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_faccessat, SYS_faccessat2,
    SYS_fadvise64, SYS_fallocate, SYS_fchdir, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat,
    SYS_fcntl, SYS_fdatasync, SYS_fgetxattr, SYS_flistxattr, SYS_flock, SYS_fremovexattr, SYS_fsetxattr,
    SYS_fstat, SYS_fstatfs, SYS_fsync, SYS_ftruncate, SYS_futex, SYS_futex_waitv, SYS_get_mempolicy,
    SYS_get_robust_list, SYS_getcpu, SYS_getcwd, SYS_getdents64, SYS_getegid, SYS_geteuid, SYS_getgid,
    SYS_getgroups, SYS_getitimer, SYS_getpeername, SYS_getpgid, SYS_getpid, SYS_getppid, SYS_getpriority,
    SYS_getrandom, SYS_getresgid, SYS_getresuid, SYS_getrlimit, SYS_getrusage, SYS_getsid, SYS_getsockname,
    SYS_getsockopt, SYS_gettid, SYS_gettimeofday, SYS_getuid, SYS_getxattr, SYS_inotify_add_watch,
    SYS_inotify_init1, SYS_inotify_rm_watch, SYS_io_cancel, SYS_io_destroy, SYS_io_getevents,
    SYS_io_setup, SYS_io_submit, SYS_ioctl, SYS_ioprio_get, SYS_ioprio_set, SYS_kill, SYS_landlock_add_rule,
    SYS_landlock_create_ruleset, SYS_landlock_restrict_self, SYS_lgetxattr, SYS_linkat, SYS_listen,
    SYS_listxattr, SYS_llistxattr, SYS_lremovexattr, SYS_lseek, SYS_lsetxattr, SYS_madvise, SYS_mbind,
    SYS_membarrier, SYS_memfd_create, SYS_mincore, SYS_mkdirat, SYS_mknodat, SYS_mlock, SYS_mlock2, SYS_mlockall,
    SYS_mmap, SYS_mprotect, SYS_mq_getsetattr, SYS_mq_notify, SYS_mq_open, SYS_mq_timedreceive,
    SYS_mq_timedsend, SYS_mq_unlink, SYS_mremap, SYS_msgctl, SYS_msgget, SYS_msgrcv, SYS_msgsnd, SYS_msync,
    SYS_munlock, SYS_munlockall, SYS_munmap, SYS_nanosleep, SYS_newfstatat, SYS_openat, SYS_openat2, SYS_pidfd_open,
    SYS_pidfd_send_signal, SYS_pipe2, SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect, SYS_ppoll, SYS_prctl,
    SYS_pread64, SYS_preadv, SYS_preadv2, SYS_prlimit64, SYS_process_mrelease, SYS_pselect6, SYS_pwrite64,
    SYS_pwritev, SYS_pwritev2, SYS_read, SYS_readahead, SYS_readlinkat, SYS_readv, SYS_recvfrom, SYS_recvmmsg,
    SYS_recvmsg, SYS_remap_file_pages, SYS_removexattr, SYS_renameat, SYS_renameat2, SYS_restart_syscall,
    SYS_rseq, SYS_rt_sigaction, SYS_rt_sigpending, SYS_rt_sigprocmask, SYS_rt_sigqueueinfo, SYS_rt_sigreturn,
    SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_rt_tgsigqueueinfo, SYS_sched_get_priority_max,
    SYS_sched_get_priority_min, SYS_sched_getaffinity, SYS_sched_getattr, SYS_sched_getparam,
    SYS_sched_getscheduler, SYS_sched_rr_get_interval, SYS_sched_setaffinity, SYS_sched_setattr,
    SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_yield, SYS_seccomp, SYS_semctl, SYS_semget, SYS_semop,
    SYS_semtimedop, SYS_sendfile, SYS_sendmmsg, SYS_sendmsg, SYS_sendto, SYS_set_mempolicy, SYS_set_robust_list,
    SYS_set_tid_address, SYS_setfsgid, SYS_setfsuid, SYS_setgid, SYS_setgroups, SYS_setitimer, SYS_setpgid,
    SYS_setpriority, SYS_setregid, SYS_setresgid, SYS_setresuid, SYS_setreuid, SYS_setrlimit, SYS_setsid,
    SYS_setsockopt, SYS_setuid, SYS_setxattr, SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_shmget, SYS_shutdown,
    SYS_sigaltstack, SYS_signalfd4, SYS_socket, SYS_socketpair, SYS_splice, SYS_statfs, SYS_statx,
    SYS_symlinkat, SYS_sync, SYS_sync_file_range, SYS_syncfs, SYS_sysinfo, SYS_tee, SYS_tgkill, SYS_timer_create,
    SYS_timer_delete, SYS_timer_getoverrun, SYS_timer_gettime, SYS_timer_settime, SYS_timerfd_create,
    SYS_timerfd_gettime, SYS_timerfd_settime, SYS_times, SYS_tkill, SYS_truncate, SYS_umask, SYS_uname,
    SYS_unlinkat, SYS_utimensat, SYS_vmsplice, SYS_wait4, SYS_waitid, SYS_write, SYS_writev,
];

/// Further allowed calls of this architecture, most of them legacy calls.
#[rustfmt::skip]
#[cfg(target_arch = "x86_64")]
const ALLOWED_ON_ARCH: &[c_long] = &[
    SYS_access, SYS_alarm, SYS_arch_prctl, SYS_chmod, SYS_chown, SYS_creat, SYS_dup2, SYS_epoll_create,
    SYS_epoll_wait, SYS_eventfd, SYS_fchmodat2, SYS_fork, SYS_futimesat, SYS_getdents, SYS_getpgrp, SYS_inotify_init, SYS_lchown,
    SYS_link, SYS_lstat, SYS_mkdir, SYS_mknod, SYS_open, SYS_pause, SYS_pipe, SYS_poll, SYS_readlink, SYS_rename,
    SYS_rmdir, SYS_select, SYS_signalfd, SYS_stat, SYS_symlink, SYS_sysfs, SYS_time, SYS_unlink, SYS_utime,
    SYS_utimes, SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_ON_ARCH: &[c_long] = &[];

/// Further denied calls of this architecture.
#[cfg(target_arch = "x86_64")]
const DENIED_ON_ARCH: &[c_long] =
    &[SYS_ioperm, SYS_iopl, SYS_modify_ldt, SYS_uselib, SYS_ustat, SYS_lookup_dcookie];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_ON_ARCH: &[c_long] = &[];

/// The `clone` flags that create a namespace.
const NAMESPACE_FLAGS: [c_int; 7] =
    [CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET];

/// The allowed arguments of `personality`: a query, Linux, 32-bit Linux, and both with an old kernel version
/// in `uname`.
const ALLOWED_PERSONALITIES: [u64; 5] = [0xffff_ffff, 0, 0x8, 0x2_0000, 0x2_0008];

/// Applies both filters to this process and its children.
pub(crate) fn apply() -> io::Result<()> {
    for program in filter_programs().map_err(io::Error::other)? {
        seccompiler::apply_filter(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Returns the filters in the order of their installation. If both return an error, the kernel uses the error
/// of the last one, so the filter for unknown calls comes first.
fn filter_programs() -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let mut denied: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in DENIED.iter().chain(DENIED_ON_ARCH) {
        denied.insert(*call, Vec::new());
    }
    let mut clone_rules = Vec::new();
    for namespace in NAMESPACE_FLAGS {
        let flag = u64::from(namespace.unsigned_abs());
        let has_flag = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)?;
        clone_rules.push(SeccompRule::new(vec![has_flag])?);
    }
    denied.insert(SYS_clone, clone_rules);
    let others = ALLOWED_PERSONALITIES
        .map(|allowed| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, allowed));
    denied.insert(SYS_personality, vec![SeccompRule::new(others.into_iter().collect::<Result<_, _>>()?)?]);
    // `TIOCSTI` inserts characters into the input of a terminal.
    let is_tiocsti = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, TIOCSTI)?;
    denied.insert(SYS_ioctl, vec![SeccompRule::new(vec![is_tiocsti])?]);
    // `AF_VSOCK` sockets reach the host of a virtual machine, because network namespaces do not separate
    // them.
    let vsock = u64::from(AF_VSOCK.unsigned_abs());
    let is_vsock = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, vsock)?;
    denied.insert(SYS_socket, vec![SeccompRule::new(vec![is_vsock])?]);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let eperm = SeccompAction::Errno(EPERM.unsigned_abs());
    let denied = SeccompFilter::new(denied, SeccompAction::Allow, eperm, arch)?;
    let known = ALLOWED.iter().chain(ALLOWED_ON_ARCH).chain(DENIED).chain(DENIED_ON_ARCH);
    let known = known.chain(&[SYS_clone, SYS_personality]).filter_map(|call| u32::try_from(*call).ok());
    Ok([known_calls_filter(&known.collect()), denied.try_into()?])
}

/// Returns a filter that allows the known calls and returns `ENOSYS` for all others.
///
/// The numbers are nearly contiguous, so the filter compares with a few dozen ranges. When a filter is
/// installed, the kernel evaluates it for every call number. With one comparison per call, this would take a
/// millisecond. The other filter checks that the numbers belong to this architecture.
fn known_calls_filter(known: &BTreeSet<u32>) -> BpfProgram {
    // The values of `BPF_LD | BPF_W | BPF_ABS`, `BPF_JMP | BPF_JGE | BPF_K`, `BPF_JMP | BPF_JGT | BPF_K`
    // and `BPF_RET | BPF_K`.
    const LOAD: u16 = 0x20;
    const JUMP_GE: u16 = 0x35;
    const JUMP_GT: u16 = 0x25;
    const RETURN: u16 = 0x06;
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let return_action = |action: SeccompAction| instruction(RETURN, 0, 0, action.into());
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for call in known {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*call) => *last = *call,
            _ => ranges.push((*call, *call)),
        }
    }
    // The call number is at offset 0 of `struct seccomp_data`.
    let mut program = vec![instruction(LOAD, 0, 0, 0)];
    for (first, last) in ranges {
        // The ranges are sorted. A number below the start of this range is therefore in no range.
        program.push(instruction(JUMP_GE, 1, 0, first));
        program.push(return_action(SeccompAction::Errno(ENOSYS.unsigned_abs())));
        program.push(instruction(JUMP_GT, 1, 0, last));
        program.push(return_action(SeccompAction::Allow));
    }
    program.push(return_action(SeccompAction::Errno(ENOSYS.unsigned_abs())));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evaluates the filter for a call number, as the kernel would.
    fn evaluate(program: &BpfProgram, call: u32) -> u32 {
        let mut at = 1;
        loop {
            let instruction = &program[at];
            let is_met = match instruction.code {
                0x06 => return instruction.k,
                0x35 => call >= instruction.k,
                0x25 => call > instruction.k,
                code => panic!("{code}"),
            };
            at += 1 + usize::from(if is_met { instruction.jt } else { instruction.jf });
        }
    }

    #[test]
    fn unknown_calls_return_enosys() {
        let known = BTreeSet::from([0, 1, 2, 5, 7, 8, 400, u32::MAX]);
        let program = known_calls_filter(&known);
        for call in (0..500).chain([u32::MAX - 1, u32::MAX]) {
            let expected = if known.contains(&call) { 0x7fff_0000 } else { 0x0005_0000 | 38 };
            assert_eq!(evaluate(&program, call), expected, "{call}");
        }
        assert_eq!(evaluate(&known_calls_filter(&BTreeSet::new()), 0), 0x0005_0000 | 38);
    }

    #[test]
    fn filters_fit_the_kernel_and_lists_are_disjoint() {
        let [unknown, denied] = filter_programs().unwrap();
        assert!(unknown.len() < 200, "{}", unknown.len());
        assert!(denied.len() < 4096);
        for call in DENIED.iter().chain(DENIED_ON_ARCH) {
            assert!(!ALLOWED.contains(call) && !ALLOWED_ON_ARCH.contains(call), "{call}");
        }
        assert!(!ALLOWED.contains(&SYS_clone3));
    }
}
