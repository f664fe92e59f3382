//! `cargo xtask image`: builds the server's container image without a container engine. The image contains
//! one static program: no shell, no libraries, no user database. The same commit and the same compiler give
//! the same bytes.

mod program;

use crate::epoch::{SourceEpoch, clean_commit};
use crate::oci::{ContainerConfig, EmptyObject, Image, ImageArchive, Layer};
use runway_steps::{StepError, target_dir};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The image name, as in the manifests.
const NAME: &str = concat!("registry.internal/runway-http:", env!("CARGO_PKG_VERSION"));

/// User and group of the server, as in the manifests. Jobs run with the same ids.
const USER: &str = "65532:65532";

const PORTS: [&str; 2] = ["8080/tcp", "9100/tcp"];
const TITLE: &str = "runway-http";
const DESCRIPTION: &str = "The Runway server: checks, prices and limits batch jobs before they run";
const LICENCES: &str = "MIT OR Apache-2.0";

const STEP: &str = "the image";

/// An `image` command.
#[derive(Debug, PartialEq, Eq)]
pub enum ImageCommand {
    /// Write the image archive to this file, or to [`default_archive`].
    Archive(Option<PathBuf>),
    /// Write only the static program, for engines that build the image themselves.
    Program(PathBuf),
    /// Build the program in two directories and check that the bytes are equal.
    VerifyReproducible,
}

impl ImageCommand {
    /// Parses the options of the command. Returns `None` if they are invalid.
    #[must_use]
    pub fn parse(words: &[&str]) -> Option<Self> {
        match words {
            [] => Some(Self::Archive(None)),
            ["--output", file] => Some(Self::Archive(Some(file.into()))),
            ["--twice"] => Some(Self::VerifyReproducible),
            ["--program", file] => Some(Self::Program(file.into())),
            _ => None,
        }
    }

    /// Executes the command.
    ///
    /// # Errors
    /// [`StepError`] if the server cannot be built, its program is not static, or a file cannot be written.
    /// [`StepError`] if two builds differ, or cannot be compared because of uncommitted changes.
    pub fn run(self) -> Result<(), StepError> {
        match self {
            Self::Archive(file) => write_archive(&file.unwrap_or_else(default_archive)),
            Self::VerifyReproducible => program::verify_reproducible(),
            Self::Program(file) => fs::copy(program::build()?, &file).map(drop).map_err(io_error(&file)),
        }
    }
}

/// The default path of the archive.
#[must_use]
pub fn default_archive() -> PathBuf {
    target_dir().join("oci/runway-http.tar")
}

/// Builds the server and writes its image as an archive.
///
/// # Errors
/// [`StepError`] if the time of the sources is unknown, the server cannot be built, or a file cannot be
/// written.
pub fn write_archive(file: &Path) -> Result<(), StepError> {
    let (created, revision) = (SourceEpoch::from_sources()?, clean_commit());
    let program = program::build()?;
    eprintln!("\nxtask: {STEP}");
    let content = fs::read(&program).map_err(io_error(&program))?;
    // The revision is omitted if the checkout changed during the build, because the built sources are then
    // unknown.
    let build_info = BuildInfo {
        created,
        revision: revision.filter(|revision| clean_commit().as_ref() == Some(revision)),
    };
    let packed = pack_image(&content, build_info).map_err(io_error(file))?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(io_error(folder))?;
    }
    fs::write(file, &packed.bytes).map_err(io_error(file))?;
    eprintln!("xtask: {}: {NAME}@{}", file.display(), packed.digest);
    eprintln!("xtask: {} bytes to pull, {} bytes on the node", packed.bytes.len(), content.len());
    Ok(())
}

fn io_error(what: &Path) -> impl FnOnce(io::Error) -> StepError {
    let what = format!("`{}`", what.display());
    move |error| StepError::CheckFailed { step: STEP.to_owned(), what: format!("{what}: {error}") }
}

/// The time of the sources of an image, and their commit if it is known.
struct BuildInfo {
    created: SourceEpoch,
    revision: Option<String>,
}

impl BuildInfo {
    fn annotations(&self) -> BTreeMap<String, String> {
        let mut pairs = vec![
            ("title", TITLE.to_owned()),
            ("description", DESCRIPTION.to_owned()),
            ("licenses", LICENCES.to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("created", self.created.to_string()),
        ];
        pairs.extend(self.revision.clone().map(|revision| ("revision", revision)));
        pairs.into_iter().map(|(key, text)| (format!("org.opencontainers.image.{key}"), text)).collect()
    }
}

struct PackedImage {
    bytes: Vec<u8>,
    digest: String,
}

fn pack_image(program: &[u8], build_info: BuildInfo) -> io::Result<PackedImage> {
    let mut layer = Layer::builder(build_info.created);
    layer.add_file("runway-http", 0o555, program)?;
    let annotations = build_info.annotations();
    let image = Image {
        names: &[NAME],
        layer: &layer.finish()?,
        config: ContainerConfig {
            user: USER,
            exposed_ports: PORTS.map(|port| (port, EmptyObject {})).into(),
            entrypoint: &["/runway-http"],
            working_dir: "/",
            labels: annotations.clone(),
            ..ContainerConfig::default()
        },
        created: build_info.created,
        annotations,
    };
    let mut archive = ImageArchive::default();
    let digest = archive.add(&image)?;
    Ok(PackedImage { bytes: archive.finish()?, digest })
}

#[cfg(test)]
mod tests {
    use super::{BuildInfo, DESCRIPTION, ImageCommand, NAME, PORTS, TITLE, USER, pack_image};
    use crate::epoch::SourceEpoch;
    use flate2::read::GzDecoder;
    use runway_steps::workspace_root;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::Read;

    fn build_info() -> BuildInfo {
        BuildInfo { created: SourceEpoch::parse("1700000000").unwrap(), revision: Some("abc".to_owned()) }
    }

    fn file(name: &str) -> String {
        fs::read_to_string(workspace_root().join(name)).unwrap()
    }

    /// Returns the JSON blobs of the archive, and the entries of its layer.
    fn parts() -> (Vec<Value>, Vec<String>) {
        let packed = pack_image(b"program", build_info()).unwrap();
        let (mut documents, mut content) = (Vec::new(), Vec::new());
        for entry in tar::Archive::new(packed.bytes.as_slice()).entries().unwrap() {
            let mut bytes = Vec::new();
            entry.unwrap().read_to_end(&mut bytes).unwrap();
            if let Ok(document) = serde_json::from_slice(&bytes) {
                documents.push(document);
                continue;
            }
            for entry in tar::Archive::new(GzDecoder::new(bytes.as_slice())).entries().unwrap() {
                let entry = entry.unwrap();
                content.push(format!(
                    "{} {:o}",
                    entry.path().unwrap().display(),
                    entry.header().mode().unwrap()
                ));
            }
        }
        (documents, content)
    }

    #[test]
    fn image_contains_only_the_program() {
        assert_eq!(parts().1, ["runway-http 555"]);
    }

    #[test]
    fn image_runs_the_server_as_non_root() {
        let (documents, _) = parts();
        let config =
            documents.iter().find_map(|document| document.get("config")?.get("User").map(|_| document));
        let config = config.unwrap();
        let labels: BTreeMap<String, String> = build_info().annotations();
        assert_eq!(
            config["config"],
            json!({
                "User": "65532:65532",
                "ExposedPorts": { "8080/tcp": {}, "9100/tcp": {} },
                "Entrypoint": ["/runway-http"],
                "WorkingDir": "/",
                "Labels": labels,
            })
        );
        assert_eq!(labels["org.opencontainers.image.revision"], "abc");
        assert_eq!(labels["org.opencontainers.image.created"], "2023-11-14T22:13:20Z");
    }

    #[test]
    fn digest_depends_on_content_and_time() {
        let digest = |program: &[u8]| pack_image(program, build_info()).unwrap().digest;
        assert_eq!(digest(b"program"), digest(b"program"));
        assert_ne!(digest(b"program"), digest(b"another"));
        let later = BuildInfo { created: SourceEpoch::parse("1700000001").unwrap(), ..build_info() };
        assert_ne!(pack_image(b"program", later).unwrap().digest, digest(b"program"));
    }

    #[test]
    fn manifests_and_dockerfile_match_the_image() {
        let (repository, tag) = NAME.rsplit_once(':').unwrap();
        for overlay in ["dev", "eks"] {
            let text = file(&format!("infra/kubernetes/overlays/{overlay}/kustomization.yaml"));
            assert!(text.contains(&format!("    newName: {repository}\n    newTag: {tag}\n")), "{overlay}");
        }
        let deployment = file("infra/kubernetes/base/deployment.yaml");
        let dockerfile = file("infra/image/Dockerfile");
        let (user, group) = USER.split_once(':').unwrap();
        assert!(deployment.contains(&format!("runAsUser: {user}\n        runAsGroup: {group}\n")));
        for port in PORTS {
            let number = port.trim_end_matches("/tcp");
            assert!(deployment.contains(&format!("containerPort: {number}}}")), "{port}");
        }
        for line in [
            format!("USER {USER}"),
            format!("EXPOSE {}", PORTS.join(" ")),
            "ENTRYPOINT [\"/runway-http\"]".to_owned(),
            format!("org.opencontainers.image.version=\"{tag}\""),
            format!("org.opencontainers.image.title=\"{TITLE}\""),
            format!("org.opencontainers.image.description=\"{DESCRIPTION}\""),
        ] {
            assert!(dockerfile.contains(&line), "{line}");
        }
        let compiler = format!("FROM rust:{}-", env!("CARGO_PKG_RUST_VERSION"));
        assert!(dockerfile.contains(&compiler), "{compiler}");
    }

    #[test]
    fn parse_rejects_unknown_options() {
        assert_eq!(ImageCommand::parse(&[]), Some(ImageCommand::Archive(None)));
        assert_eq!(ImageCommand::parse(&["--output", "x"]), Some(ImageCommand::Archive(Some("x".into()))));
        assert_eq!(ImageCommand::parse(&["--program", "x"]), Some(ImageCommand::Program("x".into())));
        assert_eq!(ImageCommand::parse(&["--twice"]), Some(ImageCommand::VerifyReproducible));
        for wrong in [&["--output"][..], &["x"], &["--output", "x", "y"]] {
            assert_eq!(ImageCommand::parse(wrong), None);
        }
    }
}
