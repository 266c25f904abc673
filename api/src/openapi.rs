//! OpenAPI, made from the route table: a route cannot be missing in it.

mod names;

use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, Paths,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, Object, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Content, HeaderBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required,
    ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use self::names::Names;
use crate::error::ErrorBody;
use crate::http::{Permission, Route, Routes};

/// Topics in the order in which somebody who begins needs them; others follow, by name.
const TOPICS: &[&str] = &[
    "Sources",
    "Events in",
    "Imports",
    "Members",
    "Figures",
    "Segments",
    "Tags",
    "Lists",
    "Definitions",
    "Dictionary",
    "Dead letters",
];

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
    let names = Names::of(routes);
    let mut topics: Vec<&str> = TOPICS.to_vec();
    let mut others: Vec<&str> = routes.iter().map(|route| route.doc.tag).collect();
    others.sort_unstable();
    for other in others {
        if !topics.contains(&other) {
            topics.push(other);
        }
    }
    for route in routes.iter() {
        let operation = operation(route, &names);
        paths.add_path_operation(route.path, vec![method(route)], operation);
    }
    for (name, schema) in inner.into_iter().chain(names.schemas) {
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
        .tags(Some(
            topics
                .into_iter()
                .map(|topic| TagBuilder::new().name(topic).build()),
        ))
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

fn operation(route: &Route, names: &Names) -> OperationBuilder {
    let doc = &route.doc;
    let named = |schema| names.resolved(&doc.schemas, schema);
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
            .content("application/json", content(named(body)));
        operation = operation.request_body(Some(body.build()));
    }
    match route.permission {
        Permission::Public => {}
        Permission::EventsSend => operation = operation.securities(Some(security("write_key"))),
        _ => operation = operation.securities(Some(security("api_key"))),
    }
    let mut good = ResponseBuilder::new().description("done");
    if let Some(answer) = &doc.answer {
        good = good.content("application/json", content(named(answer)));
    } else if let Some(media) = doc.media {
        let schema = match media {
            // Of no fixed form.
            "application/json" => RefOr::T(Schema::default()),
            _ => text_schema(),
        };
        good = good.content(media, content(schema));
    }
    if doc.writes {
        let header = HeaderBuilder::new().schema(Some(text_schema())).build();
        good = good.header("Tributary-Token", header);
    }
    let refusal = Ref::from_schema_name(ErrorBody::name());
    let bad = ResponseBuilder::new()
        .description("refused")
        .content("application/json", content(RefOr::Ref(refusal)));
    let good = good.build();
    // What makes something answers 201.
    let makes = route.method == axum::http::Method::POST
        && matches!(&doc.answer, Some(RefOr::Ref(answer)) if answer.ref_location.ends_with("/Written"));
    if makes {
        operation = operation.response("201", good.clone());
    }
    operation
        .response("200", good)
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
