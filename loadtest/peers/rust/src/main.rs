//! A peer for `make bench-peers`: the reservation flow as a team would write it in
//! Rust, with axum, tokio-postgres in a pool, statements prepared once for each
//! connection, one statement and so one transaction for each operation, and one
//! connection to Redis that all requests share, which pipelines them.
//!
//! Settings, by environment: LISTEN, DATABASE_URL, REDIS_SOCKET, PLACES, POOL
//! (connections to PostgreSQL).

use std::collections::HashMap;
use std::env;
use std::sync::{Arc, LazyLock, RwLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Script};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

const TOKEN_TTL: i64 = 86400;
const WAITING: &str = "{q}:waiting";
const ACTIVE: &str = "{q}:active";
const LAST: &str = "{q}:last";

/// A place in the queue: active, or a number behind those who came before.
static ENTER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
    local now = redis.call('TIME')[1]
    if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
    local number = redis.call('ZSCORE', KEYS[1], ARGV[1])
    if number then return redis.call('ZRANK', KEYS[1], ARGV[1]) + 1 end
    if redis.call('ZCARD', KEYS[2]) < tonumber(ARGV[2]) then
        redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
        return 0
    end
    redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[3]), ARGV[1])
    return redis.call('ZCARD', KEYS[1])",
    )
});

const RESERVE: &str = "
    with wanted as materialized (
        select price from seats
        where schedule_id = $2 and seat_id = any($3)
          and (reservation_id is null or hold_until < now())
        order by seat_id for update
    ), r as (
        insert into reservations (user_id, schedule_id, seat_ids, total, status, hold_until)
        select $1, $2, $3, (select sum(price) from wanted), 'HELD', now() + interval '5 minutes'
        where (select count(*) from wanted) = cardinality($3::integer[])
        returning id, total, hold_until
    ), s as (
        update seats set reservation_id = r.id, hold_until = r.hold_until
        from r where seats.schedule_id = $2 and seat_id = any($3)
    )
    select r.id, r.total, r.hold_until, c.id, c.title
    from r, schedules d join concerts c on c.id = d.concert_id where d.id = $2";

const PAY: &str = "
    with r as (
        update reservations set status = 'PAID'
        where id = $1 and user_id = $2 and status = 'HELD' and hold_until > now() and total = $3
        returning id, schedule_id, seat_ids
    ), a as (
        update accounts set balance = balance - $3 from r where accounts.id = $2
        returning accounts.id
    ), p as (
        insert into payments (reservation_id, user_id, amount) select r.id, $2, $3 from r, a
        returning id, paid_at
    ), l as (
        insert into ledger (user_id, amount, payment_id) select $2, -$3, id from p
    ), s as (
        update seats set hold_until = 'infinity' from r
        where seats.schedule_id = r.schedule_id and seat_id = any(r.seat_ids)
    )
    select id, paid_at from p";

const CHARGE: &str = "
    with a as (
        update accounts set balance = balance + $2 where id = $1 returning balance
    ), l as (
        insert into ledger (user_id, amount) select $1, $2 from a
    )
    select balance from a";

const CANCEL: &str = "
    with r as (
        update reservations set status = 'CANCELLED' where id = $1 and status = 'HELD'
        returning id, schedule_id, seat_ids
    )
    update seats set reservation_id = null, hold_until = null from r
    where seats.schedule_id = r.schedule_id and seat_id = any(r.seat_ids)
      and seats.reservation_id = r.id";

const BALANCE: &str = "select balance from accounts where id = $1";

const CONCERTS: &str = "select id, title from concerts order by id limit 100";

const SCHEDULES: &str = "
    select id, concert_id, starts_at, total_seats from schedules
    where concert_id = $1 and starts_at > now() order by id limit 100";

// a crowd is not shown the same first hundred
const SEATS: &str = "
    select seat_id, price from seats
    where schedule_id = $1 and reservation_id is null
      and seat_id > $2::bigint % (select greatest(total_seats - 100, 1) from schedules where id = $1)
    order by seat_id limit 100";

#[derive(Clone)]
struct App {
    db: Pool,
    redis: MultiplexedConnection,
    capacity: i64,
    pages: Arc<RwLock<HashMap<i64, (Instant, Arc<Vec<Row>>)>>>,
}

enum Problem {
    Refused(u16, &'static str),
    Fault(String),
}

type Answer<T> = Result<Json<T>, Problem>;

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code) = match self {
            Problem::Refused(status, code) => (status, code),
            Problem::Fault(what) => {
                eprintln!("{what}");
                (503, "store_unavailable")
            }
        };
        let body = serde_json::json!({ "status": status, "code": code });
        (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
    }
}

macro_rules! fault_from {
    ($($error:ty),*) => {
        $(impl From<$error> for Problem {
            fn from(e: $error) -> Self {
                Problem::Fault(e.to_string())
            }
        })*
    };
}

fault_from!(tokio_postgres::Error, deadpool_postgres::PoolError, redis::RedisError);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    user_id: i64,
    status: &'static str,
    position: i64,
    next_poll: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Who {
    user_id: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Balance {
    user_id: i64,
    amount: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Concert {
    concert_id: i64,
    title: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Schedule {
    schedule_id: i64,
    concert_id: i64,
    #[serde(with = "time::serde::rfc3339")]
    schedule_date: OffsetDateTime,
    total_seat: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seat {
    seat_id: i32,
    seat_number: i32,
    seat_status: &'static str,
    schedule_id: i64,
    price: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    schedule_id: i64,
    seat_id_list: Vec<i32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    reservation_id: i64,
    user_id: i64,
    concert_id: i64,
    concert_title: String,
    schedule_id: i64,
    seat_id_list: Vec<i32>,
    total_price: i64,
    status: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    reservation_expiry: OffsetDateTime,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Due {
    user_id: i64,
    reservation_id: i64,
    amount: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    payment_id: i64,
    reservation_id: i64,
    user_id: i64,
    amount: i64,
    status: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    payment_time: OffsetDateTime,
}

impl App {
    /// The rows of a statement, which each connection prepares once.
    async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Problem> {
        let client = self.db.get().await?;
        let statement = client.prepare_cached(sql).await?;
        Ok(client.query(&statement, parameters).await?)
    }

    /// The same of what changes seldom, kept for a second.
    async fn page(
        &self,
        key: i64,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Arc<Vec<Row>>, Problem> {
        if let Some((until, rows)) = self.pages.read().unwrap().get(&key) {
            if Instant::now() < *until {
                return Ok(rows.clone());
            }
        }

        let rows = Arc::new(self.query(sql, parameters).await?);
        let until = Instant::now() + Duration::from_secs(1);
        self.pages.write().unwrap().insert(key, (until, rows.clone()));
        Ok(rows)
    }

    async fn is_active(&self, user: i64) -> Result<bool, Problem> {
        let until: Option<i64> = self.redis.clone().zscore(ACTIVE, user).await?;
        Ok(until.is_some_and(|t| t > OffsetDateTime::now_utc().unix_timestamp()))
    }

    /// Who asks, and has an active token.
    async fn caller(&self, headers: &HeaderMap) -> Result<i64, Problem> {
        let user = headers
            .get("userId")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .ok_or(Problem::Refused(401, "identity_missing"))?;

        if self.is_active(user).await? {
            Ok(user)
        } else {
            Err(Problem::Refused(403, "token_not_active"))
        }
    }
}

fn place(user_id: i64, position: i64) -> Json<Token> {
    let status = if position == 0 { "ACTIVE" } else { "WAITING" };
    Json(Token { user_id, status, position, next_poll: 1 })
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|_| Problem::Refused(400, "invalid_request"))
}

async fn post_token(State(app): State<App>, body: Bytes) -> Answer<Token> {
    let who: Who = parse(&body)?;
    let position = ENTER
        .key(WAITING)
        .key(ACTIVE)
        .key(LAST)
        .arg(who.user_id)
        .arg(app.capacity)
        .arg(TOKEN_TTL)
        .invoke_async(&mut app.redis.clone())
        .await?;
    Ok(place(who.user_id, position))
}

async fn get_token(State(app): State<App>, Path(user): Path<i64>) -> Answer<Token> {
    if app.is_active(user).await? {
        return Ok(place(user, 0));
    }

    let rank: Option<i64> = app.redis.clone().zrank(WAITING, user).await?;
    rank.map(|r| place(user, r + 1)).ok_or(Problem::Refused(404, "token_not_found"))
}

async fn get_status(State(app): State<App>, Path(user): Path<i64>) -> Answer<bool> {
    Ok(Json(app.is_active(user).await?))
}

async fn get_balance(State(app): State<App>, Path(user_id): Path<i64>) -> Answer<Balance> {
    let rows = app.query(BALANCE, &[&user_id]).await?;
    let row = rows.first().ok_or(Problem::Refused(404, "user_not_found"))?;
    Ok(Json(Balance { user_id, amount: row.get(0) }))
}

async fn charge(State(app): State<App>, body: Bytes) -> Answer<Balance> {
    let b: Balance = parse(&body)?;

    if b.amount < 1 {
        return Err(Problem::Refused(400, "invalid_request"));
    }

    let rows = app.query(CHARGE, &[&b.user_id, &b.amount]).await?;
    let row = rows.first().ok_or(Problem::Refused(404, "user_not_found"))?;
    Ok(Json(Balance { user_id: b.user_id, amount: row.get(0) }))
}

async fn get_concerts(State(app): State<App>, headers: HeaderMap) -> Answer<Vec<Concert>> {
    app.caller(&headers).await?;
    let rows = app.page(0, CONCERTS, &[]).await?;
    let concert = |r: &Row| Concert { concert_id: r.get(0), title: r.get(1) };
    Ok(Json(rows.iter().map(concert).collect()))
}

async fn get_schedules(
    State(app): State<App>,
    Path(concert): Path<i64>,
    headers: HeaderMap,
) -> Answer<Vec<Schedule>> {
    app.caller(&headers).await?;
    let rows = app.page(concert, SCHEDULES, &[&concert]).await?;
    let schedule = |r: &Row| Schedule {
        schedule_id: r.get(0),
        concert_id: r.get(1),
        schedule_date: r.get(2),
        total_seat: r.get(3),
    };
    Ok(Json(rows.iter().map(schedule).collect()))
}

async fn get_seats(
    State(app): State<App>,
    Path(schedule_id): Path<i64>,
    headers: HeaderMap,
) -> Answer<Vec<Seat>> {
    let user = app.caller(&headers).await?;
    let rows = app.query(SEATS, &[&schedule_id, &user]).await?;
    let seat = |r: &Row| Seat {
        seat_id: r.get(0),
        seat_number: r.get(0),
        seat_status: "AVAILABLE",
        schedule_id,
        price: r.get(1),
    };
    Ok(Json(rows.iter().map(seat).collect()))
}

async fn reserve(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Reservation> {
    let wanted: Wanted = parse(&body)?;
    let user_id = app.caller(&headers).await?;

    if !(1..=4).contains(&wanted.seat_id_list.len()) {
        return Err(Problem::Refused(400, "invalid_request"));
    }

    let parameters: [&(dyn ToSql + Sync); 3] =
        [&user_id, &wanted.schedule_id, &wanted.seat_id_list];
    let rows = app.query(RESERVE, &parameters).await?;
    let row = rows.first().ok_or(Problem::Refused(409, "seat_taken"))?;
    Ok(Json(Reservation {
        reservation_id: row.get(0),
        user_id,
        concert_id: row.get(3),
        concert_title: row.get(4),
        schedule_id: wanted.schedule_id,
        seat_id_list: wanted.seat_id_list,
        total_price: row.get(1),
        status: "HELD",
        reservation_expiry: row.get(2),
    }))
}

async fn pay(State(app): State<App>, body: Bytes) -> Answer<Payment> {
    let due: Due = parse(&body)?;
    let rows = app
        .query(PAY, &[&due.reservation_id, &due.user_id, &due.amount])
        .await?;
    let row = rows.first().ok_or(Problem::Refused(409, "reservation_expired"))?;

    let _: i64 = app.redis.clone().zrem(ACTIVE, due.user_id).await?;
    Ok(Json(Payment {
        payment_id: row.get(0),
        reservation_id: due.reservation_id,
        user_id: due.user_id,
        amount: due.amount,
        status: "PAID",
        payment_time: row.get(1),
    }))
}

async fn cancel(State(app): State<App>, Path(id): Path<i64>) -> Result<StatusCode, Problem> {
    app.query(CANCEL, &[&id]).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn setting(name: &str, otherwise: &str) -> String {
    env::var(name).unwrap_or_else(|_| otherwise.to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config: tokio_postgres::Config = setting("DATABASE_URL", "").parse()?;
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config, NoTls, recycling);
    let redis = redis::Client::open(format!("redis+unix://{}", setting("REDIS_SOCKET", "")))?;

    let app = App {
        db: Pool::builder(manager).max_size(setting("POOL", "16").parse()?).build()?,
        redis: redis.get_multiplexed_async_connection().await?,
        capacity: setting("PLACES", "10000000").parse()?,
        pages: Arc::default(),
    };

    let routes = Router::new()
        .route("/api/token", post(post_token))
        .route("/api/token/{id}", get(get_token))
        .route("/api/token/status/{id}", get(get_status))
        .route("/api/balance/charge", put(charge))
        .route("/api/balance/{id}", get(get_balance))
        .route("/api/concerts", get(get_concerts))
        .route("/api/concerts/schedules/{id}", get(get_schedules))
        .route("/api/concerts/seats/{id}", get(get_seats))
        .route("/api/reservations/seats", post(reserve))
        .route("/api/reservations/{id}", delete(cancel))
        .route("/api/reservations/payments", post(pay))
        .with_state(app);

    let listen = setting("LISTEN", "127.0.0.1:8091");
    let listener = tokio::net::TcpListener::bind(&listen).await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    println!("ready on {listen}");
    Ok(axum::serve(listener, routes).await?)
}
