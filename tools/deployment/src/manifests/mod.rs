//! Checks the manifests. Both overlays are built. The overlay for development is applied to a real cluster,
//! which then runs the server in its image.

mod confined;
mod deployed;

use runway_devcluster::{Kubectl, Release, Session};
use runway_image as image;
use runway_steps::{self as steps, Failed, root, target_folder};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The overlays, each with its number of objects. The number detects an object that was lost.
const OVERLAYS: [(&str, usize); 2] = [("dev", 14), ("eks", 16)];

/// The optional add-ons, each with its number of objects.
const ADDITIONS: [(&str, usize); 3] = [("drains", 1), ("gpus", 1), ("monitoring", 2)];

/// Permissions of the server's service account: verb, resource and the expected answer of `kubectl auth
/// can-i`.
const RIGHTS: [(&str, &str, &str); 6] = [
    ("create", "jobs.batch", "yes"),
    ("list", "pods", "yes"),
    ("delete", "secrets", "yes"),
    ("get", "secrets", "no"),
    ("create", "pods", "no"),
    ("update", "resourcequotas", "no"),
];

/// The kubectl flag that impersonates the server's service account.
const SERVER: &str = "--as=system:serviceaccount:runway-system:runway";

fn build(kubectl: &Kubectl, folder: &Path) -> Result<String, String> {
    kubectl.call(&["kustomize", &folder.display().to_string()], None)
}

fn folder(overlay: &str) -> PathBuf {
    root().join("infra/kubernetes/overlays").join(overlay)
}

/// Builds the overlays and the add-ons. Returns `false` if there is no `kubectl` and `may_build` is not set.
///
/// # Errors
/// [`StepError`] if `kubectl` cannot be built, or an overlay cannot be built or has another number of
/// objects.
pub fn check(may_build: bool, kubernetes: Option<Release>) -> Result<bool, Failed> {
    let Some(kubectl) = Kubectl::find(kubernetes, may_build)? else { return Ok(false) };
    eprintln!("\nxtask: building the manifests");
    let overlays = OVERLAYS.map(|(name, expected)| (folder(name), expected));
    let additions = ADDITIONS.map(|(name, expected)| (root().join("infra/kubernetes").join(name), expected));
    for (folder, expected) in overlays.into_iter().chain(additions) {
        let built = build(&kubectl, &folder).map_err(wrong)?;
        let objects = documents(&built).count();
        if objects != expected {
            return Err(wrong(format!("{} has {objects} objects, not {expected}", folder.display())));
        }
    }
    Ok(true)
}

/// Imports the server's image into the session's cluster and checks the manifests there. The cluster must be
/// one that `cargo xtask cluster` started.
///
/// # Errors
/// [`StepError`] if the image cannot be built, or a check of the deployed server fails.
pub fn on_a_cluster(session: &mut Session) -> Result<(), Failed> {
    let file = image::usual_place();
    image::archive(&file)?;
    steps::cargo("the command line", &["build", "--locked", "-p", "runway-cli"])?;
    let program =
        std::env::current_exe().map_err(|error| Failed::NotStarted { step: STEP.to_owned(), error })?;
    session.run("the image on a cluster", Command::new(&program).args(["cluster", "import"]).arg(file))?;
    session.run(STEP, Command::new(program).arg("manifests"))
}

const STEP: &str = "the manifests on a cluster";

/// Applies the overlay for development to the cluster of `KUBECONFIG`, submits jobs to the server and checks
/// the objects. Validates the other overlay on the API server, as far as the cluster has its kinds. Finally
/// deletes everything.
///
/// # Errors
/// [`StepError`] if a check of the deployed server fails.
pub fn apply() -> Result<(), Failed> {
    let kubectl = Kubectl::new()?;
    let dev = folder("dev").display().to_string();
    let applied = kubectl
        .call(&["apply", "-k", &dev], None)
        .and_then(|_| deployed::serves(&kubectl, &target_folder().join("debug/runway")))
        .and_then(|()| looks_right(&kubectl));
    applied.and(remove(&kubectl, &dev)).map_err(wrong)
}

fn remove(kubectl: &Kubectl, dev: &str) -> Result<(), String> {
    let system = ["-n", "runway-system", "delete"];
    let delete = |what: &[&str]| kubectl.call(&[&system[..], what].concat(), None);
    // The grace period of the server is for running requests, and there are none.
    delete(&["deploy", "runway-http", "--ignore-not-found", "--wait=false"])?;
    delete(&["pods", "--all", "--grace-period=1"])?;
    kubectl.call(&["delete", "-k", dev, "--ignore-not-found", "--timeout=180s"], None).map(drop)
}

fn looks_right(kubectl: &Kubectl) -> Result<(), String> {
    for (verb, resource, expected) in RIGHTS {
        let asked = kubectl.call(&["auth", "can-i", verb, resource, "-n", "runway-jobs", SERVER], None);
        // `kubectl auth can-i` fails if the answer is no.
        let said = if asked.is_ok() { "yes" } else { "no" };
        if said != expected {
            return Err(format!("may the server {verb} {resource}? expected {expected}, got {said}"));
        }
    }
    within_bounds(kubectl)?;
    let replicas = kubectl.call(
        &[
            "-n",
            "runway-system",
            "get",
            "deploy",
            "runway-http",
            "-o",
            "jsonpath={.spec.replicas} {.spec.strategy.type}",
        ],
        None,
    )?;
    if replicas != "1 Recreate" {
        return Err(format!("expected one replica and the strategy Recreate, got {replicas}"));
    }
    let served = kubectl.call(&["api-resources", "--no-headers"], None)?;
    let eks = build(kubectl, &folder("eks"))?;
    let (known, unknown): (Vec<&str>, Vec<&str>) = documents(&eks).partition(|text| is_served(text, &served));
    for text in unknown {
        eprintln!("xtask: skipped: this cluster does not have {}", kind(text));
    }
    kubectl.call(&["apply", "--dry-run=server", "-f", "-"], Some(&known.join("\n---\n"))).map(drop)
}

/// Checks that the guardrails also apply to a pod that does not come from Runway. A pod within the policy's
/// bounds is admitted, and a pod above them is rejected.
fn within_bounds(kubectl: &Kubectl) -> Result<(), String> {
    let pod = |cpu: &str| {
        serde_json::json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": "stranger", "namespace": "runway-jobs" },
            "spec": {
                "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "stranger",
                    "image": "runway.test/busybox:1",
                    "resources": { "limits": { "cpu": cpu } },
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                }],
            },
        })
        .to_string()
    };
    let create = |cpu| kubectl.call(&["create", "--dry-run=server", "-f", "-"], Some(&pod(cpu)));
    create("1").map_err(|what| format!("a pod within the bounds was rejected: {what}"))?;
    match create("1001m") {
        Err(what) if what.contains("maximum cpu usage per Container is 1") => Ok(()),
        Err(what) => Err(format!("a pod above the bounds was rejected for another reason: {what}")),
        Ok(_) => Err("a pod above the bounds was admitted".to_owned()),
    }
}

fn documents(built: &str) -> impl Iterator<Item = &str> {
    built.split("\n---\n").map(str::trim).filter(|text| !text.is_empty())
}

/// Returns the value of a top-level field of a document.
fn field<'a>(document: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    document.lines().find_map(value).unwrap_or_default()
}

fn kind(document: &str) -> String {
    format!("{} of {}", field(document, "kind"), field(document, "apiVersion"))
}

/// Whether the output of `kubectl api-resources` contains the kind of a document in its version.
fn is_served(document: &str, served: &str) -> bool {
    let wanted = [field(document, "apiVersion"), field(document, "kind")];
    served.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        wanted.iter().all(|wanted| words.contains(wanted))
    })
}

fn wrong(what: impl Into<String>) -> Failed {
    Failed::Wrong { step: STEP.to_owned(), what: what.into() }
}

#[cfg(test)]
mod tests {
    use super::{documents, is_served, kind};

    const BUILT: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: kind\n---\napiVersion: policy/v1\nkind: PodDisruptionBudget\n";
    const SERVED: &str = "namespaces   ns   v1   false   Namespace\npoddisruptionbudgets   pdb   policy/v1beta1   true   PodDisruptionBudget\n";

    #[test]
    fn a_kind_is_known_in_its_version_alone() {
        let known: Vec<_> = documents(BUILT).map(|text| (kind(text), is_served(text, SERVED))).collect();
        assert_eq!(
            known,
            [("Namespace of v1".to_owned(), true), ("PodDisruptionBudget of policy/v1".to_owned(), false)]
        );
    }
}
