//! The images for pods on the node. They contain one layer with busybox. containerd imports them as one
//! archive.

use crate::state::Folder;
use runway_image::Epoch;
use runway_image::oci::{Archive, Image, Layer, Start};
use runway_steps::Failure;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// The pause image. Its container holds the namespaces of a pod.
pub(crate) const PAUSE: &str = "runway.test/pause:1";

/// Image names that jobs use. The second one appears in the example jobs.
pub(crate) const JOBS: &[&str] = &["runway.test/busybox:1", "registry.internal/embed:1.8.0"];

const USERS: &str = "root:x:0:0:root:/:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/bin/sh\n";
const GROUPS: &str = "root:x:0:\nnonroot:x:65532:\n";

/// Writes the archive and returns its path.
pub(crate) fn archive(folder: &Folder, busybox: &Path) -> Result<PathBuf, Failure> {
    let file = folder.join("images.tar");
    let listed = Command::new(busybox).arg("--list").output().map_err(Failure::io("busybox"))?;
    let applets = String::from_utf8_lossy(&listed.stdout).into_owned();
    let packed = fs::read(busybox).and_then(|program| packed(&program, &applets));
    packed.and_then(|bytes| fs::write(&file, bytes)).map_err(Failure::io("the images of the node"))?;
    Ok(file)
}

fn packed(busybox: &[u8], applets: &str) -> io::Result<Vec<u8>> {
    let time = Epoch::default();
    let mut layer = Layer::begin(time);
    for name in ["bin", "dev", "etc", "proc", "sys"] {
        layer.folder(name, 0o755)?;
    }
    layer.folder("tmp", 0o1777)?;
    layer.file("bin/busybox", 0o755, busybox)?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        layer.link(&format!("bin/{applet}"), "busybox")?;
    }
    layer.file("etc/passwd", 0o644, USERS.as_bytes())?;
    layer.file("etc/group", 0o644, GROUPS.as_bytes())?;
    let layer = layer.finish()?;
    let mut archive = Archive::default();
    for (names, words) in [(&[PAUSE][..], &["sleep", "2147483647"][..]), (JOBS, &["sh"])] {
        archive.add(&Image {
            names,
            layer: &layer,
            start: Start { user: "65532:65532", env: &["PATH=/bin"], cmd: words, ..Start::default() },
            created: time,
            annotations: BTreeMap::new(),
        })?;
    }
    archive.finish()
}
