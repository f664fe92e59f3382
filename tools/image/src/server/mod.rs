//! `cargo xtask image`: builds the server's container image without a container engine. It contains one
//! static program: no shell, no libraries, no user database. The same commit and the same compiler give the
//! same bytes.

mod program;

use crate::epoch::{Epoch, commit};
use crate::oci::{Archive, Empty, Image, Layer, Start};
use runway_steps::{Failed, target_folder};
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
pub enum Wanted {
    /// Write the image archive to this file, or to [`default_archive`].
    Archive(Option<PathBuf>),
    /// Write only the static program, for engines that build the image themselves.
    Program(PathBuf),
    /// Build the program in two directories and check that the bytes are equal.
    Twice,
}

impl Wanted {
    /// Parses the options of the command.
    #[must_use]
    pub fn parse(words: &[&str]) -> Option<Self> {
        match words {
            [] => Some(Self::Archive(None)),
            ["--output", file] => Some(Self::Archive(Some(file.into()))),
            ["--twice"] => Some(Self::Twice),
            ["--program", file] => Some(Self::Program(file.into())),
            _ => None,
        }
    }

    /// Executes the command.
    ///
    /// # Errors
    /// [`StepError`] if the server cannot be built, its program is not static, or a file cannot be written.
    /// [`StepError`] if two builds differ.
    pub fn write(self) -> Result<(), Failed> {
        match self {
            Self::Archive(file) => archive(&file.unwrap_or_else(usual_place)),
            Self::Twice => program::prove(),
            Self::Program(file) => fs::copy(program::build()?, &file).map(drop).map_err(told(&file)),
        }
    }
}

/// The default path of the archive.
#[must_use]
pub fn usual_place() -> PathBuf {
    target_folder().join("oci/runway-http.tar")
}

/// Builds the server and writes its image as an archive.
///
/// # Errors
/// [`StepError`] if the server cannot be built, or a file cannot be written.
pub fn archive(file: &Path) -> Result<(), Failed> {
    let (created, revision) = (Epoch::of_the_sources()?, commit());
    let program = program::build()?;
    eprintln!("\nxtask: {STEP}");
    let content = fs::read(&program).map_err(told(&program))?;
    // The revision is omitted if the checkout changed during the build, because the built sources are then
    // unknown.
    let about = About { created, revision: revision.filter(|revision| commit().as_ref() == Some(revision)) };
    let packed = pack(&content, about).map_err(told(file))?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(told(folder))?;
    }
    fs::write(file, &packed.bytes).map_err(told(file))?;
    eprintln!("xtask: {}: {NAME}@{}", file.display(), packed.digest);
    eprintln!("xtask: {} bytes to pull, {} bytes on the node", packed.bytes.len(), content.len());
    Ok(())
}

fn told(what: &Path) -> impl FnOnce(io::Error) -> Failed {
    let what = format!("`{}`", what.display());
    move |error| Failed::Wrong { step: STEP.to_owned(), what: format!("{what}: {error}") }
}

/// The sources of an image.
struct About {
    created: Epoch,
    revision: Option<String>,
}

impl About {
    fn annotations(&self) -> BTreeMap<String, String> {
        let mut said = vec![
            ("title", TITLE.to_owned()),
            ("description", DESCRIPTION.to_owned()),
            ("licenses", LICENCES.to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("created", self.created.to_string()),
        ];
        said.extend(self.revision.clone().map(|revision| ("revision", revision)));
        said.into_iter().map(|(key, text)| (format!("org.opencontainers.image.{key}"), text)).collect()
    }
}

struct Packed {
    bytes: Vec<u8>,
    digest: String,
}

fn pack(program: &[u8], about: About) -> io::Result<Packed> {
    let mut layer = Layer::begin(about.created);
    layer.file("runway-http", 0o555, program)?;
    let annotations = about.annotations();
    let image = Image {
        names: &[NAME],
        layer: &layer.finish()?,
        start: Start {
            user: USER,
            exposed_ports: PORTS.map(|port| (port, Empty {})).into(),
            entrypoint: &["/runway-http"],
            working_dir: "/",
            labels: annotations.clone(),
            ..Start::default()
        },
        created: about.created,
        annotations,
    };
    let mut archive = Archive::default();
    let digest = archive.add(&image)?;
    Ok(Packed { bytes: archive.finish()?, digest })
}

#[cfg(test)]
mod tests {
    use super::{About, DESCRIPTION, NAME, PORTS, TITLE, USER, Wanted, pack};
    use crate::epoch::Epoch;
    use flate2::read::GzDecoder;
    use runway_steps::root;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::Read;

    fn about() -> About {
        About { created: Epoch::parse("1700000000").unwrap(), revision: Some("abc".to_owned()) }
    }

    fn file(name: &str) -> String {
        fs::read_to_string(root().join(name)).unwrap()
    }

    /// Returns the JSON blobs of the archive, and the entries of its layer.
    fn parts() -> (Vec<Value>, Vec<String>) {
        let packed = pack(b"program", about()).unwrap();
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
    fn it_holds_the_program_and_nothing_else() {
        assert_eq!(parts().1, ["runway-http 555"]);
    }

    #[test]
    fn it_starts_the_server_as_nobody() {
        let (documents, _) = parts();
        let config =
            documents.iter().find_map(|document| document.get("config")?.get("User").map(|_| document));
        let config = config.unwrap();
        let labels: BTreeMap<String, String> = about().annotations();
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
    fn the_digest_is_that_of_the_content() {
        let digest = |program: &[u8]| pack(program, about()).unwrap().digest;
        assert_eq!(digest(b"program"), digest(b"program"));
        assert_ne!(digest(b"program"), digest(b"another"));
        let later = About { created: Epoch::parse("1700000001").unwrap(), ..about() };
        assert_ne!(pack(b"program", later).unwrap().digest, digest(b"program"));
    }

    #[test]
    fn the_manifests_and_the_other_way_to_build_it_say_the_same() {
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
    fn options_are_read_and_others_refused() {
        assert_eq!(Wanted::parse(&[]), Some(Wanted::Archive(None)));
        assert_eq!(Wanted::parse(&["--output", "x"]), Some(Wanted::Archive(Some("x".into()))));
        assert_eq!(Wanted::parse(&["--program", "x"]), Some(Wanted::Program("x".into())));
        assert_eq!(Wanted::parse(&["--twice"]), Some(Wanted::Twice));
        for wrong in [&["--output"][..], &["x"], &["--output", "x", "y"]] {
            assert_eq!(Wanted::parse(wrong), None);
        }
    }
}
