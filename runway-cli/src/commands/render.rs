//! `runway render`: prints the Kubernetes objects for jobs.

use crate::arguments::{FileArgs, TextOrJson};
use crate::document::{Evaluated, evaluate, read_sources};
use crate::error::CliError;
use crate::output::OutputError;
use crate::{Exit, output, policy};
use runway_api::Manifest;
use runway_core::JobId;
use runway_core::render::object_name;
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::BTreeSet;

pub(super) fn run(FileArgs { files, common, backend }: &FileArgs, id: JobId) -> Result<Exit, CliError> {
    let policy = policy::load(common.policy.file.as_deref())?;
    let (sources, read_exit) = read_sources(files)?;
    let evaluated = evaluate(&sources, &policy, common, *backend)?;
    let mut objects: Vec<Json> = Vec::new();
    let mut object_names = BTreeSet::new();
    for document in &evaluated {
        match document.decision.admitted() {
            Some(admitted) => {
                let name = object_name(&admitted.job().name, id);
                if !object_names
                    .insert((policy.policy.run_settings().namespace_of(&admitted.job().tenant), name.clone()))
                {
                    return Err(CliError::RepeatedObject { name });
                }
                output::eprint(&document.unchecked_features(&policy))?;
                objects.extend(Manifest::redacted(admitted, id, &policy.policy).items);
            }
            None => output::eprint(&document.render_text(&policy, common))?,
        }
    }
    print_objects(&objects, common.output.format)?;
    Ok(evaluated.iter().map(Evaluated::exit).fold(read_exit, Exit::or_worse))
}

/// Prints Kubernetes objects as YAML documents, or as a `List` in JSON.
pub(super) fn print_objects(objects: &[Json], format: TextOrJson) -> Result<(), OutputError> {
    match format {
        TextOrJson::Json => output::print_json(&Manifest::new(objects.to_vec())),
        TextOrJson::Text => {
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
