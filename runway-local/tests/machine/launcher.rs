//! A launcher that starts one job, prints its id, and never exits: the tests kill it.
//!
//! Usage: `runway-test-launcher STATE_DIR CGROUP_PARENT SUPERVISOR attached|detached POLICY SCRIPT`, where
//! `POLICY` is the text of a policy.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod requests;

use runway_local::{Job, LocalSettings, Machine, Supervision};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().unwrap();
    let mut settings = LocalSettings::new(next());
    settings.cgroup_parent = Some(next().into());
    settings.supervisor_program = next().into();
    let supervision = match next().as_str() {
        "attached" => Supervision::Attached,
        "detached" => Supervision::Detached,
        other => panic!("`{other}` is neither `attached` nor `detached`"),
    };
    let machine = Machine::open(settings).unwrap();
    let (policy, script) = (next(), next());
    let request = requests::create_request(&policy, requests::script(&script));
    let job = Job::start(&machine, &request, supervision).unwrap();
    println!("{}", job.id());
    loop {
        std::thread::park();
    }
}
