//! Routes. One cannot be registered without a permission: every method of [`Routes`] asks for it, and from that one
//! entry come the authentication in front of the handler, its place in OpenAPI, and the table that a test prints.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use pipelines::audience::Sees;

use super::auth::{self, Guard, Permission};
use super::page::Page;
use super::reply::Written;
use crate::app::Shared;
use crate::error::ApiError;

/// Schemas by name, as `utoipa` collects them.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// A list of routes under construction.
#[derive(Default)]
pub struct Routes(Vec<Route>);

/// One route.
pub struct Route {
    /// Method.
    pub method: Method,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// What the caller must be allowed to do.
    pub permission: Permission,
    /// What OpenAPI says of it.
    pub doc: Doc,
    handler: MethodRouter<Shared>,
}

/// What OpenAPI says of a route.
#[derive(Default)]
pub struct Doc {
    /// Group.
    pub tag: &'static str,
    /// One line.
    pub summary: &'static str,
    /// More, in Markdown.
    pub description: &'static str,
    /// Query parameters.
    pub query: Vec<Parameter>,
    /// Schema of the body.
    pub body: Option<RefOr<Schema>>,
    /// Schema of the answer; none: the answer is not JSON or has no fixed form.
    pub answer: Option<RefOr<Schema>>,
    /// Schemas that the two refer to.
    pub schemas: Schemas,
    /// Media type of an answer that is not JSON.
    pub media: Option<&'static str>,
    /// Takes `?after=` and waits for the token.
    pub reads: bool,
    /// What `?after=` waits for beside the rows.
    pub behind: Option<Behind>,
    /// Answers a token and takes `Idempotency-Key`.
    pub writes: bool,
    /// What the audit chain hears of it.
    pub entry: Entry,
}

/// What the audit chain hears of a request that was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Entry {
    /// Nobody has said. Right for reads; a test refuses it for everything else.
    #[default]
    Unsaid,
    /// Nothing: it is a question, only posted.
    Nothing,
    /// The handler, or the registry within its transaction, enters what was done.
    Own,
    /// An entry is made once it is done.
    Made {
        /// The kind of thing, e.g. `source`.
        kind: &'static str,
        /// What was done to it, e.g. `rotate`.
        action: &'static str,
    },
}

/// What stands behind the rows and is waited for as well.
#[derive(Debug, Clone, Copy)]
pub enum Behind {
    /// The audience, until it sees so much of the write.
    Audience(Sees),
    /// The search index.
    Search,
    /// What the dictionary counts.
    Dictionary,
}

/// Starts an empty list.
pub fn routes() -> Routes {
    Routes::default()
}

/// Starts the description of a route.
pub fn doc(tag: &'static str, summary: &'static str) -> Doc {
    Doc {
        tag,
        summary,
        ..Doc::default()
    }
}

impl Doc {
    /// More words, in Markdown.
    #[must_use]
    pub fn more(mut self, description: &'static str) -> Doc {
        self.description = description;
        self
    }

    /// Its query parameters.
    #[must_use]
    pub fn query<Q: IntoParams>(mut self) -> Doc {
        self.query
            .extend(Q::into_params(|| Some(ParameterIn::Query)));
        self
    }

    /// Its body.
    #[must_use]
    pub fn body<B: ToSchema>(mut self) -> Doc {
        self.body = Some(schema::<B>(&mut self.schemas));
        self
    }

    /// Its answer.
    #[must_use]
    pub fn answers<A: ToSchema>(mut self) -> Doc {
        self.answer = Some(schema::<A>(&mut self.schemas));
        self
    }

    /// Its answer is a page of these.
    #[must_use]
    pub fn lists<T: ToSchema>(self) -> Doc
    where
        Page<T>: ToSchema,
    {
        self.answers::<Page<T>>().with::<T>()
    }

    /// Its answer is that of a write, with this in it.
    #[must_use]
    pub fn written<T: ToSchema>(self) -> Doc
    where
        Written<T>: ToSchema,
    {
        self.answers::<Written<T>>().with::<T>()
    }

    /// It refers to this schema, which generic ones do not name by themselves.
    #[must_use]
    pub fn with<S: ToSchema>(mut self) -> Doc {
        schema::<S>(&mut self.schemas);
        self
    }

    /// Its answer is of this media type.
    #[must_use]
    pub fn media(mut self, media: &'static str) -> Doc {
        self.media = Some(media);
        self
    }

    /// It reads state: takes `?after=`.
    #[must_use]
    pub fn reads(mut self) -> Doc {
        self.reads = true;
        self
    }

    /// It reads what the audience knows: `?after=` waits for that too.
    #[must_use]
    pub fn sees(mut self, sees: Sees) -> Doc {
        self.reads = true;
        self.behind = Some(Behind::Audience(sees));
        self
    }

    /// It reads the search index: `?after=` waits for that too.
    #[must_use]
    pub fn searches(mut self) -> Doc {
        self.reads = true;
        self.behind = Some(Behind::Search);
        self
    }

    /// It reads what the dictionary counts: `?after=` waits for that too.
    #[must_use]
    pub fn counts(mut self) -> Doc {
        self.reads = true;
        self.behind = Some(Behind::Dictionary);
        self
    }

    /// Once done, the audit chain has an entry: `action` was done to the `kind` of thing that the path names, or that the
    /// answer names ([`super::Written::about`]).
    #[must_use]
    pub fn enters(mut self, kind: &'static str, action: &'static str) -> Doc {
        self.entry = Entry::Made { kind, action };
        self
    }

    /// Its handler sees to the entry in the audit chain.
    #[must_use]
    pub fn enters_itself(mut self) -> Doc {
        self.entry = Entry::Own;
        self
    }

    /// It is a question: the audit chain hears nothing.
    #[must_use]
    pub fn changes_nothing(mut self) -> Doc {
        self.entry = Entry::Nothing;
        self
    }

    /// It writes: answers a token, takes `Idempotency-Key`.
    #[must_use]
    pub fn writes(mut self) -> Doc {
        self.writes = true;
        self
    }
}

async fn wrong_method() -> ApiError {
    ApiError::new("method_not_allowed", "this path does not take that method")
}

/// A reference to the schema of `T`, with all that it needs collected.
fn schema<T: ToSchema>(schemas: &mut Schemas) -> RefOr<Schema> {
    let name = T::name();
    schemas.push((name.to_string(), <T as PartialSchema>::schema()));
    T::schemas(schemas);
    RefOr::Ref(utoipa::openapi::Ref::from_schema_name(name))
}

macro_rules! method {
    ($(#[$about:meta])* $name:ident, $method:ident) => {
        $(#[$about])*
        #[must_use]
        pub fn $name<H, T>(
            mut self,
            path: &'static str,
            permission: Permission,
            handler: H,
            doc: Doc,
        ) -> Routes
        where
            H: Handler<T, Shared>,
            T: 'static,
        {
            self.0.push(Route {
                method: Method::$method,
                path,
                permission,
                doc,
                handler: on(MethodFilter::$method, handler),
            });
            self
        }
    };
}

impl Routes {
    method!(
        /// A read.
        get,
        GET
    );
    method!(
        /// A write.
        post,
        POST
    );
    method!(
        /// A replacement.
        put,
        PUT
    );
    method!(
        /// A change of some fields.
        patch,
        PATCH
    );
    method!(
        /// A removal.
        delete,
        DELETE
    );

    /// Both lists.
    #[must_use]
    pub fn and(mut self, other: Routes) -> Routes {
        self.0.extend(other.0);
        self
    }

    /// All routes.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// The route table as text: permission, method, path.
    pub fn table(&self) -> String {
        let mut lines: Vec<String> = self
            .iter()
            .map(|route| {
                format!(
                    "{:<22} {:<6} {}\n",
                    route.permission.as_str(),
                    route.method.as_str(),
                    route.path
                )
            })
            .collect();
        lines.sort();
        lines.concat()
    }

    /// The router, each handler behind the check of its permission. Routes that browsers of other origins may call
    /// ([`Permission::EventsSend`]) answer preflight requests.
    pub fn router(self, shared: &Shared) -> Router<Shared> {
        let mut own = Router::new();
        let mut foreign = Router::new();
        for route in self.0 {
            let guard = Guard {
                shared: shared.clone(),
                permission: route.permission,
                reads: route.doc.reads,
                behind: route.doc.behind,
                entry: route.doc.entry,
            };
            let handler = route
                .handler
                .route_layer(from_fn_with_state(guard, auth::check));
            if route.permission == Permission::EventsSend {
                foreign = foreign.route(route.path, handler);
            } else {
                own = own.route(route.path, handler);
            }
        }
        // Set before the layer, which must stand around it: a preflight is a method that no route takes.
        let own = own.method_not_allowed_fallback(wrong_method);
        let foreign = foreign.method_not_allowed_fallback(wrong_method);
        own.merge(foreign.layer(auth::any_origin()))
    }
}

#[cfg(test)]
mod tests;
