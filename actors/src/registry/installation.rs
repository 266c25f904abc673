//! What is fixed at the first start, for ever.

use sqlx::Row;

use super::db::transaction;
use super::{Registry, RegistryError};
use crate::model::{Currency, IdSpace, SHARDS, Time};

/// What is fixed at the first start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// A random name, so that folders and logs of two installations are never mixed.
    pub id: String,
    /// Where days begin, e.g. `Asia/Shanghai`.
    pub time_zone: String,
    /// Currencies of the ledger; the first is the main one.
    pub currencies: Vec<Currency>,
    /// Partitions of member shards; divides 256.
    pub partitions: u16,
    /// When it began.
    pub created: Time,
}

/// What the operator asks for. What is not given takes the default at the first start and anything later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallationWish {
    /// Default: `Asia/Shanghai`.
    pub time_zone: Option<String>,
    /// Default: CNY.
    pub currencies: Option<Vec<Currency>>,
    /// Default: 8.
    pub partitions: Option<u16>,
}

const TIME_ZONE: &str = "Asia/Shanghai";

/// Units that a machine of a few cores keeps busy; more cores are used up to this many.
const PARTITIONS: u16 = 8;

impl Registry {
    /// Fixes the installation at the first start; later answers what was fixed, or a conflict if the wish is another.
    pub async fn installation_ensure(
        &self,
        wish: &InstallationWish,
        now: Time,
    ) -> Result<Installation, RegistryError> {
        check(wish)?;
        let mut random = [0; 10];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random).map_err(
            |_| RegistryError::Unavailable("the operating system gives no random bytes".into()),
        )?;
        let first = Installation {
            id: data_encoding::HEXLOWER.encode(&random),
            time_zone: wish.time_zone.clone().unwrap_or_else(|| TIME_ZONE.into()),
            currencies: wish
                .currencies
                .clone()
                .unwrap_or_else(|| vec![Currency::CNY]),
            partitions: wish.partitions.unwrap_or(PARTITIONS),
            created: now,
        };
        let fixed = transaction!(&self.db, tx => {
            let row = sqlx::query("SELECT value FROM settings WHERE name = 'installation'")
                .fetch_optional(&mut *tx)
                .await?;
            match row {
                Some(row) => read(&row.try_get::<String, _>("value")?)?,
                None => {
                    sqlx::query("INSERT INTO settings (name, value) VALUES ('installation', $1)")
                        .bind(write(&first))
                        .execute(&mut *tx)
                        .await?;
                    first.clone()
                }
            }
        })?;
        differs("time_zone", wish.time_zone.as_ref(), &fixed.time_zone)?;
        differs("currencies", wish.currencies.as_ref(), &fixed.currencies)?;
        differs("partitions", wish.partitions.as_ref(), &fixed.partitions)?;
        Ok(fixed)
    }

    /// The id space of a name, made if it is new. The empty name is the installation's own.
    pub async fn id_space_ensure(&self, name: &str) -> Result<IdSpace, RegistryError> {
        if name.is_empty() {
            return Ok(IdSpace(0));
        }
        super::source::check_name("id_space", name)?;
        transaction!(&self.db, tx => {
            let row = sqlx::query("SELECT id FROM id_spaces WHERE name = $1")
                .bind(name)
                .fetch_optional(&mut *tx)
                .await?;
            let id = match row {
                Some(row) => row.try_get::<i64, _>("id")?,
                None => {
                    let row = sqlx::query("SELECT coalesce(max(id), 0) + 1 AS id FROM id_spaces")
                        .fetch_one(&mut *tx)
                        .await?;
                    let id = row.try_get::<i64, _>("id")?;
                    sqlx::query("INSERT INTO id_spaces (id, name) VALUES ($1, $2)")
                        .bind(id)
                        .bind(name)
                        .execute(&mut *tx)
                        .await?;
                    id
                }
            };
            IdSpace(super::db_u32(id)?)
        })
    }

    /// The names of id spaces but the installation's own.
    pub async fn id_space_list(&self) -> Result<Vec<(IdSpace, String)>, RegistryError> {
        let rows = sqlx::query("SELECT id, name FROM id_spaces ORDER BY id")
            .fetch_all(&self.db.reader)
            .await?;
        rows.iter()
            .map(|row| {
                let id = super::db_u32(row.try_get("id")?)?;
                Ok((IdSpace(id), row.try_get("name")?))
            })
            .collect()
    }
}

fn check(wish: &InstallationWish) -> Result<(), RegistryError> {
    if let Some(zone) = &wish.time_zone
        && jiff::tz::TimeZone::get(zone).is_err()
    {
        return Err(RegistryError::invalid(
            "time_zone",
            format!("`{zone}` is no time zone; write e.g. Asia/Shanghai"),
        ));
    }
    if wish.currencies.as_ref().is_some_and(Vec::is_empty) {
        return Err(RegistryError::invalid("currencies", "name at least one"));
    }
    if let Some(partitions) = wish.partitions
        && (partitions == 0 || !SHARDS.is_multiple_of(partitions))
    {
        return Err(RegistryError::invalid(
            "partitions",
            format!("{partitions} does not divide {SHARDS}"),
        ));
    }
    Ok(())
}

fn differs<T: PartialEq + std::fmt::Debug>(
    field: &str,
    wish: Option<&T>,
    fixed: &T,
) -> Result<(), RegistryError> {
    match wish {
        Some(wish) if wish != fixed => Err(RegistryError::Conflict(format!(
            "{field} was fixed at the first start as {fixed:?} and cannot become {wish:?}"
        ))),
        _ => Ok(()),
    }
}

fn write(installation: &Installation) -> String {
    let currencies: Vec<&str> = installation
        .currencies
        .iter()
        .map(Currency::as_str)
        .collect();
    serde_json::json!({
        "id": installation.id,
        "time_zone": installation.time_zone,
        "currencies": currencies,
        "partitions": installation.partitions,
        "created": installation.created.0,
    })
    .to_string()
}

fn read(text: &str) -> Result<Installation, RegistryError> {
    let parsed = || {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let currencies = value["currencies"].as_array()?;
        Some(Installation {
            id: value["id"].as_str()?.to_owned(),
            time_zone: value["time_zone"].as_str()?.to_owned(),
            currencies: currencies
                .iter()
                .map(|currency| currency.as_str()?.parse().ok())
                .collect::<Option<_>>()?,
            partitions: value["partitions"].as_u64()?.try_into().ok()?,
            created: Time(value["created"].as_i64()?),
        })
    };
    parsed().ok_or_else(|| RegistryError::Damaged("the installation's settings do not read".into()))
}
