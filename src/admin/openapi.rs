//! What the API says of itself at `/api/v1/openapi.json`: OpenAPI 3.1, made from the operations.

use std::collections::BTreeMap;
use std::fmt;

use axum::http::{Method, header};
use utoipa::openapi::path::{Operation as PathOperation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Content, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required, ResponseBuilder,
};
use utoipa::{PartialSchema as _, ToSchema};

use super::error::Refusal;
use super::operation::{LINES, Listed, Operation, Scope};
use crate::account::Role;

/// Name of the one way to prove who one is.
const TOKEN: &str = "token";

/// What a handler takes and gives.
#[derive(Default)]
pub(super) struct Description {
    /// Of the path and the query.
    pub(super) parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    /// By media type.
    answer: BTreeMap<String, Content>,
    /// Of everything that is named.
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Description").finish_non_exhaustive()
    }
}

impl Description {
    /// Names that may stand in the query.
    pub(super) fn query_names(&self) -> impl Iterator<Item = &str> {
        let in_query = self.parameters.iter().filter(|parameter| parameter.parameter_in == ParameterIn::Query);
        in_query.map(|parameter| parameter.name.as_str())
    }

    pub(super) fn path<T: utoipa::PartialSchema>(&mut self, name: &str) {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
        self.parameters.push(parameter.schema(Some(T::schema())).build());
    }

    pub(super) fn body<T: ToSchema>(&mut self, is_required: bool) {
        let required = if is_required { Required::True } else { Required::False };
        let content = Content::new(Some(self.named::<T>()));
        let body = RequestBodyBuilder::new().required(Some(required)).content("application/json", content);
        self.body = Some(body.build());
    }

    pub(super) fn answer<T: ToSchema>(&mut self) {
        let content = Content::new(Some(self.named::<T>()));
        self.answer.insert("application/json".to_owned(), content);
    }

    /// OpenAPI 3.1 has no word for what a line of a stream is.
    pub(super) fn lines<T: ToSchema>(&mut self) {
        self.named::<T>();
        let text = format!("One JSON object a line, each a {}.", T::name());
        let schema = ObjectBuilder::new().schema_type(Type::String).description(Some(text));
        self.answer.insert(LINES.to_owned(), Content::new(Some(schema)));
    }

    pub(super) fn text<const N: usize>(&mut self, media_types: [&str; N]) {
        for media_type in media_types {
            let schema = ObjectBuilder::new().schema_type(Type::String);
            self.answer.insert(media_type.to_owned(), Content::new(Some(schema)));
        }
    }

    fn named<T: ToSchema>(&mut self) -> Ref {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        Ref::from_schema_name(T::name())
    }
}

/// The whole description.
pub(super) fn describe(operations: &[Operation]) -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut components = ComponentsBuilder::new().security_scheme(
        TOKEN,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("The admin token of the gateway, or an API token"))
                .build(),
        ),
    );
    let mut refusal = Description::default();
    refusal.answer::<Refusal>();
    for (name, schema) in refusal.schemas {
        components = components.schema(name, schema);
    }
    for operation in operations {
        let mut description = operation.description();
        for (name, schema) in description.schemas.drain(..) {
            components = components.schema(name, schema);
        }
        let described = describe_one(operation, description);
        let item = utoipa::openapi::PathItem::new(http_method(&operation.listed.method), described);
        paths = paths.path(operation.listed.path, item);
    }
    let info = InfoBuilder::new()
        .title("Frontdesk admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Everything that the commands and the local page do."))
        .license(Some(
            utoipa::openapi::LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
        ));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new(TOKEN, [] as [&str; 0])]))
        .build()
}

fn describe_one(operation: &Operation, description: Description) -> PathOperation {
    let Operation { listed, summary, .. } = operation;
    let refused = |why: &str| {
        let content = Content::new(Some(Ref::from_schema_name(Refusal::name())));
        ResponseBuilder::new().description(why).content("application/json", content)
    };
    let header = utoipa::openapi::HeaderBuilder::new().schema(Some(String::schema())).build();
    let answer = description.answer.into_iter();
    let answer = answer.fold(ResponseBuilder::new().description("Done."), |answer, (media_type, content)| {
        answer.content(media_type, content)
    });
    let role = match listed.rule.role {
        Role::Support => "support",
        Role::Admin => "admin",
    };
    let scope = match listed.rule.scope {
        Scope::Tenants => "tenants",
        Scope::Gateway => "gateway",
    };
    let built = OperationBuilder::new()
        .operation_id(Some(operation_id(listed)))
        .tag(listed.path.trim_start_matches("/api/v1/").split('/').next().unwrap_or_default())
        .summary(Some(*summary))
        .request_body(description.body)
        .response("200", answer)
        .response(
            "401",
            refused("There is no token, or none that is known.").header(header::WWW_AUTHENTICATE.as_str(), header),
        )
        .response("403", refused("The token is not for this."))
        .response(
            "default",
            refused(
                "400: the request is wrong. 404: there is no such thing. 409: as things are it cannot be done. \
                 413: the body is too long. 422: what was sent cannot be used. 429: asked too often. \
                 503: not now, try again.",
            ),
        )
        .extensions(Some([("x-role", role), ("x-scope", scope)].into_iter().collect()));
    description.parameters.into_iter().fold(built, OperationBuilder::parameter).build()
}

/// `get_sessions_show`.
fn operation_id(listed: &Listed) -> String {
    let path = listed.path.trim_start_matches("/api/v1/").replace(['{', '}'], "").replace('/', "_");
    format!("{}_{path}", listed.method.as_str().to_lowercase())
}

fn http_method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_one_schema() {
        let operations = super::super::operations();
        let mut by_name: BTreeMap<String, String> = BTreeMap::new();
        for (name, schema) in operations.iter().flat_map(|operation| operation.description().schemas) {
            let schema = serde_json::to_string(&schema).unwrap();
            assert_eq!(*by_name.entry(name.clone()).or_insert_with(|| schema.clone()), schema, "{name}");
        }
        assert!(by_name.len() > 20, "only {} were found", by_name.len());
    }

    #[test]
    fn what_a_path_leaves_open_is_described() {
        for operation in super::super::operations() {
            let (listed, description) = (&operation.listed, operation.description());
            let is_in_path = |parameter: &&Parameter| parameter.parameter_in == ParameterIn::Path;
            let described = description.parameters.iter().filter(is_in_path).map(|one| format!("{{{}}}", one.name));
            let open = listed.path.split('/').filter(|part| part.starts_with('{')).map(str::to_owned);
            assert_eq!(described.collect::<Vec<_>>(), open.collect::<Vec<_>>(), "{}", listed.path);
        }
    }
}
