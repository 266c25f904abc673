//! Webhooks: addresses that hear of what happens. Removed ones leave their number behind, so that an effect never reaches
//! somebody else.
//!
//! A change and the definition that tells the units of it are one transaction. Secrets come sealed and stay so here.

use data_encoding::HEXLOWER;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::brand::writes;
use super::db::transaction;
use super::definition::publish_next;
use super::source::check_name;
use super::{Page, Registry, RegistryError, page};
use crate::model::{BrandId, Scope, Time};

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its number, from 1, never used twice.
    pub id: u32,
    /// Its name, for people.
    pub name: String,
    /// Where it is called.
    pub url: String,
    /// The brand whose events it hears; 0: the group.
    pub brand: BrandId,
    /// What it hears of.
    pub events: Vec<String>,
    /// Its bodies carry what is personal.
    pub personal: bool,
    /// Whether it is called.
    pub enabled: bool,
    /// The sealed secret that signs.
    pub secret: Vec<u8>,
    /// The sealed secret before it, which signs as well until then.
    pub old_secret: Option<(Vec<u8>, Time)>,
    /// When it was made.
    pub created: Time,
}

/// A webhook to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    /// Its name.
    pub name: String,
    /// Where it is called; checked by the caller.
    pub url: String,
    /// The brand whose events it hears.
    pub brand: BrandId,
    /// What it hears of; checked by the caller.
    pub events: Vec<String>,
    /// Its bodies carry what is personal.
    pub personal: bool,
    /// Whether it is called.
    pub enabled: bool,
    /// The sealed secret.
    pub secret: Vec<u8>,
}

/// What to change of a webhook; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookChange {
    /// Another name.
    pub name: Option<String>,
    /// Another address.
    pub url: Option<String>,
    /// What it hears of.
    pub events: Option<Vec<String>>,
    /// Its bodies carry what is personal.
    pub personal: Option<bool>,
    /// Whether it is called.
    pub enabled: Option<bool>,
    /// A new sealed secret, and until when the present one signs as well.
    pub secret: Option<(Vec<u8>, Time)>,
    /// Remove it.
    pub removed: bool,
}

/// What tells the units: its kind, who changed it, and the body made of all webhooks that there are.
pub struct Telling<'a> {
    /// Kind of the definition.
    pub kind: &'a str,
    /// Who changes.
    pub author: &'a str,
    /// The body.
    pub body: &'a (dyn Fn(&[Webhook]) -> String + Send + Sync),
}

/// Webhooks of an installation. Each event is held against all of them.
const WEBHOOKS_MAX: i64 = 200;

impl Registry {
    /// Makes a webhook and publishes the definition that follows.
    pub async fn webhook_create(
        &self,
        scope: &Scope,
        new: NewWebhook,
        tell: Telling<'_>,
        now: Time,
    ) -> Result<Webhook, RegistryError> {
        writes(scope, new.brand)?;
        check_name("name", &new.name)?;
        let sent = self.sent(tell.kind);
        transaction!(&self.db, tx => {
            let row = sqlx::query(
                "SELECT coalesce(max(id), 0) + 1 AS id, count(CASE WHEN removed = 0 THEN 1 END) AS present FROM webhooks",
            )
            .fetch_one(&mut *tx)
            .await?;
            if row.try_get::<i64, _>("present")? >= WEBHOOKS_MAX {
                Err(RegistryError::Conflict(format!("there are {WEBHOOKS_MAX} webhooks already")))?;
            }
            let id = row.try_get::<i64, _>("id")?;
            let webhook = Webhook {
                id: super::db_u32(id)?,
                name: new.name.clone(),
                url: new.url.clone(),
                brand: new.brand,
                events: new.events.clone(),
                personal: new.personal,
                enabled: new.enabled,
                secret: new.secret.clone(),
                old_secret: None,
                created: now,
            };
            sqlx::query(
                "INSERT INTO webhooks (id, name, url, brand, events, personal, enabled, secret, removed, created) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)",
            )
            .bind(id)
            .bind(&*webhook.name)
            .bind(&*webhook.url)
            .bind(i64::from(webhook.brand.0))
            .bind(words(&webhook.events))
            .bind(i64::from(webhook.personal))
            .bind(i64::from(webhook.enabled))
            .bind(HEXLOWER.encode(&webhook.secret))
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
            publish(&mut tx, &tell, sent, now).await?;
            webhook
        })
    }

    /// Changes or removes a webhook; answers it as it is then. Publishes the definition that follows.
    pub async fn webhook_update(
        &self,
        scope: &Scope,
        id: u32,
        change: WebhookChange,
        tell: Telling<'_>,
        now: Time,
    ) -> Result<Webhook, RegistryError> {
        writes(scope, self.webhook_get(scope, id).await?.brand)?;
        if let Some(name) = &change.name {
            check_name("name", name)?;
        }
        let sent = self.sent(tell.kind);
        transaction!(&self.db, tx => {
            let row = sqlx::query("SELECT * FROM webhooks WHERE id = $1 AND removed = 0")
                .bind(i64::from(id))
                .fetch_optional(&mut *tx)
                .await?;
            let row = row.ok_or(RegistryError::NotFound("webhook"))?;
            let mut webhook = webhook_of(&row)?;
            webhook.name = change.name.clone().unwrap_or(webhook.name);
            webhook.url = change.url.clone().unwrap_or(webhook.url);
            webhook.events = change.events.clone().unwrap_or(webhook.events);
            webhook.personal = change.personal.unwrap_or(webhook.personal);
            webhook.enabled = change.enabled.unwrap_or(webhook.enabled);
            if let Some((secret, until)) = &change.secret {
                let old = std::mem::replace(&mut webhook.secret, secret.clone());
                webhook.old_secret = Some((old, *until));
            }
            let old = webhook.old_secret.as_ref();
            sqlx::query(
                "UPDATE webhooks SET name = $2, url = $3, events = $4, personal = $5, enabled = $6, secret = $7, \
                 old_secret = $8, old_until = $9, removed = $10 WHERE id = $1",
            )
            .bind(i64::from(id))
            .bind(&*webhook.name)
            .bind(&*webhook.url)
            .bind(words(&webhook.events))
            .bind(i64::from(webhook.personal))
            .bind(i64::from(webhook.enabled))
            .bind(HEXLOWER.encode(&webhook.secret))
            .bind(old.map(|(secret, _)| HEXLOWER.encode(secret)))
            .bind(old.map(|(_, until)| until.0))
            .bind(i64::from(change.removed))
            .execute(&mut *tx)
            .await?;
            publish(&mut tx, &tell, sent, now).await?;
            webhook
        })
    }

    /// The webhooks that the scope sees, oldest first.
    pub async fn webhook_list(
        &self,
        scope: &Scope,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<Webhook>, RegistryError> {
        let limit = page::limit(limit);
        let rows = sqlx::query("SELECT * FROM webhooks WHERE id > $1 AND removed = 0 ORDER BY id")
            .bind(page::after(cursor)?)
            .fetch_all(&self.db.reader)
            .await?;
        let mut webhooks = Vec::new();
        for row in &rows {
            let webhook = webhook_of(row)?;
            if scope.sees(webhook.brand) {
                webhooks.push(webhook);
            }
            if webhooks.len() > limit {
                break;
            }
        }
        Ok(Page::of(webhooks, limit, |webhook| i64::from(webhook.id)))
    }

    /// One webhook.
    pub async fn webhook_get(&self, scope: &Scope, id: u32) -> Result<Webhook, RegistryError> {
        let row = sqlx::query("SELECT * FROM webhooks WHERE id = $1 AND removed = 0")
            .bind(i64::from(id))
            .fetch_optional(&self.db.reader)
            .await?;
        match row.as_ref().map(webhook_of).transpose()? {
            Some(webhook) if scope.sees(webhook.brand) => Ok(webhook),
            _ => Err(RegistryError::NotFound("webhook")),
        }
    }
}

/// Publishes the definition made of all webhooks as they are in this transaction.
async fn publish(
    tx: &mut sqlx::AnyConnection,
    tell: &Telling<'_>,
    sent: i64,
    now: Time,
) -> Result<(), RegistryError> {
    let rows = sqlx::query("SELECT * FROM webhooks WHERE removed = 0 ORDER BY id")
        .fetch_all(&mut *tx)
        .await?;
    let webhooks: Vec<Webhook> = rows.iter().map(webhook_of).collect::<Result<_, _>>()?;
    let body = (tell.body)(&webhooks);
    publish_next(tx, tell.kind, sent, body, tell.author, now).await
}

fn words(words: &[String]) -> String {
    serde_json::to_string(words).expect("texts are JSON")
}

fn webhook_of(row: &AnyRow) -> Result<Webhook, RegistryError> {
    let damaged = |what: &str| RegistryError::Damaged(format!("{what} of a webhook"));
    let bytes = |text: String| {
        HEXLOWER
            .decode(text.as_bytes())
            .map_err(|_| damaged("the secret"))
    };
    let old = row.try_get::<Option<String>, _>("old_secret")?;
    let until = row.try_get::<Option<i64>, _>("old_until")?;
    Ok(Webhook {
        id: super::db_u32(row.try_get("id")?)?,
        name: row.try_get("name")?,
        url: row.try_get("url")?,
        brand: BrandId(super::db_u32(row.try_get("brand")?)?),
        events: serde_json::from_str(&row.try_get::<String, _>("events")?)
            .map_err(|_| damaged("the events"))?,
        personal: row.try_get::<i64, _>("personal")? != 0,
        enabled: row.try_get::<i64, _>("enabled")? != 0,
        secret: bytes(row.try_get("secret")?)?,
        old_secret: match old.zip(until) {
            Some((old, until)) => Some((bytes(old)?, Time(until))),
            None => None,
        },
        created: Time(row.try_get("created")?),
    })
}
