//! Interrupted connections, lost responses and refused connections, simulated by a proxy in front of the API
//! server.

use runway_control::{SubmitError, Submitted};
use runway_core::status::Phase;
use runway_k8s::{Connection, connect};
use runway_testing::cluster::{Harness, admin, namespace, policy, shell, unique, until};
use std::net::SocketAddr;
use std::path::PathBuf;
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
    Swallow,
    /// Closes each connection at once.
    Closed,
}

struct Proxy {
    address: SocketAddr,
    /// The mode, and the number of times that all connections were closed.
    mode: Arc<watch::Sender<(Mode, u32)>>,
}

impl Proxy {
    async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(watch::channel((Mode::Open, 0)).0);
        let modes = Arc::clone(&mode);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let modes = modes.subscribe();
                if modes.borrow().0 != Mode::Closed {
                    tokio::spawn(pass(client, target, modes));
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

async fn pass(client: TcpStream, target: SocketAddr, mut modes: watch::Receiver<(Mode, u32)>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = modes.clone();
    let there = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let back = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let read = from_server.read(&mut bytes).await?;
            if read == 0 {
                return std::io::Result::Ok(());
            }
            if answers.borrow().0 != Mode::Swallow {
                to_client.write_all(&bytes[..read]).await?;
            }
        }
    };
    let cuts = modes.borrow_and_update().1;
    tokio::select! {
        _ = there => {}
        _ = back => {}
        _ = modes.wait_for(|now| now.1 > cuts) => {}
    }
}

/// Returns the path of the kubeconfig. An administrator's kubeconfig works too, because these tests are about
/// connections.
fn path() -> std::ffi::OsString {
    let named = std::env::var_os("RUNWAY_TEST_KUBECONFIG").or_else(|| std::env::var_os("KUBECONFIG"));
    named.expect("this test needs a cluster: set RUNWAY_TEST_KUBECONFIG or KUBECONFIG")
}

/// A copy of the kubeconfig that connects through a proxy.
struct Detour {
    proxy: Proxy,
    kubeconfig: PathBuf,
}

impl Detour {
    async fn make() -> Self {
        let original = std::fs::read_to_string(path()).unwrap();
        let server = original.split("https://").nth(1).unwrap();
        let target: String = server.chars().take_while(|c| !matches!(c, '"' | '\n' | ' ' | '\'')).collect();
        let proxy = Proxy::before(target.parse().unwrap()).await;
        let kubeconfig = std::env::temp_dir().join(unique("kubeconfig"));
        std::fs::write(&kubeconfig, original.replace(&target, &proxy.address.to_string())).unwrap();
        Self { proxy, kubeconfig }
    }

    async fn bed(&self, name: &str) -> Harness {
        let admin = admin().await;
        let name = unique(name);
        namespace(&admin, &name).await;
        let connection = Connection { kubeconfig: Some(self.kubeconfig.clone()), context: None };
        let client = connect(&connection).await.unwrap();
        Harness::start(name.clone(), admin, client, policy(&name, |policy| policy)).await
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.kubeconfig));
    }
}

#[tokio::test]
async fn a_watch_that_is_cut_goes_on() {
    let detour = Detour::make().await;
    let bed = detour.bed("cut").await;
    for round in 0..3 {
        let job = bed.submit(shell("train", "sleep 8")).await;
        bed.comes_to(job, Phase::Running, None).await;
        detour.proxy.cut();
        bed.comes_to(job, Phase::Succeeded, None).await;
        assert_eq!(bed.plane.held(), [], "round {round}");
    }
    assert_eq!(bed.plane.watch_state().drift, 0);
    assert!(bed.plane.is_ready());
}

#[tokio::test]
async fn what_happens_while_nothing_is_heard_is_caught_up_with() {
    let detour = Detour::make().await;
    let bed = detour.bed("deaf").await;
    let job = bed.submit(shell("train", "sleep 10; exit 6")).await;
    bed.comes_to(job, Phase::Running, None).await;
    detour.proxy.set(Mode::Closed);
    detour.proxy.cut();
    until("the watch to notice", async || (!bed.plane.watch_state().connected).then_some(())).await;
    assert!(bed.plane.is_ready(), "records are still readable after an interruption");
    // Another connection shows that the job has finished.
    let other = bed.again().await;
    other.until(job, "the end of it", |record| record.seen.status.phase == Phase::Failed).await;
    assert_eq!((bed.plane.held(), other.plane.held()), (vec![job], vec![]));
    detour.proxy.set(Mode::Open);
    let record = bed.until(job, "the end of it", |record| record.seen.status.phase == Phase::Failed).await;
    assert_eq!(record.seen.status.exit_code, Some(6));
    assert_eq!(bed.plane.held(), []);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again() {
    let detour = Detour::make().await;
    let bed = detour.bed("lost").await;
    // The next request uses the connection that is already open.
    let before = bed.submit(shell("before", "true")).await;
    bed.comes_to(before, Phase::Succeeded, None).await;
    detour.proxy.set(Mode::Swallow);
    let plane = bed.plane.clone();
    let submission = tokio::spawn(async move { plane.submit(shell("train", "true").into(), None).await });
    // The request has arrived, but its response was dropped.
    let other = bed.again().await;
    let selection = runway_control::Selection::default();
    let id =
        until("the job", async || other.plane.jobs(&selection).items.first().map(|job| job.seen.id)).await;
    assert_eq!((bed.plane.job(id), bed.plane.held()), (None, vec![id]));
    detour.proxy.set(Mode::Open);
    detour.proxy.cut();
    let answer = tokio::time::timeout(Duration::from_secs(60), submission).await.unwrap().unwrap();
    let Ok(Submitted::Created { job, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(job.seen.id, id);
    assert_eq!(bed.plane.jobs(&selection).items.len(), 2);
    bed.comes_to(id, Phase::Succeeded, None).await;
    assert_eq!((bed.plane.held(), bed.plane.cluster_usage().1), (vec![], 0));
}

#[tokio::test]
async fn a_cluster_that_refuses_connections_is_unreachable_and_nothing_is_held() {
    let detour = Detour::make().await;
    let bed = detour.bed("refused").await;
    // No process listens on this port.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let text = std::fs::read_to_string(&detour.kubeconfig).unwrap();
    let nowhere = std::env::temp_dir().join(unique("kubeconfig"));
    std::fs::write(&nowhere, text.replace(&detour.proxy.address.to_string(), &free.to_string())).unwrap();
    let client = connect(&Connection { kubeconfig: Some(nowhere.clone()), context: None }).await.unwrap();
    std::fs::remove_file(&nowhere).unwrap();
    let settings = runway_k8s::KubernetesSettings::new(&bed.policy);
    let surroundings = Arc::new(runway_control::System);
    let backend = runway_k8s::KubernetesBackend::new(client, &bed.policy, settings, surroundings);
    use runway_control::backend::{Backend, CreateError, Order};
    let mut gate = runway_core::Gate::new(Arc::clone(&bed.policy), runway_core::HashSeed(1, 2));
    let id = runway_core::JobId::from_random(1);
    let now = runway_core::units::Timestamp::from_seconds(1);
    let admitted = gate.submit(id, &shell("a", "true").into(), now).unwrap().admitted().unwrap().clone();
    let order = Order { id, admitted, policy: Arc::clone(&bed.policy) };
    let told = backend.create(&order).await;
    assert!(matches!(told, Err(CreateError::Unavailable(_))), "{told:?}");
    // Connections that are closed before a request was sent have the same result.
    detour.proxy.set(Mode::Closed);
    detour.proxy.cut();
    let told = bed.plane.submit(shell("b", "true").into(), None).await;
    assert!(
        matches!(
            told,
            Err(SubmitError::Create { error: CreateError::Unavailable(_) | CreateError::Uncertain(_), .. })
        ),
        "{told:?}"
    );
    detour.proxy.set(Mode::Open);
    until("its hold to be settled", async || bed.plane.held().is_empty().then_some(())).await;
    let job = bed.submit(shell("c", "true")).await;
    bed.comes_to(job, Phase::Succeeded, None).await;
}
