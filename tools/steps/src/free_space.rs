//! Free space on a file system.

use crate::ToolError;
use std::path::Path;

const GIB: u64 = 1 << 30;

/// Fails unless the file system of `dir` has at least `needed` bytes of free space, and at least a fraction
/// `1 / fraction` of its size. `dir` need not exist.
///
/// # Errors
/// [`ToolError::Io`] if the file system cannot be queried.
/// [`ToolError::FailedPrecondition`] if it has less free space.
pub fn check_free_space(dir: &Path, needed: u64, fraction: u64) -> Result<(), ToolError> {
    let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir);
    let file_system = rustix::fs::statvfs(existing)
        .map_err(|error| ToolError::io(format!("`{}`", existing.display()))(error.into()))?;
    let available = file_system.f_bavail.saturating_mul(file_system.f_frsize);
    let size = file_system.f_blocks.saturating_mul(file_system.f_frsize);
    let needed = needed.max(size.checked_div(fraction).unwrap_or(0));
    if available >= needed {
        return Ok(());
    }
    let what = format!(
        "`{}` has {} GiB of free space, and {} GiB are needed: delete old files there",
        existing.display(),
        available / GIB,
        needed.div_ceil(GIB)
    );
    Err(ToolError::FailedPrecondition { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_space_is_an_error_that_names_the_directory() {
        let dir = std::env::temp_dir().join("does-not-exist/below");
        check_free_space(&dir, 1, u64::MAX).unwrap();
        let error = check_free_space(&dir, u64::MAX, u64::MAX).unwrap_err().to_string();
        assert!(error.contains("of free space, and 17179869184 GiB are needed"), "{error}");
        // A file system never has its whole size available.
        assert!(check_free_space(Path::new("/proc"), 0, 1).is_ok(), "it has no size");
        assert!(check_free_space(&dir, 0, 1).is_err());
    }
}
