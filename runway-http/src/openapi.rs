//! The OpenAPI document: the descriptions of the routes, and the parts that all routes have in common.

use runway_core::Policy;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

const API_DESCRIPTION: &str = "Runway accepts batch jobs, checks and prices them against a policy, enforces rate limits and quotas per tenant, \
runs the jobs, and reports their status.

Errors are problem details (RFC 9457). Every response has the header `X-Request-ID`. Its value is also the `instance` of a problem, \
and appears in the log of the server. A client can send its own value. The server continues a `traceparent` (W3C Trace Context).";

/// Error responses that [`describe_errors`] adds to every operation. To the probes, it adds all but the 503.
const COMMON_RESPONSES: &[(&str, &str)] = &[
    ("400", "The request is malformed"),
    ("403", "The client certificate does not permit this request, or a web page of another site sent it"),
    ("421", "The request names a host that is not this server"),
    ("500", "Internal server error"),
    ("503", "The server or its backend is unavailable or overloaded; retry after `Retry-After` seconds"),
];

/// Headers that every response can have, each with the name of its component.
const COMMON_HEADERS: &[(&str, &str)] = &[
    ("X-Request-ID", "RequestId"),
    ("traceparent", "Traceparent"),
    ("X-Content-Type-Options", "ContentTypeOptions"),
    ("Cache-Control", "CacheControl"),
    ("Connection", "Connection"),
];

/// Statuses of a submission that have the rate limit headers of a created job.
const RATE_LIMITED_STATUSES: &[&str] = &["200", "400", "408", "409", "413", "415", "422", "429", "503"];

/// Builds the OpenAPI document from the descriptions of the routes.
pub(crate) fn build_document(description: &OpenApi) -> Value {
    let mut document = serde_json::to_value(description).unwrap_or_default();
    let info = json!({
        "title": "Runway",
        "version": env!("CARGO_PKG_VERSION"),
        "description": API_DESCRIPTION,
        "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
    });
    set_at(&mut document, "/info", info);
    let job = job_spec();
    let schemas = parameter_schemas(&job);
    set_at(&mut document, "/components/schemas/JobSpec", job);
    set_at(&mut document, "/components/headers", header_components());
    if let Some(paths) = document.pointer_mut("/paths").and_then(Value::as_object_mut) {
        for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
            describe_errors(operation);
            describe_headers(operation);
            describe_parameters(operation, &schemas);
        }
    }
    for status in ["200", "201"] {
        set_at(&mut document, &format!("/paths/~1v1~1jobs/post/responses/{status}/links"), job_links());
    }
    document
}

/// Links from a submitted job to the operations on it.
fn job_links() -> Value {
    let link =
        |operation: &str| json!({"operationId": operation, "parameters": {"id": "$response.body#/id"}});
    json!({"read": link("readJob"), "cancel": link("cancelJob"), "logs": link("readLogs")})
}

/// Returns the schemas that replace the generated schemas of string parameters, by parameter name.
fn parameter_schemas(job: &Value) -> Map<String, Value> {
    let tenant = |field| job.pointer(&format!("/properties/tenant/{field}")).cloned().unwrap_or_default();
    let tenant = json!({"type": "string", "minLength": 1, "maxLength": tenant("maxLength"), "pattern": tenant("pattern")});
    let schemas = [
        ("X-Tenant-ID", tenant.clone()),
        ("tenant", tenant),
        (
            "Idempotency-Key",
            json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}),
        ),
        ("If-None-Match", json!({"type": "string"})),
        ("continue", json!({"type": "string", "pattern": "^[0-9a-f]{1,16}-[a-z0-9]{12}$"})),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn describe_parameters(operation: &mut Value, schemas: &Map<String, Value>) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let name = parameter.get("name").and_then(Value::as_str);
        if let Some(schema) = name.and_then(|name| schemas.get(name)).cloned() {
            set_at(parameter, "/schema", schema);
        }
    }
}

/// Adds the common error responses to an operation. Sets the body of each error response to `Problem`.
fn describe_errors(operation: &mut Value) {
    let is_probe = operation.pointer("/tags/0").is_some_and(|tag| tag == "probes");
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, description) in COMMON_RESPONSES.iter().filter(|(status, _)| !is_probe || *status != "503") {
        responses.entry(*status).or_insert_with(|| json!({"description": description}));
    }
    for (status, response) in responses {
        if status.starts_with(['4', '5']) {
            let problem =
                json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
            set_at(response, "/content", problem);
        }
    }
}

/// Returns the descriptions of the headers that several operations share.
fn header_components() -> Value {
    let header =
        |description: &str, schema: &str| json!({"description": description, "schema": {"type": schema}});
    json!({
        "Accept": header("The media types of a job", "string"),
        "AcceptEncoding": header("The content codings of a job: only `identity`", "string"),
        "CacheControl": header("`no-store`, or `no-cache` for a response with a validator", "string"),
        "Connection": header("`close` if the server closes the connection after this response", "string"),
        "ContentTypeOptions": header("`nosniff`", "string"),
        "RequestId": header("Id of the request, as in the log of the server", "string"),
        "RetryAfter": header("Seconds to wait before a retry", "integer"),
        "Traceparent": header("Trace and span of the request (W3C Trace Context)", "string"),
    })
}

/// Lists the headers of all responses of an operation.
fn describe_headers(operation: &mut Value) {
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    let created = responses.get("201").and_then(|created| created.get("headers")).and_then(Value::as_object);
    let created = created.cloned().unwrap_or_default();
    for (status, response) in responses {
        let status = status.as_str();
        let specific: &[(&str, &str)] = match status {
            "409" | "429" | "503" => &[("Retry-After", "RetryAfter")],
            "415" => &[("Accept", "Accept"), ("Accept-Encoding", "AcceptEncoding")],
            _ => &[],
        };
        let references = COMMON_HEADERS.iter().chain(specific).map(|(name, component)| {
            ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{component}")}))
        });
        // A replayed submission names the job as well, and each submission of a tenant names its rate limit.
        let submission = created.clone().into_iter().filter(|(name, _)| {
            RATE_LIMITED_STATUSES.contains(&status) && (status == "200" || name != "Location")
        });
        let Some(response) = response.as_object_mut() else { continue };
        let headers = response.entry("headers").or_insert_with(|| json!({}));
        for (name, header) in references.chain(submission) {
            set_at(headers, &format!("/{name}"), header);
        }
    }
}

/// Returns the schema of a submitted job. It is the schema of a job file with these changes:
///
/// - The fields `name` and `image` are required, and must not be `null`.
/// - Secrets contain their values.
/// - Classes and GPU types are arbitrary strings, because they depend on the active policy.
/// - The title differs, and the keywords `$schema` and `$id` are removed.
fn job_spec() -> Value {
    let mut schema = runway_core::schema::job(&Policy::builtin());
    if let Some(root) = schema.as_object_mut() {
        root.remove("$schema");
        root.remove("$id");
    }
    // The schema of a job file accepts `null` for each field, which then counts as missing. `name` and
    // `image` are required, so they must be strings. The tenant is optional, because the header can contain
    // it.
    set_at(&mut schema, "/required", json!(["name", "image"]));
    set_at(&mut schema, "/properties/name/type", "string".into());
    set_at(&mut schema, "/properties/image/type", "string".into());
    let class = json!({"type": "string", "description": "The class in the policy that bounds the job."});
    let gpu_type = json!({"type": "string", "description": "The GPU type, which must be one of the types in the policy."});
    set_at(&mut schema, "/title", "A job to submit".into());
    set_at(&mut schema, "/properties/class", class);
    set_at(&mut schema, "/properties/gpu_type", gpu_type);
    set_at(
        &mut schema,
        "/properties/secrets/description",
        "Secret variables of the process, with their values.".into(),
    );
    set_at(
        &mut schema,
        "/properties/secrets/additionalProperties",
        json!({"type": "string", "writeOnly": true}),
    );
    schema
}

/// Sets a value at a JSON pointer. Does nothing if the parent is not an existing object.
fn set_at(root: &mut Value, pointer: &str, value: Value) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    if let Some(parent) = root.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.insert(name.to_owned(), value);
    }
}
