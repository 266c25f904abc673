//! Definitions on their way from the registry to the units.
//!
//! A published version and its outbox row are one SQL transaction. The outbox is emptied into the raw log's control
//! partition in order; identity sends each record to every member unit; when all have consumed it the version is put into
//! force in the registry. A crash at any point repeats a step that changes nothing the second time: units take a version
//! once.

pub(crate) mod sent;

use std::time::Duration;

use actors::log::LogError;
use actors::model::{Scope, Token};
use actors::runtime::node::AdmitError;
use cdp::control::{Control, DefinitionChange};

use crate::platform::{Platform, PlatformError};

impl Platform {
    /// Sends what waits in the outbox. Answers the token of the last record sent.
    pub async fn publish_pending(&self) -> Result<Option<Token>, PlatformError> {
        let _one_at_a_time = self.publishing.lock().await;
        let mut last = None;
        while let Some(row) = self.registry().outbox_next().await? {
            self.sent
                .note(&row.kind, row.version)
                .map_err(|error| LogError::io("noting the version of a definition", error))
                .map_err(AdmitError::Log)?;
            self.registry().definition_sent(&row.kind, row.version);
            let version = u32::try_from(row.version).unwrap_or(u32::MAX);
            let token = self
                .publish(&Control::Definition(DefinitionChange {
                    kind: row.kind.as_str().into(),
                    version,
                    body: row.payload.as_str().into(),
                }))
                .await?;
            self.registry().outbox_sent(row.id, token.0).await?;
            last = Some(token);
        }
        Ok(last)
    }

    /// Puts versions into force that all units have consumed. Answers how many still wait.
    pub async fn activate_acknowledged(&self) -> Result<usize, PlatformError> {
        let waiting = self.registry().outbox_unacknowledged().await?;
        let mut left = waiting.len();
        for (kind, version, position) in waiting {
            if self.wait(Token(position), Duration::ZERO).await.is_err() {
                break;
            }
            self.registry()
                .definition_activate(&Scope::installation(), &kind, version, self.clock().now())
                .await?;
            left -= 1;
        }
        Ok(left)
    }
}
