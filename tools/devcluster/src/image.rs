//! The images for pods on the node. All of them have the same single layer, which contains busybox.
//! containerd imports them from one archive.

use crate::state::ClusterDir;
use runway_image::SourceEpoch;
use runway_image::oci::{ContainerConfig, EmptyObject, Image, ImageArchive, Layer};
use runway_steps::ToolError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// The pause image. Its container only sleeps, and so keeps the namespaces of a pod in existence.
pub(crate) const PAUSE_IMAGE: &str = "runway.test/pause:1";

/// Image names that jobs use. The second one appears in the example jobs.
pub(crate) const JOB_IMAGES: &[&str] = &["runway.test/busybox:1", "registry.internal/embed:1.8.0"];

/// A volume of all images. The node must ignore it: the storage limit of a job does not cover such volumes.
const IGNORED_VOLUME: &str = "/volume";

const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/bin/sh\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";

/// Writes the archive of all images and returns its path.
pub(crate) fn write_archive(dir: &ClusterDir, busybox: &Path) -> Result<PathBuf, ToolError> {
    let file = dir.join("images.tar");
    let listed = Command::new(busybox).arg("--list").output().map_err(ToolError::io("busybox"))?;
    let applets = String::from_utf8_lossy(&listed.stdout).into_owned();
    let archive = fs::read(busybox).and_then(|program| build_archive(&program, &applets));
    archive.and_then(|bytes| fs::write(&file, bytes)).map_err(ToolError::io("the images of the node"))?;
    Ok(file)
}

fn build_archive(busybox: &[u8], applets: &str) -> io::Result<Vec<u8>> {
    let time = SourceEpoch::default();
    let mut layer = Layer::builder(time);
    for name in ["bin", "dev", "etc", "proc", "sys"] {
        layer.add_dir(name, 0o755)?;
    }
    layer.add_dir("tmp", 0o1777)?;
    layer.add_file("bin/busybox", 0o755, busybox)?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        layer.add_symlink(&format!("bin/{applet}"), "busybox")?;
    }
    layer.add_file("etc/passwd", 0o644, PASSWD.as_bytes())?;
    layer.add_file("etc/group", 0o644, GROUP.as_bytes())?;
    let layer = layer.finish()?;
    let mut archive = ImageArchive::default();
    for (names, words) in [(&[PAUSE_IMAGE][..], &["sleep", "2147483647"][..]), (JOB_IMAGES, &["sh"])] {
        archive.add(&Image {
            names,
            layer: &layer,
            config: ContainerConfig {
                user: "65532:65532",
                env: &["PATH=/bin"],
                cmd: words,
                volumes: BTreeMap::from([(IGNORED_VOLUME, EmptyObject {})]),
                ..ContainerConfig::default()
            },
            created: time,
            annotations: BTreeMap::new(),
        })?;
    }
    archive.finish()
}
