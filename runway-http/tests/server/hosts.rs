//! The hosts that the program accepts on a cluster.

use crate::start_program;
use runway_testing::paths::TempDir;
use runway_testing::policies::UNLIMITED;
use runway_testing::wire::exchange;

#[tokio::test]
async fn program_on_a_cluster_checks_the_host() {
    let dir = TempDir::new("hosts");
    dir.write("policy.yaml", UNLIMITED);
    let ops = ["--listen-ops", "127.0.0.1:0"];
    let own = ["--listen-ops", "127.0.0.1:0", "--allowed-hosts", "runway.example.com,other.example.com"];
    for (flags, service, allowed) in [(&ops[..], 200, 421), (&own[..], 421, 200)] {
        let process = start_program(&dir, flags).await;
        for (address, path) in [(process.address, "/v1/policy"), (process.ops.unwrap(), "/healthz")] {
            for (hosts, status) in [
                ("Host: localhost\r\n", 200),
                ("Host: 10.1.2.3:9100\r\n", 200),
                ("Host: runway-http.runway-system.svc\r\n", service),
                ("Host: runway.example.com\r\n", allowed),
                ("Host: other.example.com:80\r\n", allowed),
                ("Host: evil.example\r\n", 421),
                ("", 400),
                ("Host: localhost\r\nHost: evil\r\n", 400),
            ] {
                let answer = exchange(address, format!("GET {path} HTTP/1.1\r\n{hosts}\r\n")).await;
                assert_eq!(answer.status, status, "{path} {hosts}");
            }
        }
    }
}
