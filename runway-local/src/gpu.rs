//! The GPUs of this machine, and the device files and variables that give a job access to them.

use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Returns the device numbers of the NVIDIA GPUs in `/dev`, in ascending order.
#[must_use]
pub fn detect() -> Vec<String> {
    detect_in(Path::new("/dev"))
}

fn detect_in(dev: &Path) -> Vec<String> {
    let entries = fs::read_dir(dev).into_iter().flatten().flatten();
    let number = |name: &str| name.strip_prefix("nvidia")?.parse::<u32>().ok();
    let mut numbers: Vec<_> = entries.filter_map(|entry| number(entry.file_name().to_str()?)).collect();
    numbers.sort_unstable();
    numbers.iter().map(u32::to_string).collect()
}

/// The GPUs that are assigned to a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AssignedGpus {
    ids: Vec<String>,
}

impl AssignedGpus {
    pub(crate) fn new(ids: Vec<String>) -> Self {
        Self { ids }
    }

    /// Returns the environment variables that select the GPUs for CUDA and for container runtimes.
    ///
    /// Uses the UUIDs of the driver where they are known. Device numbers could select the wrong GPU: a job
    /// sees only its assigned GPUs, and CUDA numbers the visible GPUs from zero.
    pub(crate) fn env_vars(&self) -> [(String, String); 2] {
        let gpus = read_driver_gpus(Path::new("/proc/driver/nvidia/gpus"));
        let name = |id: &String| {
            let card = gpus.iter().find(|card| card.minor.to_string() == *id || card.uuid == *id);
            card.map_or_else(|| id.clone(), |card| card.uuid.clone())
        };
        let ids = self.ids.iter().map(name).collect::<Vec<_>>().join(",");
        // Without `NVIDIA_VISIBLE_DEVICES`, some GPU runtimes expose all devices. With `void`, they expose
        // none.
        let visible = if ids.is_empty() { "void".to_owned() } else { ids.clone() };
        [("CUDA_VISIBLE_DEVICES".to_owned(), ids), ("NVIDIA_VISIBLE_DEVICES".to_owned(), visible)]
    }

    /// Returns the existing device files of the assigned GPUs, and the files that all GPUs share. Returns no
    /// files for a job without GPUs.
    pub(crate) fn device_files(&self) -> Vec<PathBuf> {
        if self.ids.is_empty() {
            return Vec::new();
        }
        let gpus = read_driver_gpus(Path::new("/proc/driver/nvidia/gpus"));
        let minor = |id: &String| {
            let card = gpus.iter().find(|card| card.uuid == *id);
            card.map(|card| card.minor).or_else(|| id.parse().ok())
        };
        let own = self.ids.iter().filter_map(minor).map(|minor| format!("nvidia{minor}"));
        let shared = ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"].map(str::to_owned);
        own.chain(shared).map(|name| Path::new("/dev").join(name)).filter(|file| is_device(file)).collect()
    }
}

/// Returns the major and minor number of a device file.
pub(crate) fn device_number(file: &Path) -> Option<(u32, u32)> {
    let device = fs::metadata(file).ok()?.rdev();
    Some((rustix::fs::major(device), rustix::fs::minor(device)))
}

fn is_device(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.file_type().is_char_device())
}

/// A GPU as the NVIDIA driver describes it.
struct DriverGpu {
    uuid: String,
    minor: u32,
}

fn read_driver_gpus(dir: &Path) -> Vec<DriverGpu> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| parse_driver_gpu(&fs::read_to_string(entry.path().join("information")).ok()?))
        .collect()
}

fn parse_driver_gpu(information: &str) -> Option<DriverGpu> {
    let value = |name: &str| {
        let line = information.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    Some(DriverGpu { uuid: value("GPU UUID")?.to_owned(), minor: value("Device Minor")?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detect_ignores_unnumbered_device_files() {
        let dev = std::env::temp_dir().join(format!("runway-dev-{}", std::process::id()));
        fs::create_dir(&dev).unwrap();
        for name in ["nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia", "null"] {
            fs::write(dev.join(name), "").unwrap();
        }
        assert_eq!(detect_in(&dev), ["2", "10"]);
        fs::remove_dir_all(&dev).unwrap();
        assert!(detect_in(&dev).is_empty());
    }

    #[test]
    fn driver_information_is_parsed() {
        let text = "Model: \t\t NVIDIA A100\nGPU UUID: \t GPU-ab12\nDevice Minor: \t 3\n";
        let gpu = parse_driver_gpu(text).unwrap();
        assert_eq!((gpu.uuid.as_str(), gpu.minor), ("GPU-ab12", 3));
        assert!(parse_driver_gpu("Model: none\n").is_none());
    }

    #[test]
    fn env_vars_hide_all_gpus_without_assignment() {
        let [cuda, nvidia] = AssignedGpus::default().env_vars();
        assert_eq!((cuda.1.as_str(), nvidia.1.as_str()), ("", "void"));
        let [cuda, nvidia] = AssignedGpus::new(vec!["GPU-a".into(), "GPU-b".into()]).env_vars();
        assert_eq!((cuda.1.as_str(), nvidia.1.as_str()), ("GPU-a,GPU-b", "GPU-a,GPU-b"));
    }
}
