// A peer for `make bench-peers`: the reservation flow as a team would write it in
// Go, with pgx and go-redis: a pool of connections, prepared statements (pgx
// keeps them), one statement and so one transaction for each operation.
//
// Settings, by environment: LISTEN, DATABASE_URL, REDIS_SOCKET, PLACES,
// POOL (connections to PostgreSQL).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

const hold = 5 * time.Minute
const tokenTTL = 24 * time.Hour

var (
	db       *pgxpool.Pool
	rdb      *redis.Client
	capacity = env("PLACES", "10000000")
)

// A place in the queue: active, or a number behind those who came before.
var enter = redis.NewScript(`
local now = redis.call('TIME')[1]
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
local number = redis.call('ZSCORE', KEYS[1], ARGV[1])
if number then return redis.call('ZRANK', KEYS[1], ARGV[1]) + 1 end
if redis.call('ZCARD', KEYS[2]) < tonumber(ARGV[2]) then
    redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
    return 0
end
redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[3]), ARGV[1])
return redis.call('ZCARD', KEYS[1])`)

var queueKeys = []string{"{q}:waiting", "{q}:active", "{q}:last"}

type token struct {
	UserID   int64  `json:"userId"`
	Status   string `json:"status"`
	Position int64  `json:"position"`
	NextPoll int64  `json:"nextPoll"`
}

type schedule struct {
	ScheduleID   int64     `json:"scheduleId"`
	ConcertID    int64     `json:"concertId"`
	ScheduleDate time.Time `json:"scheduleDate"`
	TotalSeat    int32     `json:"totalSeat"`
}

type seat struct {
	SeatID     int32  `json:"seatId"`
	SeatNumber int32  `json:"seatNumber"`
	SeatStatus string `json:"seatStatus"`
	ScheduleID int64  `json:"scheduleId"`
	Price      int64  `json:"price"`
}

type concert struct {
	ConcertID int64  `json:"concertId"`
	Title     string `json:"title"`
}

type balance struct {
	UserID int64 `json:"userId"`
	Amount int64 `json:"amount"`
}

type reservation struct {
	ReservationID     int64     `json:"reservationId"`
	UserID            int64     `json:"userId"`
	ConcertID         int64     `json:"concertId"`
	ConcertTitle      string    `json:"concertTitle"`
	ScheduleID        int64     `json:"scheduleId"`
	SeatIDs           []int32   `json:"seatIdList"`
	TotalPrice        int64     `json:"totalPrice"`
	Status            string    `json:"status"`
	ReservationExpiry time.Time `json:"reservationExpiry"`
}

type payment struct {
	PaymentID     int64     `json:"paymentId"`
	ReservationID int64     `json:"reservationId"`
	UserID        int64     `json:"userId"`
	Amount        int64     `json:"amount"`
	Status        string    `json:"status"`
	PaymentTime   time.Time `json:"paymentTime"`
}

type problem struct {
	status int
	code   string
}

func (p problem) Error() string { return p.code }

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// route answers with what a handler returns, as JSON.
func route(handler func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := handler(r)
		status := http.StatusOK

		if err != nil {
			var p problem
			if !errors.As(err, &p) {
				log.Print(err)
				p = problem{http.StatusServiceUnavailable, "store_unavailable"}
			}
			status = p.status
			value = map[string]any{"status": p.status, "code": p.code}
		}

		if value == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}

		body, err := json.Marshal(value)
		if err != nil {
			log.Print(err)
		}

		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		w.Write(body)
	}
}

func pathID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		return 0, problem{400, "invalid_request"}
	}
	return id, nil
}

func body(r *http.Request, into any) error {
	if json.NewDecoder(http.MaxBytesReader(nil, r.Body, 65536)).Decode(into) != nil {
		return problem{400, "invalid_request"}
	}
	return nil
}

// caller is who asks, and has an active token.
func caller(r *http.Request) (int64, error) {
	user, err := strconv.ParseInt(r.Header.Get("userId"), 10, 64)
	if err != nil {
		return 0, problem{401, "identity_missing"}
	}

	active, err := isActive(r.Context(), user)
	if err == nil && !active {
		err = problem{403, "token_not_active"}
	}
	return user, err
}

func isActive(ctx context.Context, user int64) (bool, error) {
	until, err := rdb.ZScore(ctx, queueKeys[1], strconv.FormatInt(user, 10)).Result()
	if err == redis.Nil {
		return false, nil
	}
	return until > float64(time.Now().Unix()), err
}

func postToken(r *http.Request) (any, error) {
	var t token
	if err := body(r, &t); err != nil || t.UserID < 1 {
		return nil, problem{400, "invalid_request"}
	}

	position, err := enter.Run(r.Context(), rdb, queueKeys, t.UserID, capacity,
		int(tokenTTL.Seconds())).Int64()
	return place(t.UserID, position), err
}

func getToken(r *http.Request) (any, error) {
	user, err := pathID(r)
	if err != nil {
		return nil, err
	}

	active, err := isActive(r.Context(), user)
	if err != nil || active {
		return place(user, 0), err
	}

	rank, err := rdb.ZRank(r.Context(), queueKeys[0], r.PathValue("id")).Result()
	if err == redis.Nil {
		return nil, problem{404, "token_not_found"}
	}
	return place(user, rank+1), err
}

func place(user, position int64) token {
	if position == 0 {
		return token{user, "ACTIVE", 0, 1}
	}
	return token{user, "WAITING", position, 1}
}

func getStatus(r *http.Request) (any, error) {
	user, err := pathID(r)
	if err != nil {
		return nil, err
	}
	return isActive(r.Context(), user)
}

func getBalance(r *http.Request) (any, error) {
	user, err := pathID(r)
	if err != nil {
		return nil, err
	}

	b := balance{UserID: user}
	err = db.QueryRow(r.Context(), `select balance from accounts where id = $1`, user).Scan(&b.Amount)
	return b, missing(err, "user_not_found")
}

func charge(r *http.Request) (any, error) {
	var b balance
	if err := body(r, &b); err != nil || b.Amount < 1 {
		return nil, problem{400, "invalid_request"}
	}

	err := db.QueryRow(r.Context(), `
		with a as (
			update accounts set balance = balance + $2 where id = $1
			returning balance
		), l as (
			insert into ledger (user_id, amount) select $1, $2 from a
		)
		select balance from a`, b.UserID, b.Amount).Scan(&b.Amount)
	return b, missing(err, "user_not_found")
}

// What changes seldom is kept for a second.
type page struct {
	until time.Time
	value any
}

var pages sync.Map

func cached(key int64, load func() (any, error)) (any, error) {
	if kept, ok := pages.Load(key); ok && time.Now().Before(kept.(page).until) {
		return kept.(page).value, nil
	}

	value, err := load()
	if err == nil {
		pages.Store(key, page{time.Now().Add(time.Second), value})
	}
	return value, err
}

func getConcerts(r *http.Request) (any, error) {
	if _, err := caller(r); err != nil {
		return nil, err
	}

	return cached(0, func() (any, error) {
		rows, err := db.Query(r.Context(), `select id, title from concerts order by id limit 100`)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowToStructByPos[concert])
	})
}

func getSchedules(r *http.Request) (any, error) {
	if _, err := caller(r); err != nil {
		return nil, err
	}

	id, err := pathID(r)
	if err != nil {
		return nil, err
	}

	return cached(id, func() (any, error) {
		rows, err := db.Query(r.Context(), `
			select id, concert_id, starts_at, total_seats from schedules
			where concert_id = $1 and starts_at > now() order by id limit 100`, id)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowToStructByPos[schedule])
	})
}

func getSeats(r *http.Request) (any, error) {
	user, err := caller(r)
	if err != nil {
		return nil, err
	}

	id, err := pathID(r)
	if err != nil {
		return nil, err
	}

	// a crowd is not shown the same first hundred
	rows, err := db.Query(r.Context(), `
		select seat_id, seat_id, 'AVAILABLE', schedule_id, price from seats
		where schedule_id = $1 and reservation_id is null
		  and seat_id > $2 % (select greatest(total_seats - 100, 1) from schedules where id = $1)
		order by seat_id limit 100`, id, user)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[seat])
}

func reserve(r *http.Request) (any, error) {
	user, err := caller(r)
	if err != nil {
		return nil, err
	}

	var v reservation
	if err := body(r, &v); err != nil || len(v.SeatIDs) == 0 || len(v.SeatIDs) > 4 {
		return nil, problem{400, "invalid_request"}
	}

	v.UserID, v.Status = user, "HELD"
	err = db.QueryRow(r.Context(), `
		with wanted as materialized (
			select price from seats
			where schedule_id = $2 and seat_id = any($3)
			  and (reservation_id is null or hold_until < now())
			order by seat_id for update
		), r as (
			insert into reservations (user_id, schedule_id, seat_ids, total, status, hold_until)
			select $1, $2, $3, (select sum(price) from wanted), 'HELD', now() + $4
			where (select count(*) from wanted) = cardinality($3::integer[])
			returning id, total, hold_until
		), s as (
			update seats set reservation_id = r.id, hold_until = r.hold_until
			from r where seats.schedule_id = $2 and seat_id = any($3)
		)
		select r.id, r.total, r.hold_until, c.id, c.title
		from r, schedules d join concerts c on c.id = d.concert_id where d.id = $2`,
		user, v.ScheduleID, v.SeatIDs, hold).
		Scan(&v.ReservationID, &v.TotalPrice, &v.ReservationExpiry, &v.ConcertID, &v.ConcertTitle)
	if errors.Is(err, pgx.ErrNoRows) {
		err = problem{409, "seat_taken"}
	}
	return v, err
}

func pay(r *http.Request) (any, error) {
	var p payment
	if err := body(r, &p); err != nil {
		return nil, err
	}

	p.Status = "PAID"
	err := db.QueryRow(r.Context(), `
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
		select id, paid_at from p`, p.ReservationID, p.UserID, p.Amount).
		Scan(&p.PaymentID, &p.PaymentTime)

	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, problem{409, "reservation_expired"}
	case err != nil && strings.Contains(err.Error(), "accounts_balance_check"):
		return nil, problem{422, "insufficient_balance"}
	case err != nil:
		return nil, err
	}

	return p, rdb.ZRem(r.Context(), queueKeys[1], p.UserID).Err()
}

func cancel(r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}

	_, err = db.Exec(r.Context(), `
		with r as (
			update reservations set status = 'CANCELLED' where id = $1 and status = 'HELD'
			returning id, schedule_id, seat_ids
		)
		update seats set reservation_id = null, hold_until = null from r
		where seats.schedule_id = r.schedule_id and seat_id = any(r.seat_ids)
		  and seats.reservation_id = r.id`, id)
	return nil, err
}

func missing(err error, code string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return problem{404, code}
	}
	return err
}

func main() {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}

	pool, err := strconv.Atoi(env("POOL", "16"))
	if err != nil {
		log.Fatal(err)
	}

	config.MaxConns, config.MinConns = int32(pool), int32(pool)
	if db, err = pgxpool.NewWithConfig(context.Background(), config); err != nil {
		log.Fatal(err)
	}

	rdb = redis.NewClient(&redis.Options{Network: "unix", Addr: os.Getenv("REDIS_SOCKET"), PoolSize: 32})

	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/token", route(postToken))
	mux.HandleFunc("GET /api/token/{id}", route(getToken))
	mux.HandleFunc("GET /api/token/status/{id}", route(getStatus))
	mux.HandleFunc("PUT /api/balance/charge", route(charge))
	mux.HandleFunc("GET /api/balance/{id}", route(getBalance))
	mux.HandleFunc("GET /api/concerts", route(getConcerts))
	mux.HandleFunc("GET /api/concerts/schedules/{id}", route(getSchedules))
	mux.HandleFunc("GET /api/concerts/seats/{id}", route(getSeats))
	mux.HandleFunc("POST /api/reservations/seats", route(reserve))
	mux.HandleFunc("DELETE /api/reservations/{id}", route(cancel))
	mux.HandleFunc("POST /api/reservations/payments", route(pay))

	listen := env("LISTEN", "127.0.0.1:8090")
	fmt.Println("ready on", listen)
	log.Fatal(http.ListenAndServe(listen, mux))
}
