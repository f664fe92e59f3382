//! Checks the manifests. Both overlays are built. The overlay for development is applied to a real cluster,
//! which then runs the server in its image.

mod confinement;
mod deployed_server;

use runway_devcluster::{Kubectl, Release, Session};
use runway_image as image;
use runway_steps::{self as steps, StepError, target_dir, workspace_root};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The overlays, each with its number of objects. The number detects an object that was lost or added by
/// mistake.
const OVERLAYS: [(&str, usize); 2] = [("dev", 16), ("eks", 18)];

/// The optional add-ons, each with its number of objects.
const ADDONS: [(&str, usize); 3] = [("drains", 1), ("gpus", 1), ("monitoring", 2)];

/// Permissions of the server's service account: verb, resource and the expected answer of `kubectl auth
/// can-i`.
const PERMISSIONS: [(&str, &str, &str); 6] = [
    ("create", "jobs.batch", "yes"),
    ("list", "pods", "yes"),
    ("delete", "secrets", "yes"),
    ("get", "secrets", "no"),
    ("create", "pods", "no"),
    ("update", "resourcequotas", "no"),
];

/// The kubectl flag that impersonates the server's service account.
const SERVER_ACCOUNT_FLAG: &str = "--as=system:serviceaccount:runway-system:runway";

fn kustomize(kubectl: &Kubectl, dir: &Path) -> Result<String, String> {
    kubectl.run(&["kustomize", &dir.display().to_string()], None)
}

fn overlay_dir(overlay: &str) -> PathBuf {
    workspace_root().join("infra/kubernetes/overlays").join(overlay)
}

/// Builds the overlays and the add-ons. Returns `false` if there is no `kubectl` and `may_build` is not set.
///
/// # Errors
/// [`StepError`] if `kubectl` cannot be built.
/// [`StepError`] if an overlay or an add-on cannot be built or has another number of objects.
pub fn check(may_build: bool, kubernetes: Option<Release>) -> Result<bool, StepError> {
    let Some(kubectl) = Kubectl::find_or_build(kubernetes, may_build)? else { return Ok(false) };
    eprintln!("\nxtask: building the manifests");
    let overlays = OVERLAYS.map(|(name, expected)| (overlay_dir(name), expected));
    let additions =
        ADDONS.map(|(name, expected)| (workspace_root().join("infra/kubernetes").join(name), expected));
    for (folder, expected) in overlays.into_iter().chain(additions) {
        let built = kustomize(&kubectl, &folder).map_err(check_failed)?;
        let objects = documents(&built).count();
        if objects != expected {
            return Err(check_failed(format!("{} has {objects} objects, not {expected}", folder.display())));
        }
    }
    Ok(true)
}

/// Imports the server's image into the session's cluster and checks the manifests there. The cluster must be
/// one that `cargo xtask cluster` started.
///
/// # Errors
/// [`StepError`] if the image cannot be built, or a check of the deployed server fails.
pub fn check_on_cluster(session: &mut Session) -> Result<(), StepError> {
    let file = image::default_archive();
    image::write_archive(&file)?;
    steps::run_cargo("the command line", &["build", "--locked", "-p", "runway-cli"])?;
    let program = std::env::current_exe().map_err(StepError::io(STEP))?;
    session.run("the image on a cluster", Command::new(&program).args(["cluster", "import"]).arg(file))?;
    session.run(STEP, Command::new(program).arg("manifests"))
}

const STEP: &str = "the manifests on a cluster";

/// Applies the overlay for development to the cluster of `KUBECONFIG`, submits jobs to the server and checks
/// the objects. Validates the objects of the overlay `eks` on the API server, except kinds that the cluster
/// does not have. Finally deletes the overlay for development, even if a check fails.
///
/// # Errors
/// [`StepError`] if a check of the deployed server fails.
pub fn apply_and_check() -> Result<(), StepError> {
    let kubectl = Kubectl::new()?;
    let dev = overlay_dir("dev").display().to_string();
    let applied = kubectl
        .run(&["apply", "-k", &dev], None)
        .and_then(|_| deployed_server::check_server(&kubectl, &target_dir().join("debug/runway")))
        .and_then(|()| check_deployed_objects(&kubectl));
    applied.and(delete_overlay(&kubectl, &dev)).map_err(check_failed)
}

fn delete_overlay(kubectl: &Kubectl, dev: &str) -> Result<(), String> {
    let system = ["-n", "runway-system", "delete"];
    let delete = |what: &[&str]| kubectl.run(&[&system[..], what].concat(), None);
    // The grace period of the server is for in-flight requests. There are none, so one second is enough.
    delete(&["deploy", "runway-http", "--ignore-not-found", "--wait=false"])?;
    delete(&["pods", "--all", "--grace-period=1"])?;
    kubectl.run(&["delete", "-k", dev, "--ignore-not-found", "--timeout=180s"], None).map(drop)
}

fn check_deployed_objects(kubectl: &Kubectl) -> Result<(), String> {
    for (verb, resource, expected) in PERMISSIONS {
        let result =
            kubectl.run(&["auth", "can-i", verb, resource, "-n", "runway-jobs", SERVER_ACCOUNT_FLAG], None);
        // `kubectl auth can-i` fails if the answer is no.
        let actual = if result.is_ok() { "yes" } else { "no" };
        if actual != expected {
            return Err(format!("may the server {verb} {resource}? expected {expected}, got {actual}"));
        }
    }
    check_guardrails(kubectl)?;
    let replicas = kubectl.run(
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
    let served = kubectl.run(&["api-resources", "--no-headers"], None)?;
    let eks = kustomize(kubectl, &overlay_dir("eks"))?;
    let (known, unknown): (Vec<&str>, Vec<&str>) = documents(&eks).partition(|text| is_served(text, &served));
    for text in unknown {
        eprintln!("xtask: skipped: this cluster does not have {}", kind(text));
    }
    kubectl.run(&["apply", "--dry-run=server", "-f", "-"], Some(&known.join("\n---\n"))).map(drop)
}

/// Checks that the guardrails also apply to a pod that does not come from Runway. A pod within the policy's
/// bounds is admitted, and a pod above them is rejected.
fn check_guardrails(kubectl: &Kubectl) -> Result<(), String> {
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
    let create = |cpu| kubectl.run(&["create", "--dry-run=server", "-f", "-"], Some(&pod(cpu)));
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

fn check_failed(what: impl Into<String>) -> StepError {
    StepError::check_failed(STEP, what)
}

#[cfg(test)]
mod tests {
    use super::{documents, is_served, kind};

    const BUILT: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: kind\n---\napiVersion: policy/v1\nkind: PodDisruptionBudget\n";
    const SERVED: &str = "namespaces   ns   v1   false   Namespace\npoddisruptionbudgets   pdb   policy/v1beta1   true   PodDisruptionBudget\n";

    #[test]
    fn kind_is_served_only_in_its_version() {
        let known: Vec<_> = documents(BUILT).map(|text| (kind(text), is_served(text, SERVED))).collect();
        assert_eq!(
            known,
            [("Namespace of v1".to_owned(), true), ("PodDisruptionBudget of policy/v1".to_owned(), false)]
        );
    }
}
