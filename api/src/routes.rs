//! All routes, by topic: one file per topic under `routes/`.

pub mod api_keys;
pub mod audience;
pub mod audit;
pub mod brands;
pub mod clock;
pub mod conflicts;
pub mod dead_letters;
pub mod definitions;
pub mod dictionary;
pub mod docs;
pub mod effects;
pub mod events;
pub mod health;
pub mod imports;
pub mod items;
pub mod landing;
pub mod lists;
pub mod members;
pub mod operations;
pub mod parked;
pub mod segments;
pub mod sensors;
pub mod sources;
pub mod stats;
pub mod tags;
pub mod timers;
pub mod webhooks;

use crate::http::Routes;

/// Every route of the server.
pub fn all() -> Routes {
    landing::routes()
        .and(health::routes())
        .and(docs::routes())
        .and(events::routes())
        .and(sensors::routes())
        .and(items::routes())
        .and(members::routes())
        .and(audience::routes())
        .and(conflicts::routes())
        .and(dead_letters::routes())
        .and(sources::routes())
        .and(brands::routes())
        .and(audit::routes())
        .and(api_keys::routes())
        .and(definitions::routes())
        .and(dictionary::routes())
        .and(segments::routes())
        .and(tags::routes())
        .and(lists::routes())
        .and(webhooks::routes())
        .and(effects::routes())
        .and(timers::routes())
        .and(parked::routes())
        .and(stats::routes())
        .and(clock::routes())
        .and(operations::routes())
        .and(imports::routes())
}
