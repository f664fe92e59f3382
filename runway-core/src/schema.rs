//! JSON Schemas (draft 2020-12) of job and policy files, for editors.
//!
//! A schema describes the structure and the names. Only the [`gate`](crate::gate) decides whether a job is
//! admitted.

use crate::policy::Policy;
use serde_json::Value as Json;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Returns the schema of a job file. It lists the classes and GPU types of the policy, and all networks.
#[must_use]
pub fn job(policy: &Policy) -> Json {
    titled("A Runway job", crate::spec::schema(policy))
}

/// Returns the schema of a policy file.
#[must_use]
pub fn policy() -> Json {
    titled("A Runway policy", crate::policy::schema())
}

fn titled(title: &str, mut schema: Json) -> Json {
    if let Json::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), DRAFT.into());
        schema.insert("title".to_owned(), title.into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{FIELDS, RESOURCE_FIELDS};

    #[test]
    fn schemas_list_all_parsed_fields() {
        let names = |schema: &Json| {
            let mut names: Vec<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
            names.sort();
            names
        };
        let sorted = |names: &[&str]| {
            let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
            names.sort();
            names
        };
        let default = Policy::builtin();
        assert_eq!(names(&job(&default)), sorted(FIELDS));
        assert_eq!(names(&job(&default)["properties"]["resources"]), sorted(RESOURCE_FIELDS));
        assert_eq!(names(&policy()), sorted(crate::policy::FIELDS));
    }
}
