//! Interrupted connections, lost responses and refused connections, simulated by a proxy in front of the API
//! server.

use runway_control::{SubmitError, Submitted};
use runway_core::status::Phase;
use runway_k8s::{Connection, connect};
use runway_testing::cluster::{Harness, admin_client, create_namespace, policy, shell, unique, wait_until};
use runway_testing::jobs::create_request;
use runway_testing::paths::TempDir;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Forwards requests and responses.
    Open,
    /// Forwards requests, and drops responses.
    DropResponses,
    /// Closes each connection at once.
    Closed,
}

struct Proxy {
    address: SocketAddr,
    /// The mode, and the number of times that the proxy closed all its open connections.
    mode: Arc<watch::Sender<(Mode, u32)>>,
}

impl Proxy {
    async fn listen(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(watch::channel((Mode::Open, 0)).0);
        let modes = Arc::clone(&mode);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let modes = modes.subscribe();
                if modes.borrow().0 != Mode::Closed {
                    tokio::spawn(forward(client, target, modes));
                }
            }
        });
        Self { address, mode }
    }

    fn set(&self, mode: Mode) {
        self.mode.send_modify(|now| now.0 = mode);
    }

    fn cut(&self) {
        self.mode.send_modify(|now| now.1 += 1);
    }
}

async fn forward(client: TcpStream, target: SocketAddr, mut modes: watch::Receiver<(Mode, u32)>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = modes.clone();
    let to_target = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let from_target = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let read = from_server.read(&mut bytes).await?;
            if read == 0 {
                return std::io::Result::Ok(());
            }
            if answers.borrow().0 != Mode::DropResponses {
                to_client.write_all(&bytes[..read]).await?;
            }
        }
    };
    let cuts = modes.borrow_and_update().1;
    tokio::select! {
        _ = to_target => {}
        _ = from_target => {}
        _ = modes.wait_for(|now| now.1 > cuts) => {}
    }
}

/// Returns the path of the kubeconfig. An administrator's kubeconfig works too, because these tests are about
/// connections.
fn kubeconfig_path() -> std::ffi::OsString {
    let named = std::env::var_os("RUNWAY_TEST_KUBECONFIG").or_else(|| std::env::var_os("KUBECONFIG"));
    named.expect("this test needs a cluster: set RUNWAY_TEST_KUBECONFIG or KUBECONFIG")
}

/// A directory with a copy of the kubeconfig that connects through a proxy.
struct ProxiedCluster {
    proxy: Proxy,
    dir: TempDir,
}

impl ProxiedCluster {
    async fn start() -> Self {
        let original = std::fs::read_to_string(kubeconfig_path()).unwrap();
        let server = original.split("https://").nth(1).unwrap();
        let target: String = server.chars().take_while(|c| !matches!(c, '"' | '\n' | ' ' | '\'')).collect();
        let proxy = Proxy::listen(target.parse().unwrap()).await;
        let dir = TempDir::new("proxy");
        dir.write("kubeconfig", original.replace(&target, &proxy.address.to_string()));
        Self { proxy, dir }
    }

    async fn harness(&self, name: &str) -> Harness {
        let admin = admin_client().await;
        let name = unique(name);
        create_namespace(&admin, &name).await;
        let connection = Connection { kubeconfig: Some(self.dir.path("kubeconfig")), context: None };
        let client = connect(&connection).await.unwrap();
        Harness::start(name.clone(), admin, client, policy(&name, |policy| policy)).await
    }
}

#[tokio::test]
async fn interrupted_watch_resumes() {
    let proxied = ProxiedCluster::start().await;
    let harness = proxied.harness("cut").await;
    for round in 0..3 {
        let job = harness.submit(shell("train", "sleep 8")).await;
        harness.wait_for_phase(job, Phase::Running, None).await;
        proxied.proxy.cut();
        harness.wait_for_phase(job, Phase::Succeeded, None).await;
        assert_eq!(harness.plane.held_job_ids(), [], "round {round}");
    }
    assert_eq!(harness.plane.watch_state().drift, 0);
    assert!(harness.plane.is_ready());
}

#[tokio::test]
async fn changes_during_a_disconnect_are_applied_later() {
    let proxied = ProxiedCluster::start().await;
    let harness = proxied.harness("deaf").await;
    let job = harness.submit(shell("train", "sleep 10; exit 6")).await;
    harness.wait_for_phase(job, Phase::Running, None).await;
    proxied.proxy.set(Mode::Closed);
    proxied.proxy.cut();
    wait_until("the watch to notice", async || (!harness.plane.watch_state().connected).then_some(())).await;
    assert!(harness.plane.is_ready(), "records are still readable after an interruption");
    // Another connection shows that the job has finished.
    let other = harness.restart().await;
    other.wait_until(job, "the end of it", |record| record.snapshot.status.phase == Phase::Failed).await;
    assert_eq!((harness.plane.held_job_ids(), other.plane.held_job_ids()), (vec![job], vec![]));
    proxied.proxy.set(Mode::Open);
    let record = harness
        .wait_until(job, "the end of it", |record| record.snapshot.status.phase == Phase::Failed)
        .await;
    assert_eq!(record.snapshot.status.exit_code, Some(6));
    assert_eq!(harness.plane.held_job_ids(), []);
}

#[tokio::test]
async fn lost_create_response_is_retried_on_a_cluster() {
    let proxied = ProxiedCluster::start().await;
    let harness = proxied.harness("lost").await;
    // This submission opens a connection, which the next request uses too.
    let before = harness.submit(shell("before", "true")).await;
    harness.wait_for_phase(before, Phase::Succeeded, None).await;
    proxied.proxy.set(Mode::DropResponses);
    let plane = harness.plane.clone();
    let submission = tokio::spawn(async move { plane.submit(shell("train", "true").into(), None).await });
    // The request has arrived, but its response was dropped.
    let other = harness.restart().await;
    let filter = runway_control::JobFilter::default();
    let id =
        wait_until("the job", async || other.plane.jobs(&filter).items.first().map(|job| job.snapshot.id))
            .await;
    assert_eq!((harness.plane.job(id), harness.plane.held_job_ids()), (None, vec![id]));
    proxied.proxy.set(Mode::Open);
    proxied.proxy.cut();
    let answer = tokio::time::timeout(Duration::from_secs(60), submission).await.unwrap().unwrap();
    let Ok(Submitted::Created { job, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(job.snapshot.id, id);
    assert_eq!(harness.plane.jobs(&filter).items.len(), 2);
    harness.wait_for_phase(id, Phase::Succeeded, None).await;
    assert_eq!((harness.plane.held_job_ids(), harness.plane.cluster_usage().1), (vec![], 0));
}

#[tokio::test]
async fn refused_connection_is_unavailable_without_a_hold() {
    let proxied = ProxiedCluster::start().await;
    let harness = proxied.harness("refused").await;
    // No process listens on this port.
    let unused_address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let text = std::fs::read_to_string(proxied.dir.path("kubeconfig")).unwrap();
    let text = text.replace(&proxied.proxy.address.to_string(), &unused_address.to_string());
    let unreachable = proxied.dir.write("unreachable", text);
    let client = connect(&Connection { kubeconfig: Some(unreachable), context: None }).await.unwrap();
    let settings = runway_k8s::KubernetesSettings::new(&harness.policy);
    let env = Arc::new(runway_control::SystemEnv);
    let backend = runway_k8s::KubernetesBackend::new(client, &harness.policy, settings, env);
    use runway_control::backend::{Backend, CreateError};
    let request = create_request(&harness.policy, runway_core::JobId::from_random(1), shell("a", "true"));
    let result = backend.create(&request).await;
    assert!(matches!(result, Err(CreateError::Unavailable(_))), "{result:?}");
    // The proxy closes all connections, the open ones and each new one. The result is the same, or
    // `Uncertain` if the client has already sent the request.
    proxied.proxy.set(Mode::Closed);
    proxied.proxy.cut();
    let result = harness.plane.submit(shell("b", "true").into(), None).await;
    assert!(
        matches!(
            result,
            Err(SubmitError::Create { error: CreateError::Unavailable(_) | CreateError::Uncertain(_), .. })
        ),
        "{result:?}"
    );
    proxied.proxy.set(Mode::Open);
    wait_until("its hold to be settled", async || harness.plane.held_job_ids().is_empty().then_some(()))
        .await;
    let job = harness.submit(shell("c", "true")).await;
    harness.wait_for_phase(job, Phase::Succeeded, None).await;
}
