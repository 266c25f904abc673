//! OpenAPI, made from the route table: a route cannot be missing in it.

use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, Paths,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, Object, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Content, HeaderBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required,
    ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use crate::error::ErrorBody;
use crate::http::{Permission, Route, Routes};

/// The document of these routes.
pub fn document(routes: &Routes) -> OpenApi {
    let mut paths = Paths::new();
    let mut components = ComponentsBuilder::new()
        .schema(ErrorBody::name(), ErrorBody::schema())
        .security_scheme(
            "api_key",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        )
        .security_scheme(
            "write_key",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)),
        );
    let mut inner = Vec::new();
    ErrorBody::schemas(&mut inner);
    for route in routes.iter() {
        inner.extend(route.doc.schemas.iter().cloned());
        paths.add_path_operation(route.path, vec![method(route)], operation(route));
    }
    for (name, schema) in inner {
        components = components.schema(name, schema);
    }
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Tributary")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Streams in, one member out. Lists answer `{items, next_cursor}`; writes answer the header \
                     `Tributary-Token`, which reads take as `?after=`; errors are `{error: {code, message, hint, field}}`.",
                ))
                .build(),
        )
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

fn method(route: &Route) -> HttpMethod {
    match route.method.as_str() {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(route: &Route) -> OperationBuilder {
    let doc = &route.doc;
    let mut operation = OperationBuilder::new()
        .tag(doc.tag)
        .summary(Some(doc.summary))
        .description(Some(describe(route)))
        .operation_id(Some(operation_id(route)));
    for name in path_parameters(route.path) {
        operation = operation.parameter(text_parameter(name, ParameterIn::Path, Required::True));
    }
    for parameter in &doc.query {
        operation = operation.parameter(parameter.clone());
    }
    if doc.reads {
        operation =
            operation.parameter(text_parameter("after", ParameterIn::Query, Required::False));
    }
    if doc.writes {
        let name = "Idempotency-Key";
        operation = operation.parameter(text_parameter(name, ParameterIn::Header, Required::False));
    }
    if let Some(body) = &doc.body {
        let body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content("application/json", content(body.clone()));
        operation = operation.request_body(Some(body.build()));
    }
    match route.permission {
        Permission::Public => {}
        Permission::EventsSend => operation = operation.securities(Some(security("write_key"))),
        _ => operation = operation.securities(Some(security("api_key"))),
    }
    let mut good = ResponseBuilder::new().description("done");
    if let Some(answer) = &doc.answer {
        good = good.content("application/json", content(answer.clone()));
    } else if let Some(media) = doc.media {
        good = good.content(media, content(text_schema()));
    }
    if doc.writes {
        let header = HeaderBuilder::new().schema(Some(text_schema())).build();
        good = good.header("Tributary-Token", header);
    }
    let refusal = Ref::from_schema_name(ErrorBody::name());
    let bad = ResponseBuilder::new()
        .description("refused")
        .content("application/json", content(RefOr::Ref(refusal)));
    operation
        .response("200", good.build())
        .response("default", bad.build())
}

fn describe(route: &Route) -> String {
    let needs = match route.permission {
        Permission::Public => "Needs no key.".to_owned(),
        Permission::EventsSend => "Needs a write key of a source.".to_owned(),
        permission => format!("Needs an API key with `{}`.", permission.as_str()),
    };
    match route.doc.description {
        "" => needs,
        more => format!("{more}\n\n{needs}"),
    }
}

/// `GET /api/v1/members/{id}` is `get_members_id`: stable and unique as long as the paths are.
fn operation_id(route: &Route) -> String {
    let path = route.path.trim_start_matches("/api/v1");
    let words = path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let method = route.method.as_str().to_ascii_lowercase();
    let folder = (path.ends_with('/')).then_some("index");
    std::iter::once(method.as_str())
        .chain(words)
        .chain(folder)
        .collect::<Vec<_>>()
        .join("_")
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(name.trim_start_matches('*'))
    })
}

fn text_parameter(name: &str, place: ParameterIn, required: Required) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(text_schema()))
        .build()
}

fn text_schema() -> RefOr<Schema> {
    RefOr::T(Schema::Object(Object::with_type(SchemaType::Type(
        Type::String,
    ))))
}

fn content(schema: RefOr<Schema>) -> Content {
    Content::new(Some(schema))
}

fn security(name: &str) -> [SecurityRequirement; 1] {
    [SecurityRequirement::new(name, Vec::<String>::new())]
}
