//! `status/tsdb`, `status/tsdb/blocks`, `status/walreplay` and `admin/tsdb/*`: the store about itself, and what it is told to do.

use std::sync::Arc;

use http_shell::{Form, Response, StatusCode};
use runtime::Permits;
use storage::Unlimited;

use crate::admin::{Admin, AdminError, Counts, PartitionReport};
use crate::api::Api;
use crate::envelope::{ApiError, ErrorType, Notes, success};
use crate::json::Json;
use crate::parameters;

/// Items of each list of `status/tsdb`, as in Prometheus: when not asked for otherwise, and at most.
const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 10_000;

impl Api {
    /// `/api/v1/status/tsdb`
    pub(crate) async fn tsdb_status(&self, form: &Form) -> Result<Response, ApiError> {
        let bad = |why: String| ApiError::new(ErrorType::BadData, why);
        let limit = match form.get("limit").filter(|text| !text.is_empty()) {
            None => LIMIT_DEFAULT,
            Some(text) => match text.parse() {
                Ok(limit @ 1..=LIMIT_MAX) => limit,
                Ok(limit) if limit > LIMIT_MAX => {
                    return Err(bad(format!("limit must not exceed {LIMIT_MAX}")));
                }
                _ => return Err(bad("limit must be a positive number".to_owned())),
            },
        };
        self.of_store(&self.store_questions, "status/tsdb", move |store| {
            let report = store.head(limit)?;
            // As Prometheus says it of an empty head.
            let (first, last) = report
                .times
                .map_or((i64::MAX, i64::MIN), |times| (times.start.0, times.end.0));
            Ok(success(&Notes::default(), |json| {
                json.object(|json| {
                    json.key("headStats").object(|json| {
                        json.key("numSeries").raw(report.series);
                        json.key("numLabelPairs").raw(report.label_pairs);
                        json.key("chunkCount").raw(report.columns);
                        json.key("minTime").raw(first);
                        json.key("maxTime").raw(last);
                    });
                    for (key, counts) in [
                        ("seriesCountByMetricName", &report.series_by_metric),
                        ("labelValueCountByLabelName", &report.values_by_label),
                        ("memoryInBytesByLabelName", &report.bytes_by_label),
                        ("seriesCountByLabelValuePair", &report.series_by_pair),
                        ("activeSeriesCountByAgent", &report.active_by_agent),
                        ("activeSeriesCountByMetricName", &report.active_by_metric),
                        ("activeSeriesCountByTenant", &report.active_by_tenant),
                    ] {
                        json.key(key);
                        write_counts(json, counts);
                    }
                });
            }))
        })
        .await
    }

    /// `/api/v1/status/tsdb/blocks`
    pub(crate) async fn tsdb_blocks(&self) -> Result<Response, ApiError> {
        self.of_store(&self.store_questions, "status/tsdb/blocks", |store| {
            let partitions = store.partitions()?;
            Ok(success(&Notes::default(), |json| {
                json.object(|json| {
                    json.key("blocks").array(|json| {
                        for partition in &partitions {
                            write_block(json, partition);
                        }
                    });
                });
            }))
        })
        .await
    }

    /// `/api/v1/status/walreplay`
    pub(crate) fn wal_replay(&self) -> Response {
        let replay = self.parts.admin.replay();
        success(&Notes::default(), |json| {
            json.object(|json| {
                json.key("min").raw(replay.first);
                json.key("max").raw(replay.last);
                json.key("current").raw(replay.current);
                json.key("state").string(replay.state);
            });
        })
    }

    /// `/api/v1/admin/tsdb/delete_series`
    pub(crate) async fn delete_series(&self, form: &Form) -> Result<Response, ApiError> {
        self.check_admin()?;
        let texts = parameters::selector_texts(form);
        if texts.is_empty() {
            let why = "no match[] parameter provided";
            return Err(ApiError::new(ErrorType::BadData, why));
        }
        let selectors =
            parameters::selectors(&texts, self.parts.engine.config().parser, &Unlimited)
                .map_err(|why| ApiError::parameter("match[]", why))?;
        let range = parameters::range(form)?;
        self.of_store(&self.store_questions, "delete series", move |store| {
            if range.start <= range.end {
                store.delete(&selectors, range)?;
            }
            Ok(Response::empty(StatusCode::NO_CONTENT))
        })
        .await
    }

    /// `/api/v1/admin/tsdb/clean_tombstones`
    pub(crate) async fn clean_tombstones(&self) -> Result<Response, ApiError> {
        self.check_admin()?;
        self.of_store(&self.store_work, "clean deletes", |store| {
            store.clean_deletes()?;
            Ok(Response::empty(StatusCode::NO_CONTENT))
        })
        .await
    }

    /// `/api/v1/admin/tsdb/snapshot`
    pub(crate) async fn snapshot(&self, form: &Form) -> Result<Response, ApiError> {
        self.check_admin()?;
        let skip_head = match form.get("skip_head").unwrap_or_default() {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            other => {
                let why = format!(
                    "unable to parse boolean: strconv.ParseBool: parsing {other:?}: invalid syntax"
                );
                return Err(ApiError::parameter("skip_head", why));
            }
        };
        self.of_store(&self.store_work, "snapshot", move |store| {
            let name = store.snapshot(skip_head)?;
            Ok(success(&Notes::default(), |json| {
                json.object(|json| {
                    json.key("name").string(&name);
                });
            }))
        })
        .await
    }

    fn check_admin(&self) -> Result<(), ApiError> {
        if self.config.admin {
            return Ok(());
        }
        Err(ApiError::new(
            ErrorType::Unavailable,
            "admin APIs disabled; start with --web.enable-admin-api",
        ))
    }

    /// Asks the store on a thread, when there is a place: what it does may read files, and wait for them.
    async fn of_store(
        &self,
        places: &Permits,
        what: &'static str,
        ask: impl FnOnce(&dyn Admin) -> Result<Response, AdminError> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let admin = Arc::clone(&self.parts.admin);
        let place = places.acquire(1).await;
        let asking = self.parts.tasks.spawn_blocking(what, move || {
            let answer = ask(&*admin).map_err(ApiError::from);
            drop(place);
            answer
        });
        asking.await.unwrap_or_else(|error| {
            let why = format!("{what} failed: {error}");
            Err(ApiError::new(ErrorType::Internal, why))
        })
    }
}

impl From<AdminError> for ApiError {
    fn from(error: AdminError) -> Self {
        let kind = match error {
            AdminError::Invalid(_) => ErrorType::BadData,
            AdminError::Unavailable(_) => ErrorType::Unavailable,
            AdminError::Failed(_) => ErrorType::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

fn write_counts(json: &mut Json, counts: &Counts) {
    json.array(|json| {
        for (name, value) in counts {
            json.object(|json| {
                json.key("name").string(name);
                json.key("value").raw(value);
            });
        }
    });
}

/// A partition in the shape of Prometheus' block metadata, with what only ours have beside it.
fn write_block(json: &mut Json, partition: &PartitionReport) {
    let ulid = ulid(partition.times.end.0, &partition.file);
    json.object(|json| {
        json.key("ulid").string(&ulid);
        json.key("minTime").raw(partition.times.start.0);
        // Prometheus' blocks end before their maximum.
        json.key("maxTime")
            .raw(partition.times.end.0.saturating_add(1));
        json.key("stats").object(|json| {
            json.key("numSamples").raw(partition.samples);
            if let Some(series) = partition.series {
                json.key("numSeries").raw(series);
            }
        });
        json.key("compaction").object(|json| {
            json.key("level").raw(partition.level);
            json.key("sources").strings([ulid.as_str()]);
        });
        json.key("version").raw(1);
        json.key("file").string(&partition.file);
        json.key("shard").raw(partition.shard);
        json.key("bytes").raw(partition.bytes);
        json.key("tier").string(&partition.tier);
        json.key("class").string(&partition.class);
    });
}

/// Returns an id in the form of a ULID, always the same for the same file: its newest time, then a hash (FNV-1a) of its name.
fn ulid(at: i64, name: &str) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = name.bytes().fold(
        0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128,
        |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME),
    );
    let time = u128::from(at.clamp(0, (1 << 48) - 1).unsigned_abs());
    let id = time << 80 | hash >> 48;
    (0..26)
        .rev()
        .map(|digit| char::from(ALPHABET[(id >> (digit * 5)) as usize & 31]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ_by_name() {
        let id = ulid(1_700_000_000_000, "0-1-2.redb");
        assert_eq!((id.len(), id.get(..10)), (26, Some("01HF7YAT00")));
        assert_eq!(id, ulid(1_700_000_000_000, "0-1-2.redb"));
        assert_ne!(id, ulid(1_700_000_000_000, "1-1-2.redb"));
        assert!(ulid(1_700_000_000_001, "0-1-2.redb") > id);
        assert!(ulid(-5, "x").starts_with("0000000000"));
    }
}
