//! Tests of isolation: the files, processes, networks and system calls that a job must not reach.

use crate::bed::{Bed, ended, script};
use runway_testing::delegation::{USER, is_plain};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

/// Runs a script and returns its output.
fn printed(bed: &Bed, text: &str) -> String {
    let ran = bed.run(script(&format!("exec 2>&1; {text}")));
    ran.out
}

#[test]
fn its_processes_are_the_only_ones() {
    let bed = Bed::new();
    let numbers = printed(&bed, "cd /proc; echo [0-9]*");
    // Init and the job itself.
    assert_eq!(numbers, "1 2\n");
    assert_eq!(
        printed(&bed, "kill -0 1 2>/dev/null; cat /proc/1/environ; cat /proc/1/maps; hostname")
            .lines()
            .last(),
        Some("job")
    );
    assert!(printed(&bed, "ls -l /proc/1/fd; cat /proc/1/mem").contains("Permission denied"));
}

#[test]
fn it_is_nobody_and_has_no_rights() {
    let bed = Bed::new();
    let status = printed(&bed, "cat /proc/self/status");
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
    let uid = if is_plain() { USER } else { 65_532 };
    assert_eq!(printed(&bed, "id -u; id -g"), format!("{uid}\n{uid}\n"));
    assert_eq!(printed(&bed, "id -G").trim(), uid.to_string());
}

#[test]
fn the_environment_is_what_the_job_names() {
    let bed = Bed::new();
    let mut spec = script("env | sort; env | grep -c '^_='");
    spec.env.insert("GREETING".into(), "$(x) $$ !".into());
    spec.secrets.insert("TOKEN".into(), runway_core::spec::Secret::Value("hush-hush".into()));
    let job = bed.start(spec);
    let ran = ended(&job);
    let names: Vec<_> =
        ran.out.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
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
    assert!(ran.out.contains("GREETING=$(x) $$ !\n") && ran.out.contains("HOME=/tmp\n"), "{}", ran.out);
    assert!(ran.out.contains("TOKEN=hush-hush\n"));
    // The job's directory contains no environment, except where the job has printed it.
    let folder = bed.state().join("jobs").join(job.id().as_str());
    for file in ["job.json", "status.json"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        assert!(!text.contains("hush-hush") && !text.contains("GREETING"), "{text}");
    }
}

#[test]
fn nothing_is_open_but_its_streams() {
    let bed = Bed::new();
    // The last descriptor is the directory that `ls` has opened.
    assert_eq!(printed(&bed, "ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ");
    assert_eq!(printed(&bed, "readlink /proc/self/fd/0"), "/dev/null\n");
}

#[test]
fn the_machines_files_are_read_only() {
    let bed = Bed::new();
    for place in
        ["/etc/x", "/usr/x", "/var/x", "/x", "/dev/x", "/proc/x", "/home/x", "/root/x", "/run/x", "/sys/x"]
    {
        let told = printed(&bed, &format!("echo x >{place} && echo written"));
        assert!(!told.contains("written") && !told.is_empty(), "{place}: {told}");
    }
    assert_eq!(
        printed(&bed, "pwd; echo x >y; cat /tmp/work/y; echo z >/tmp/z; cat /var/tmp/z"),
        "/tmp/work\nx\nz\n"
    );
    let mounts = printed(&bed, "cat /proc/self/mounts");
    for line in mounts.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let (place, options) = (fields[1], fields[3]);
        assert!(options.split(',').any(|option| option == "nosuid") || place.starts_with("/dev/"), "{line}");
        let own = ["/tmp", "/var/tmp", "/dev/shm", "/proc"].contains(&place) || place.starts_with("/dev/");
        assert!(own || options.split(',').any(|option| option == "ro"), "{line}");
    }
}

#[test]
fn homes_and_other_jobs_are_out_of_sight() {
    let bed = Bed::new();
    assert_eq!(printed(&bed, "ls -A /root /home /run /sys/fs 2>/dev/null | grep -v ':$' | tr -d '\\n'"), "");
    let state = bed.state().display().to_string();
    assert!(
        printed(&bed, &format!("ls -A {state}")).contains("No such file"),
        "the state directory is below /tmp"
    );
    let one = bed.start(script("echo mine >/tmp/secret; echo mine >/dev/shm/secret; echo $$; sleep 5"));
    let mut reader = one.reader().unwrap();
    reader.next_blocking().unwrap();
    assert_eq!(printed(&bed, "cat /tmp/secret /dev/shm/secret 2>&1 | grep -c mine"), "0\n");
    assert_eq!(printed(&bed, "ps ax | grep -c '[s]leep 5'"), "0\n");
    one.kill().unwrap();
    ended(&one);
}

#[test]
fn there_is_no_network_but_its_own() {
    let bed = Bed::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = port.local_addr().unwrap().port();
    let connect = format!(
        "perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(PeerAddr => q(127.0.0.1), PeerPort => {number}) ? 1 : 0'"
    );
    assert_eq!(printed(&bed, &connect), "0");
    assert_eq!(printed(&bed, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' \\n'"), "lo");
    // The loopback interface of the job is enabled.
    let own = "perl -MIO::Socket::INET -e '$l = IO::Socket::INET->new(Listen => 1, LocalAddr => q(127.0.0.1)); \
               print IO::Socket::INET->new(PeerAddr => q(127.0.0.1), PeerPort => $l->sockport) ? 1 : 0'";
    assert_eq!(printed(&bed, own), "1");
    // The policy of the tests allows the network of the machine.
    let open = bed.run(runway_core::JobSpec { network: Some("open".into()), ..script(&connect) });
    assert_eq!(open.out, "1");
}

#[test]
fn sockets_without_a_file_are_not_shared_either() {
    use std::os::linux::net::SocketAddrExt;
    let bed = Bed::new();
    let name = format!("runway-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let connect = format!(
        "perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); print connect(S, pack_sockaddr_un(qq(\\0{name}))) ? 1 : 0'"
    );
    assert_eq!(printed(&bed, &connect), "0");
}

#[test]
fn two_jobs_reach_no_socket_of_each_other() {
    let bed = Bed::new();
    let listen = "perl -MIO::Socket::INET -MSocket -e '$| = 1; $tcp = IO::Socket::INET->new(Listen => 9, LocalAddr => q(127.0.0.1)); \
                  socket(A, PF_UNIX, SOCK_STREAM, 0); bind(A, pack_sockaddr_un(qq(\\0runway-of-one))); listen(A, 9); \
                  socket(F, PF_UNIX, SOCK_STREAM, 0); bind(F, pack_sockaddr_un(q(/tmp/socket))); listen(F, 9); \
                  print $tcp->sockport, qq(\\n); CONNECT sleep 1000'";
    let connect = "print IO::Socket::INET->new(PeerAddr => q(127.0.0.1), PeerPort => PORT) ? 1 : 0; \
                   socket(B, PF_UNIX, SOCK_STREAM, 0); print connect(B, pack_sockaddr_un(qq(\\0runway-of-one))) ? 1 : 0; \
                   socket(C, PF_UNIX, SOCK_STREAM, 0); print connect(C, pack_sockaddr_un(q(/tmp/socket))) ? 1 : 0;";
    // The job reaches its own sockets.
    let own = listen.replace("CONNECT", &connect.replace("PORT", "$tcp->sockport")).replace("sleep 1000", "");
    assert_eq!(printed(&bed, &own).lines().last(), Some("111"));
    let one = bed.start(script(&listen.replace("CONNECT", "")));
    let port = one.reader().unwrap().next_blocking().unwrap().unwrap().bytes;
    let connect = connect.replace("PORT", std::str::from_utf8(&port).unwrap().trim());
    assert_eq!(printed(&bed, &format!("perl -MIO::Socket::INET -MSocket -e '{connect}'")), "000");
    one.kill().unwrap();
    ended(&one);
}

#[test]
fn system_calls_that_jobs_have_no_use_for() {
    let bed = Bed::new();
    let told = printed(&bed, "mount -t tmpfs x /tmp/work && echo mounted");
    assert!(!told.contains("mounted") && !told.is_empty(), "{told}");
    for flags in ["-U", "-n", "-m", "-p"] {
        assert!(printed(&bed, &format!("unshare {flags} true")).contains("not permitted"), "{flags}");
    }
    if cfg!(target_arch = "x86_64") {
        let errno = |call: &str| printed(&bed, &format!("perl -e 'print syscall({call}) == -1 ? $!+0 : 0'"));
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
        // The number of a call in the x32 ABI.
        assert_eq!(errno("0x40000000 + 521, 0, 0, 0, 0"), enosys, "ptrace in the x32 ABI");
    }
}

#[test]
fn programs_with_another_users_rights_have_none() {
    let bed = Bed::new();
    // `su` is a setuid program. Without privileges it cannot even check a correct password.
    let told = printed(&bed, "su -c id root </dev/null");
    assert!(!told.contains("uid=0"), "{told}");
    let told = printed(&bed, "cp /bin/sh own; chmod 4755 own; ./own -p -c 'id -u'");
    assert!(!told.starts_with("0\n"), "{told}");
}
