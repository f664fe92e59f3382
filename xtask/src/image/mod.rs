//! `cargo xtask image`: the server's container image, made without any engine. It holds one static program and nothing else: no
//! shell, no libraries, no list of users. The same commit and the same compiler give the same bytes.

mod program;

use crate::epoch::{Epoch, commit};
use crate::oci::{Archive, Empty, Image, Layer, Start};
use crate::steps::{Failed, target_folder};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// As the manifests name it.
pub(crate) const NAME: &str = concat!("registry.internal/runway-http:", env!("CARGO_PKG_VERSION"));

/// As the manifests say, and as the jobs themselves run.
const USER: &str = "65532:65532";

const PORTS: [&str; 2] = ["8080/tcp", "9100/tcp"];
const TITLE: &str = "runway-http";
const DESCRIPTION: &str = "Runway's server: batch jobs that are checked, priced and bounded before they run";
const LICENCES: &str = "MIT OR Apache-2.0";

const STEP: &str = "the image";

/// What `image` is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The archive, in this file where one is named.
    Archive(Option<PathBuf>),
    /// The static program alone, for engines that pack it themselves.
    Program(PathBuf),
}

impl Wanted {
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        match words {
            [] => Some(Self::Archive(None)),
            ["--output", file] => Some(Self::Archive(Some(file.into()))),
            ["--program", file] => Some(Self::Program(file.into())),
            _ => None,
        }
    }

    pub(crate) fn write(self) -> Result<(), Failed> {
        match self {
            Self::Archive(file) => archive(&file.unwrap_or_else(usual_place)),
            Self::Program(file) => fs::copy(program::build()?, &file).map(drop).map_err(told(&file)),
        }
    }
}

/// Where the archive lies unless another place is named.
pub(crate) fn usual_place() -> PathBuf {
    target_folder().join("image/runway-http.tar")
}

/// Builds the server and writes its image as an archive.
pub(crate) fn archive(file: &Path) -> Result<(), Failed> {
    let program = program::build()?;
    eprintln!("\nxtask: {STEP}");
    let content = fs::read(&program).map_err(told(&program))?;
    let about = About { created: Epoch::of_the_sources()?, revision: commit() };
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

/// Where an image comes from.
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
