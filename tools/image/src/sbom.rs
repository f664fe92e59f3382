//! Writes an SBOM (software bill of materials) of each program in the CycloneDX 1.6 format. An SBOM lists
//! every crate that is linked into the program or runs at build time as a macro, with licence and checksum.
//! An SBOM contains no time and no random number, so the same sources give the same bytes.

use runway_steps::{self as steps, StepError, target_dir, workspace_root};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The released programs.
const PROGRAMS: [&str; 2] = ["runway-http", "runway-cli"];

/// The target of the released programs. Programs for other targets can contain other crates.
const TARGET: &str = "x86_64-unknown-linux-gnu";

const STEP: &str = "the SBOMs";

/// A crate's name and version.
type Crate = (String, String);

/// Writes `target/sbom/PROGRAM.cdx.json` for each program.
///
/// # Errors
/// [`StepError`] if cargo fails, or a file cannot be written.
pub fn write() -> Result<(), StepError> {
    let wrong = |what: String| StepError::CheckFailed { step: STEP.to_owned(), what };
    let metadata =
        cargo_output(&["metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET])?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| wrong(error.to_string()))?;
    let checksums =
        parse_checksums(&fs::read_to_string(workspace_root().join("Cargo.lock")).map_err(io_error)?);
    let dir = target_dir().join("sbom");
    fs::create_dir_all(&dir).map_err(io_error)?;
    for program in PROGRAMS {
        // `cargo metadata` unifies the features of all crates. `cargo tree -p` uses those of one program.
        let tree = cargo_output(&[
            "tree", "--locked", "-p", program, "--edges", "normal", "--target", TARGET, "--prefix", "none",
        ])?;
        let sbom = render_sbom(program, &parse_tree(&tree), &metadata, &checksums)
            .ok_or_else(|| wrong(format!("there is no package `{program}`")))?;
        let file = dir.join(format!("{program}.cdx.json"));
        fs::write(&file, format!("{sbom:#}\n")).map_err(io_error)?;
        eprintln!("xtask: {}", file.display());
    }
    Ok(())
}

/// Runs cargo and returns its standard output.
fn cargo_output(arguments: &[&str]) -> Result<String, StepError> {
    let output = steps::cargo_command(arguments).output().map_err(io_error)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    Err(StepError::CommandFailed { step: STEP.to_owned() })
}

fn io_error(error: std::io::Error) -> StepError {
    StepError::Io { step: STEP.to_owned(), error }
}

/// Returns the names and versions in the output of `cargo tree --prefix none`.
fn parse_tree(tree: &str) -> BTreeSet<Crate> {
    let words = tree.lines().map(|line| line.split(' '));
    words
        .filter_map(|mut words| Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned())))
        .collect()
}

/// Returns the checksums in a `Cargo.lock` by name and version.
fn parse_checksums(lock: &str) -> BTreeMap<Crate, String> {
    let mut found = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""));
            line.and_then(|rest| rest.strip_suffix('"')).map(str::to_owned)
        };
        if let (Some(name), Some(version), Some(checksum)) =
            (value("name"), value("version"), value("checksum"))
        {
            found.insert((name, version), checksum);
        }
    }
    found
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn render_sbom(
    program: &str,
    linked: &BTreeSet<Crate>,
    metadata: &Value,
    checksums: &BTreeMap<Crate, String>,
) -> Option<Value> {
    let key_of = |package: &Value| (text(package, "name").to_owned(), text(package, "version").to_owned());
    let packages = list(metadata, "packages").filter(|package| linked.contains(&key_of(package)));
    let packages: BTreeMap<&str, &Value> = packages.map(|package| (text(package, "id"), package)).collect();
    let (_, main_package) = packages.iter().find(|(_, package)| text(package, "name") == program)?;
    let mut main_component = component(main_package, checksums);
    main_component.as_object_mut()?.insert("type".to_owned(), "application".into());
    let others = packages.values().filter(|package| text(package, "name") != program);
    let mut components: Vec<Value> = others.map(|package| component(package, checksums)).collect();
    components.sort_by_key(|component| text(component, "purl").to_owned());
    let mut dependencies = Vec::new();
    for node in list(metadata.get("resolve")?, "nodes") {
        let Some(package) = packages.get(text(node, "id")) else { continue };
        let needed = list(node, "deps").filter(|dependency| is_linked(dependency));
        let needed = needed.filter_map(|dependency| packages.get(text(dependency, "pkg")));
        let needed: BTreeSet<String> = needed.map(|package| purl(package)).collect();
        dependencies.push(json!({ "ref": purl(package), "dependsOn": needed }));
    }
    dependencies.sort_by_key(|dependency| text(dependency, "ref").to_owned());
    Some(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": main_component },
        "components": components,
        "dependencies": dependencies,
    }))
}

/// Whether a dependency is needed outside of tests and build scripts.
fn is_linked(dependency: &Value) -> bool {
    list(dependency, "dep_kinds").any(|kind| kind.get("kind").is_none_or(Value::is_null))
}

fn purl(package: &Value) -> String {
    format!("pkg:cargo/{}@{}", text(package, "name"), text(package, "version"))
}

fn component(package: &Value, checksums: &BTreeMap<Crate, String>) -> Value {
    let (name, version) = (text(package, "name"), text(package, "version"));
    let mut component = json!({
        "type": "library",
        "bom-ref": purl(package),
        "name": name,
        "version": version,
        "purl": purl(package),
    });
    let Some(fields) = component.as_object_mut() else { return component };
    // Older crates use a slash instead of the SPDX operator `OR`.
    let licence = text(package, "license").replace(" / ", " OR ").replace('/', " OR ");
    if !licence.is_empty() {
        fields.insert("licenses".to_owned(), json!([{ "expression": licence }]));
    }
    if let Some(checksum) = checksums.get(&(name.to_owned(), version.to_owned())) {
        fields.insert("hashes".to_owned(), json!([{ "alg": "SHA-256", "content": checksum }]));
    }
    component
}

#[cfg(test)]
mod tests {
    use super::{parse_checksums, parse_tree, render_sbom};
    use serde_json::{Value, json};

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"linked\"\nversion = \"2.0.0\"\nchecksum = \"ab12\"\ndependencies = [\n \"deep\",\n]\n";

    fn metadata() -> Value {
        let package = |id: &str, name: &str, version: &str, licence: &str| json!({ "id": id, "name": name, "version": version, "license": licence });
        let dep = |id: &str, kinds: Value| json!({ "pkg": id, "dep_kinds": kinds });
        let (normal, dev) = (json!([{ "kind": null }]), json!([{ "kind": "dev" }]));
        json!({
            "packages": [
                package("a", "app", "1.0.0", "MIT"),
                package("l", "linked", "2.0.0", "MIT/Apache-2.0"),
                package("d", "deep", "3.0.0", "ISC"),
                package("t", "tests-only", "4.0.0", "MIT"),
                package("b", "build-only", "5.0.0", "MIT"),
            ],
            "resolve": { "nodes": [
                { "id": "a", "deps": [dep("l", json!([{ "kind": "dev" }, { "kind": null }])), dep("t", dev)] },
                { "id": "l", "deps": [dep("d", normal.clone()), dep("b", json!([{ "kind": "build" }]))] },
                { "id": "d", "deps": [dep("l", normal)] },
                { "id": "t", "deps": [] },
                { "id": "b", "deps": [] },
            ] },
        })
    }

    const TREE: &str = "app v1.0.0 (path)\nlinked v2.0.0\ndeep v3.0.0 (proc-macro)\nlinked v2.0.0 (*)\n";

    #[test]
    fn sbom_contains_exactly_the_linked_crates() {
        let sbom = render_sbom("app", &parse_tree(TREE), &metadata(), &parse_checksums(LOCK)).unwrap();
        assert_eq!(sbom["metadata"]["component"]["type"], "application");
        assert_eq!(
            sbom["components"],
            json!([
                {
                    "type": "library", "bom-ref": "pkg:cargo/deep@3.0.0", "name": "deep", "version": "3.0.0",
                    "purl": "pkg:cargo/deep@3.0.0", "licenses": [{ "expression": "ISC" }],
                },
                {
                    "type": "library", "bom-ref": "pkg:cargo/linked@2.0.0", "name": "linked", "version": "2.0.0",
                    "purl": "pkg:cargo/linked@2.0.0", "licenses": [{ "expression": "MIT OR Apache-2.0" }],
                    "hashes": [{ "alg": "SHA-256", "content": "ab12" }],
                },
            ])
        );
        assert_eq!(
            sbom["dependencies"][0],
            json!({ "ref": "pkg:cargo/app@1.0.0", "dependsOn": ["pkg:cargo/linked@2.0.0"] })
        );
    }

    #[test]
    fn unknown_program_has_no_sbom() {
        assert!(render_sbom("other", &parse_tree(TREE), &metadata(), &parse_checksums("")).is_none());
    }
}
