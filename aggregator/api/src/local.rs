//! What only root and the owner of the process may do, over a unix socket in the data folder: join tokens.
//!
//! `GET /tokens`, `POST /tokens` (cluster, tenant, expires, uses), `POST /tokens/revoke` (id); with `peer=true`, those of the other
//! aggregator of a pair. The envelope is that of `/api/v1`.

use std::fmt;
use std::sync::Arc;

use clock::SharedClock;
use http_shell::{Caller, Form, Handler, HandlerFuture, Method, Request, Response, StatusCode};
use ingest::{TokenInfo, TokenTerms, Tokens, TokensError};
use model::TimestampMs;
use runtime::Tasks;

use crate::envelope::{ApiError, ErrorType, Notes, success};
use crate::json::Json;
use crate::parameters;

/// Answers requests on the local socket. Cloning shares it.
#[derive(Clone)]
pub struct LocalApi {
    tokens: Arc<Tokens>,
    /// Of the other of a pair; none: nobody may join here.
    peer_tokens: Option<Arc<Tokens>>,
    clock: SharedClock,
    tasks: Tasks,
}

impl LocalApi {
    /// Returns the local API over these tokens.
    pub const fn new(tokens: Arc<Tokens>, clock: SharedClock, tasks: Tasks) -> Self {
        Self {
            tokens,
            peer_tokens: None,
            clock,
            tasks,
        }
    }

    /// Adds the tokens of the other of a pair, where it may join.
    #[must_use]
    pub fn with_peers(mut self, tokens: Option<Arc<Tokens>>) -> Self {
        self.peer_tokens = tokens;
        self
    }

    async fn answer(&self, request: Request) -> Response {
        if !matches!(request.caller, Caller::Local { .. }) {
            return Response::text(
                StatusCode::FORBIDDEN,
                "only over the socket in the data folder",
            );
        }
        let (method, path, form) = (request.method.clone(), request.path.clone(), request.form());
        let local = self.clone();
        // Tokens are made durable: a sync, so not on a thread of the async shell.
        let answering = self
            .tasks
            .spawn_blocking("local api", move || local.act(&method, &path, &form));
        let answered = match answering.await {
            Ok(answered) => answered,
            Err(error) => Err(ApiError::new(ErrorType::Internal, error.to_string())),
        };
        answered.unwrap_or_else(|error| error.response())
    }

    fn act(&self, method: &Method, path: &str, form: &Form) -> Result<Response, ApiError> {
        let now = TimestampMs::from(self.clock.wall());
        let tokens = self.tokens_of(form)?;
        match (method, path) {
            (&Method::GET, "/tokens") => {
                let tokens = tokens.list().map_err(|error| refusal(&error))?;
                Ok(success(&Notes::default(), |json| {
                    json.array(|json| {
                        for token in &tokens {
                            write(json, token, now);
                        }
                    });
                }))
            }
            (&Method::POST, "/tokens") => {
                let token = tokens
                    .create(&terms(form)?, now)
                    .map_err(|error| refusal(&error))?;
                Ok(success(&Notes::default(), |json| {
                    json.object(|json| {
                        json.key("id").string(&token.id().to_string());
                        json.key("token").string(&token.to_text());
                    });
                }))
            }
            (&Method::POST, "/tokens/revoke") => {
                let text = form.get("id").unwrap_or_default();
                let id = text.parse().map_err(|_| {
                    ApiError::parameter("id", format!("{text:?} is not the id of a token"))
                })?;
                tokens.revoke(id).map_err(|error| refusal(&error))?;
                Ok(success(&Notes::default(), |json| {
                    json.object(|_| {});
                }))
            }
            _ => Err(ApiError::new(
                ErrorType::NotFound,
                format!("no such endpoint: {method} {path}"),
            )),
        }
    }
}

impl LocalApi {
    /// Returns the tokens that are meant.
    fn tokens_of(&self, form: &Form) -> Result<&Tokens, ApiError> {
        if form.get("peer") != Some("true") {
            return Ok(&self.tokens);
        }
        self.peer_tokens.as_deref().ok_or_else(|| {
            let message = "no aggregator can join this one as its pair: start it with --cluster.listen-address, or make the token at the one that has it";
            ApiError::parameter("peer", message.to_owned())
        })
    }
}

impl Handler for LocalApi {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }
}

impl fmt::Debug for LocalApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalApi").finish_non_exhaustive()
    }
}

fn terms(form: &Form) -> Result<TokenTerms, ApiError> {
    let name = |key: &str| {
        form.get(key)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let uses = u32::try_from(parameters::limit(form, "uses")?)
        .map_err(|_| ApiError::parameter("uses", format!("at most {} can be counted", u32::MAX)))?;
    Ok(TokenTerms {
        cluster: name("cluster"),
        tenant: name("tenant"),
        expires: parameters::duration(form, "expires")?,
        uses: Some(uses).filter(|uses| *uses > 0),
    })
}

fn refusal(error: &TokensError) -> ApiError {
    let kind = match error {
        TokensError::Unknown(_) => ErrorType::NotFound,
        TokensError::Terms(_) | TokensError::TooMany(_) => ErrorType::BadData,
        TokensError::Database(_) | TokensError::Randomness(_) => ErrorType::Internal,
    };
    ApiError::new(kind, error.to_string())
}

fn write(json: &mut Json, token: &TokenInfo, now: TimestampMs) {
    json.object(|json| {
        json.key("id").string(&token.id.to_string());
        for (key, value) in [("cluster", &token.cluster), ("tenant", &token.tenant)] {
            if let Some(value) = value {
                json.key(key).string(value);
            }
        }
        json.key("created").time(token.created);
        if let Some(expires) = token.expires {
            json.key("expires").time(expires);
        }
        json.key("used").raw(token.used);
        if let Some(uses_max) = token.uses_max {
            json.key("usesMax").raw(uses_max);
        }
        json.key("revoked").raw(token.revoked);
        json.key("usable").raw(token.is_usable(now));
    });
}
