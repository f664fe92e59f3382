//! `runway render`: prints the Kubernetes objects for jobs.

use crate::arguments::{Files, Format};
use crate::document::{Judged, judge, read_all};
use crate::failure::Failure;
use crate::output::OutputError;
use crate::{Exit, output, policy};
use runway_api::Manifest;
use runway_core::JobId;
use runway_core::render::object_name;
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::BTreeSet;

pub(super) fn run(Files { files, common, backend }: &Files, id: JobId) -> Result<Exit, Failure> {
    let policy = policy::load(common.policy.file.as_deref())?;
    let (sources, read) = read_all(files)?;
    let judged = judge(&sources, &policy, common, *backend)?;
    let mut objects: Vec<Json> = Vec::new();
    let mut places = BTreeSet::new();
    for document in &judged {
        match document.decision.admitted() {
            Some(admitted) => {
                let name = object_name(&admitted.job().name, id);
                if !places.insert((policy.policy.run().namespace_of(&admitted.job().tenant), name.clone())) {
                    return Err(Failure::RepeatedObject { name });
                }
                output::print_aside(&document.unchecked_features(&policy))?;
                objects.extend(Manifest::redacted(admitted, id, &policy.policy).items);
            }
            None => output::print_aside(&document.story(&policy, common))?,
        }
    }
    print_objects(&objects, common.output.format)?;
    Ok(judged.iter().map(Judged::exit).fold(read, Exit::and))
}

/// Prints Kubernetes objects as YAML documents, or as a `List` in JSON.
pub(super) fn print_objects(objects: &[Json], format: Format) -> Result<(), OutputError> {
    match format {
        Format::Json => output::print_json(&Manifest::new(objects.to_vec())),
        Format::Text => {
            let mut text = String::new();
            for object in objects {
                text.push_str("---\n");
                text.push_str(&output::to_yaml(object)?);
            }
            output::print(&text)
        }
    }
}

/// Encodes an object as JSON.
pub(super) fn to_json(object: &impl Serialize) -> Result<Json, OutputError> {
    serde_json::to_value(object).map_err(OutputError::Json)
}
