//! The API reference page.

use super::inline_code;
use maud::{Markup, html};
use serde_json::Value;

/// The job in the examples.
const EXAMPLE_JOB: &str =
    r#"{"name": "hello", "tenant": "search", "image": "busybox", "command": ["echo", "hello"]}"#;

/// Renders the API reference page from the OpenAPI document.
pub(crate) fn reference(document: &Value) -> Markup {
    let operations = operations(document);
    let content = html! {
        main .description {
            h1 { "Runway API " span .dim { (str_at(document, "/info/version")) } }
            p { (inline_code(str_at(document, "/info/description"))) }
            p { "OpenAPI document: " a href="openapi.json" { code { "/openapi.json" } } }
            h2 { "Routes" }
            p {
                "The examples expect the address of this server in the variable " code { "RUNWAY_SERVER" }
                ". Replace the tenant and the job id. If the server requires client certificates, add the options "
                code { "--cert" } ", " code { "--key" } " and " code { "--cacert" } "."
            }
            @for (path, method, operation) in &operations { (operation_details(path, method, operation)) }
            h2 { "Schemas" }
            @for (name, schema) in fields_at(document, "/components/schemas") {
                details #(name) {
                    summary { code { (name) } " " span .dim { (inline_code(str_at(schema, "/description"))) } }
                    pre { (pretty(schema)) }
                }
            }
        }
    };
    super::page("Runway API", None, &content)
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = fields_at(document, "/paths");
    paths
        .flat_map(|(path, methods)| {
            methods
                .as_object()
                .into_iter()
                .flatten()
                .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

fn operation_details(path: &str, method: &str, operation: &Value) -> Markup {
    html! {
        details {
            summary { code { (method.to_uppercase()) " " (path) } " " span .dim { (str_at(operation, "/summary")) } }
            p { (inline_code(str_at(operation, "/description"))) }
            pre { (curl_example(path, method, operation)) }
            @if let Some(parameters) = operation.pointer("/parameters").and_then(Value::as_array) {
                h3 { "Parameters" }
                table {
                    thead { tr { th scope="col" { "Name" } th scope="col" { "In" } th scope="col" { "Description" } } }
                    tbody {
                        @for parameter in parameters {
                            tr {
                                td { code { (str_at(parameter, "/name")) } }
                                td { (str_at(parameter, "/in")) }
                                td { (inline_code(str_at(parameter, "/description"))) }
                            }
                        }
                    }
                }
            }
            @if let Some(content) = operation.pointer("/requestBody/content").and_then(Value::as_object) {
                h3 { "Body" }
                ul { @for (media, body) in content { li { code { (media) } ": " (schema_link(body)) } } }
            }
            h3 { "Responses" }
            table {
                thead { tr { th scope="col" { "Status" } th scope="col" { "Description" } th scope="col" { "Body" } } }
                tbody {
                    @for (status, response) in fields_at(operation, "/responses") {
                        tr {
                            td { code { (status) } }
                            td { (inline_code(str_at(response, "/description"))) }
                            td {
                                @for (_, body) in fields_at(response, "/content").take(1) {
                                    (schema_link(body))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns a `curl` command that calls the operation.
fn curl_example(path: &str, method: &str, operation: &Value) -> String {
    let path = path.replace("{id}", "4d5c9fa91db4").replace("{tenant}", "search");
    let command = format!("curl \"$RUNWAY_SERVER{path}\"");
    if operation.get("requestBody").is_some() {
        // `curl` sends a body with the method POST.
        format!("{command} \\\n  -H 'Content-Type: application/json' \\\n  -d '{EXAMPLE_JOB}'")
    } else if method == "get" {
        command
    } else {
        format!("{command} -X {}", method.to_uppercase())
    }
}

/// Renders a link to the schema of a body. If the schema has no name, renders its type.
fn schema_link(body: &Value) -> Markup {
    let name = body.pointer("/schema/$ref").and_then(Value::as_str).and_then(|to| to.rsplit('/').next());
    html! {
        @match name {
            Some(name) => { a href={ "#" (name) } { code { (name) } } }
            None => { (str_at(body, "/schema/type")) }
        }
    }
}

/// Returns the string at a JSON pointer, or an empty string.
fn str_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Iterates over the fields of the object at a JSON pointer.
fn fields_at<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flatten()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
