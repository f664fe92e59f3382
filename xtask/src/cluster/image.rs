//! The images with which the node runs pods: one layer made from busybox, as an archive that containerd imports.

use super::failure::Failure;
use super::process::search_path;
use super::state::Folder;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Holds a pod's namespaces and does nothing else.
pub(crate) const PAUSE: &str = "runway.test/pause:1";

/// What jobs name: the second is an image of the example jobs.
pub(crate) const JOBS: &[&str] = &["runway.test/busybox:1", "registry.internal/embed:1.8.0"];

const USERS: &str = "root:x:0:0:root:/:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/bin/sh\n";
const GROUPS: &str = "root:x:0:\nnonroot:x:65532:\n";

/// Writes the archive and returns its path.
pub(crate) fn archive(folder: &Folder, busybox: &Path) -> Result<PathBuf, Failure> {
    folder.create("image/root/bin")?;
    let root = folder.join("image/root");
    let told = |what: &str| Failure::io(format!("the image: {what}"));
    fs::copy(busybox, root.join("bin/busybox")).map_err(told("busybox"))?;
    for applet in run(Command::new(busybox).arg("--list"))?.lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).map_err(told(applet))?;
    }
    for name in ["dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir(root.join(name)).map_err(told(name))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).map_err(told("tmp"))?;
    fs::write(root.join("etc/passwd"), USERS).map_err(told("passwd"))?;
    fs::write(root.join("etc/group"), GROUPS).map_err(told("group"))?;

    let layer = folder.join("image/layer.tar");
    run(tar(&layer).arg("-C").arg(&root).arg("."))?;
    let digest = run(Command::new("sha256sum").arg(&layer))?;
    let digest = digest.split(' ').next().unwrap_or_default();
    let configs = [("pause", json!(["sleep", "2147483647"])), ("jobs", json!(["sh"]))];
    for (name, words) in configs {
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Env": ["PATH=/bin"], "Cmd": words, "User": "65532:65532" },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        });
        folder.write(&format!("image/{name}.json"), &config.to_string())?;
    }
    let manifest = json!([
        { "Config": "pause.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"] },
        { "Config": "jobs.json", "RepoTags": JOBS, "Layers": ["layer.tar"] },
    ]);
    folder.write("image/manifest.json", &manifest.to_string())?;
    let archive = folder.join("image/archive.tar");
    let parts = ["manifest.json", "pause.json", "jobs.json", "layer.tar"];
    run(tar(&archive).arg("-C").arg(folder.join("image")).args(parts))?;
    Ok(archive)
}

fn tar(file: &Path) -> Command {
    let mut command = Command::new("tar");
    command.args(["--numeric-owner", "--owner=0", "--group=0", "--sort=name", "--mtime=@0", "-cf"]).arg(file);
    command
}

/// This machine's processor, in the words of images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn run(command: &mut Command) -> Result<String, Failure> {
    let what = format!("the image: {}", Path::new(command.get_program()).display());
    let output = command.env("PATH", search_path()).output().map_err(Failure::io(&*what))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::Command { what, output: String::from_utf8_lossy(&output.stderr).into_owned() })
}
