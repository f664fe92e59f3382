//! Tests of isolation: the files, processes, networks and system calls that a job must not reach.

use crate::harness::{Harness, script, wait_finished};
use runway_testing::delegation::{TEST_UID, is_unprivileged_run};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

/// Runs a script and returns its output.
fn run_script(harness: &Harness, text: &str) -> String {
    let ran = harness.run(script(&format!("exec 2>&1; {text}")));
    ran.stdout
}

#[test]
fn job_sees_only_its_own_processes() {
    let harness = Harness::new();
    let numbers = run_script(&harness, "cd /proc; echo [0-9]*");
    // The job sees two processes: init with pid 1, and its own shell with pid 2.
    assert_eq!(numbers, "1 2\n");
    assert_eq!(
        run_script(&harness, "kill -0 1 2>/dev/null; cat /proc/1/environ; cat /proc/1/maps; hostname")
            .lines()
            .last(),
        Some("job")
    );
    assert!(run_script(&harness, "ls -l /proc/1/fd; cat /proc/1/mem").contains("Permission denied"));
}

#[test]
fn job_runs_without_privileges() {
    let harness = Harness::new();
    let status = run_script(&harness, "cat /proc/self/status");
    for line in [
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapInh:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapAmb:\t0000000000000000",
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let uid = if is_unprivileged_run() { TEST_UID } else { 65_532 };
    assert_eq!(run_script(&harness, "id -u; id -g"), format!("{uid}\n{uid}\n"));
    assert_eq!(run_script(&harness, "id -G").trim(), uid.to_string());
}

#[test]
fn environment_has_only_the_variables_of_the_job() {
    let harness = Harness::new();
    let mut spec = script("env | sort; env | grep -c '^_='");
    spec.env.insert("GREETING".into(), "$(x) $$ !".into());
    spec.secrets.insert("TOKEN".into(), runway_core::spec::Secret::Value("hush-hush".into()));
    let job = harness.start(spec);
    let ran = wait_finished(&job);
    let names: Vec<_> =
        ran.stdout.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "CUDA_VISIBLE_DEVICES",
            "GREETING",
            "HOME",
            "NVIDIA_VISIBLE_DEVICES",
            "PATH",
            "PWD",
            "RUNWAY_JOB_ID",
            "RUNWAY_TENANT",
            "TOKEN"
        ]
    );
    assert!(
        ran.stdout.contains("GREETING=$(x) $$ !\n") && ran.stdout.contains("HOME=/tmp\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("TOKEN=hush-hush\n"));
    // The two records contain no environment variables. Only the output does, because the job printed them.
    let job_dir = harness.job_dir(job.id());
    for file in ["job.json", "status.json"] {
        let text = std::fs::read_to_string(job_dir.join(file)).unwrap();
        assert!(!text.contains("hush-hush") && !text.contains("GREETING"), "{text}");
    }
}

#[test]
fn only_standard_streams_are_open() {
    let harness = Harness::new();
    // Descriptor 3 is the directory that `ls` itself has opened.
    assert_eq!(run_script(&harness, "ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ");
    assert_eq!(run_script(&harness, "readlink /proc/self/fd/0"), "/dev/null\n");
}

#[test]
fn host_files_are_read_only() {
    let harness = Harness::new();
    for place in
        ["/etc/x", "/usr/x", "/var/x", "/x", "/dev/x", "/proc/x", "/home/x", "/root/x", "/run/x", "/sys/x"]
    {
        let output = run_script(&harness, &format!("echo x >{place} && echo written"));
        assert!(!output.contains("written") && !output.is_empty(), "{place}: {output}");
    }
    assert_eq!(
        run_script(&harness, "pwd; echo x >y; cat /tmp/work/y; echo z >/tmp/z; cat /var/tmp/z"),
        "/tmp/work\nx\nz\n"
    );
    let mounts = run_script(&harness, "cat /proc/self/mounts");
    for line in mounts.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let (place, options) = (fields[1], fields[3]);
        assert!(options.split(',').any(|option| option == "nosuid") || place.starts_with("/dev/"), "{line}");
        let own = ["/tmp", "/var/tmp", "/dev/shm", "/proc"].contains(&place) || place.starts_with("/dev/");
        assert!(own || options.split(',').any(|option| option == "ro"), "{line}");
    }
}

#[test]
fn homes_and_other_jobs_are_hidden() {
    let harness = Harness::new();
    assert_eq!(
        run_script(&harness, "ls -A /root /home /run /sys/fs 2>/dev/null | grep -v ':$' | tr -d '\\n'"),
        ""
    );
    let state = harness.state_dir().display().to_string();
    assert!(
        run_script(&harness, &format!("ls -A {state}")).contains("No such file"),
        "the state directory is below /tmp"
    );
    let one = harness.start(script("echo mine >/tmp/secret; echo mine >/dev/shm/secret; echo $$; sleep 5"));
    let mut reader = one.reader().unwrap();
    reader.next_blocking().unwrap();
    assert_eq!(run_script(&harness, "cat /tmp/secret /dev/shm/secret 2>&1 | grep -c mine"), "0\n");
    assert_eq!(run_script(&harness, "ps ax | grep -c '[s]leep 5'"), "0\n");
    one.kill().unwrap();
    wait_finished(&one);
}

#[test]
fn network_is_loopback_only_unless_open() {
    let harness = Harness::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = port.local_addr().unwrap().port();
    let connect = format!(
        "perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(PeerAddr => q(127.0.0.1), PeerPort => {number}) ? 1 : 0'"
    );
    assert_eq!(run_script(&harness, &connect), "0");
    assert_eq!(run_script(&harness, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' \\n'"), "lo");
    // The loopback interface of the job is enabled, so the job can connect to itself.
    let own = "perl -MIO::Socket::INET -e '$l = IO::Socket::INET->new(Listen => 1, LocalAddr => q(127.0.0.1)); \
               print IO::Socket::INET->new(PeerAddr => q(127.0.0.1), PeerPort => $l->sockport) ? 1 : 0'";
    assert_eq!(run_script(&harness, own), "1");
    // A job with the network `open` uses the network of the machine, so it reaches the listener.
    let open = harness.run(runway_core::JobSpec { network: Some("open".into()), ..script(&connect) });
    assert_eq!(open.stdout, "1");
}

#[test]
fn abstract_sockets_are_not_shared() {
    use std::os::linux::net::SocketAddrExt;
    let harness = Harness::new();
    let name = format!("runway-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let connect = format!(
        "perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); print connect(S, pack_sockaddr_un(qq(\\0{name}))) ? 1 : 0'"
    );
    assert_eq!(run_script(&harness, &connect), "0");
}

#[test]
fn jobs_cannot_reach_sockets_of_each_other() {
    let harness = Harness::new();
    let listen = "perl -MIO::Socket::INET -MSocket -e '$| = 1; $tcp = IO::Socket::INET->new(Listen => 9, LocalAddr => q(127.0.0.1)); \
                  socket(A, PF_UNIX, SOCK_STREAM, 0); bind(A, pack_sockaddr_un(qq(\\0runway-of-one))); listen(A, 9); \
                  socket(F, PF_UNIX, SOCK_STREAM, 0); bind(F, pack_sockaddr_un(q(/tmp/socket))); listen(F, 9); \
                  print $tcp->sockport, qq(\\n); CONNECT sleep 1000'";
    let connect = "print IO::Socket::INET->new(PeerAddr => q(127.0.0.1), PeerPort => PORT) ? 1 : 0; \
                   socket(B, PF_UNIX, SOCK_STREAM, 0); print connect(B, pack_sockaddr_un(qq(\\0runway-of-one))) ? 1 : 0; \
                   socket(C, PF_UNIX, SOCK_STREAM, 0); print connect(C, pack_sockaddr_un(q(/tmp/socket))) ? 1 : 0;";
    // A job reaches its own three sockets.
    let own = listen.replace("CONNECT", &connect.replace("PORT", "$tcp->sockport")).replace("sleep 1000", "");
    assert_eq!(run_script(&harness, &own).lines().last(), Some("111"));
    let one = harness.start(script(&listen.replace("CONNECT", "")));
    let port = one.reader().unwrap().next_blocking().unwrap().unwrap().bytes;
    let connect = connect.replace("PORT", std::str::from_utf8(&port).unwrap().trim());
    assert_eq!(run_script(&harness, &format!("perl -MIO::Socket::INET -MSocket -e '{connect}'")), "000");
    one.kill().unwrap();
    wait_finished(&one);
}

#[test]
fn unneeded_system_calls_are_denied() {
    let harness = Harness::new();
    let output = run_script(&harness, "mount -t tmpfs x /tmp/work && echo mounted");
    assert!(!output.contains("mounted") && !output.is_empty(), "{output}");
    for flags in ["-U", "-n", "-m", "-p"] {
        assert!(run_script(&harness, &format!("unshare {flags} true")).contains("not permitted"), "{flags}");
    }
    if cfg!(target_arch = "x86_64") {
        let errno =
            |call: &str| run_script(&harness, &format!("perl -e 'print syscall({call}) == -1 ? $!+0 : 0'"));
        let (eperm, enosys) = ("1", "38");
        assert_eq!(errno("101, 0, 0, 0, 0"), eperm, "ptrace");
        assert_eq!(errno("248, 0, 0, 0, 0"), eperm, "add_key");
        assert_eq!(errno("298, 0, 0, 0, 0"), eperm, "perf_event_open");
        assert_eq!(errno("321, 0, 0, 0"), eperm, "bpf");
        assert_eq!(errno("425, 1, 0"), eperm, "io_uring_setup");
        assert_eq!(errno("56, 0x10000011, 0, 0, 0, 0"), eperm, "clone with a user namespace");
        assert_eq!(errno("41, 40, 1, 0"), eperm, "a vsock socket");
        assert_eq!(errno("435, 0, 0"), enosys, "clone3");
        assert_eq!(errno("9999"), enosys, "an unknown call");
        // Calls of the x32 ABI have the bit 0x40000000 in their number. The call 521 is `ptrace`.
        assert_eq!(errno("0x40000000 + 521, 0, 0, 0, 0"), enosys, "ptrace in the x32 ABI");
    }
}

#[test]
fn setuid_programs_gain_no_privileges() {
    let harness = Harness::new();
    // `su` is a setuid program. In a job it gains no privileges, so it cannot become root.
    let output = run_script(&harness, "su -c id root </dev/null");
    assert!(!output.contains("uid=0"), "{output}");
    let output = run_script(&harness, "cp /bin/sh own; chmod 4755 own; ./own -p -c 'id -u'");
    assert!(!output.starts_with("0\n"), "{output}");
}
