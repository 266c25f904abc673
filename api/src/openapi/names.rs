//! Names of schemas in the document.
//!
//! A generic type is called the same whatever it holds: `Page` is a page of members at one route and a page of jobs at
//! another. Here each content gets a name of its own, `Page_MemberAnswer`; what has one content only keeps its name.

use std::collections::{BTreeMap, BTreeSet};

use utoipa::openapi::schema::{AdditionalProperties, ArrayItems};
use utoipa::openapi::{RefOr, Schema};

use crate::http::Routes;

/// Schemas of one route by the names that its types give them.
type Local = BTreeMap<String, RefOr<Schema>>;

/// All schemas of the document.
#[derive(Default)]
pub struct Names {
    /// Name in the document by the type's name and its whole content.
    names: BTreeMap<(String, String), String>,
    /// Schemas by their name in the document.
    pub schemas: BTreeMap<String, RefOr<Schema>>,
}

impl Names {
    /// Names everything that these routes refer to.
    pub fn of(routes: &Routes) -> Names {
        let mut contents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for route in routes.iter() {
            let local = local(&route.doc.schemas);
            for name in local.keys() {
                let content = content(&local, name, &mut Vec::new());
                contents.entry(name.clone()).or_default().insert(content);
            }
        }
        let mut all = Names::default();
        for route in routes.iter() {
            let local = local(&route.doc.schemas);
            for name in local.keys() {
                all.add(&local, name, &contents);
            }
        }
        all
    }

    /// A schema of a route with references to names of the document.
    pub fn resolved(
        &self,
        schemas: &[(String, RefOr<Schema>)],
        schema: &RefOr<Schema>,
    ) -> RefOr<Schema> {
        self.renamed(&local(schemas), schema)
    }

    fn add(&mut self, local: &Local, name: &str, contents: &BTreeMap<String, BTreeSet<String>>) {
        let key = (name.to_owned(), content(local, name, &mut Vec::new()));
        if self.names.contains_key(&key) {
            return;
        }
        let many = contents
            .get(name)
            .is_some_and(|contents| contents.len() > 1);
        let plain = match (many, inner(local, name)) {
            (false, _) => name.to_owned(),
            (true, None) => name.to_owned(),
            (true, Some(inner)) => {
                self.add(local, &inner, contents);
                let of = content(local, &inner, &mut Vec::new());
                let inner = self.names.get(&(inner.clone(), of)).cloned();
                format!("{name}_{}", inner.unwrap_or_default())
            }
        };
        let free = |candidate: &String| !self.names.values().any(|used| used == candidate);
        let numbered = (2..).map(|number| format!("{plain}_{number}"));
        let chosen = std::iter::once(plain.clone()).chain(numbered).find(free);
        self.names.insert(key, chosen.clone().unwrap_or(plain));
        // Names first: what it refers to may refer back.
        for inner in references(&local[name]) {
            if local.contains_key(&inner) {
                self.add(local, &inner, contents);
            }
        }
        let schema = self.renamed(local, &local[name]);
        self.schemas.insert(chosen.unwrap_or_default(), schema);
    }

    fn renamed(&self, local: &Local, schema: &RefOr<Schema>) -> RefOr<Schema> {
        let mut schema = schema.clone();
        each_reference(&mut schema, &mut |location| {
            let Some(name) = location.strip_prefix(PREFIX) else {
                return;
            };
            let key = (name.to_owned(), content(local, name, &mut Vec::new()));
            if let Some(known) = self.names.get(&key) {
                *location = format!("{PREFIX}{known}");
            }
        });
        schema
    }
}

/// Where components lie.
const PREFIX: &str = "#/components/schemas/";

fn local(schemas: &[(String, RefOr<Schema>)]) -> Local {
    schemas.iter().cloned().collect()
}

/// Names that a schema refers to, in order.
fn references(schema: &RefOr<Schema>) -> Vec<String> {
    let mut found = Vec::new();
    each_reference(&mut schema.clone(), &mut |location| {
        found.extend(location.strip_prefix(PREFIX).map(str::to_owned));
    });
    found
}

/// What a generic type holds: the first thing that it refers to.
fn inner(local: &Local, name: &str) -> Option<String> {
    references(&local[name])
        .into_iter()
        .find(|inner| inner != name && local.contains_key(inner))
}

/// The whole content of a schema, that of what it refers to included; what contains itself is named only.
fn content(local: &Local, name: &str, within: &mut Vec<String>) -> String {
    let Some(schema) = local
        .get(name)
        .filter(|_| !within.iter().any(|it| it == name))
    else {
        return name.to_owned();
    };
    let mut text = serde_json::to_string(schema).expect("a schema is plain JSON");
    within.push(name.to_owned());
    for inner in references(schema) {
        text.push('|');
        text.push_str(&content(local, &inner, within));
    }
    within.pop();
    text
}

fn each_reference(schema: &mut RefOr<Schema>, call: &mut impl FnMut(&mut String)) {
    match schema {
        RefOr::Ref(reference) => call(&mut reference.ref_location),
        RefOr::T(schema) => each_inside(schema, call),
    }
}

fn each_inside(schema: &mut Schema, call: &mut impl FnMut(&mut String)) {
    match schema {
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                each_reference(items, call);
            }
            for item in &mut array.prefix_items {
                each_inside(item, call);
            }
        }
        Schema::Object(object) => {
            for property in object.properties.values_mut() {
                each_reference(property, call);
            }
            if let Some(AdditionalProperties::RefOr(values)) =
                object.additional_properties.as_deref_mut()
            {
                each_reference(values, call);
            }
            if let Some(names) = &mut object.property_names {
                each_inside(names, call);
            }
        }
        Schema::OneOf(of) => of.items.iter_mut().for_each(|it| each_reference(it, call)),
        Schema::AllOf(of) => of.items.iter_mut().for_each(|it| each_reference(it, call)),
        Schema::AnyOf(of) => of.items.iter_mut().for_each(|it| each_reference(it, call)),
        _ => {}
    }
}
