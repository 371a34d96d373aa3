-- What both peers store: the tables that a team would make in a week, with the
-- constraints and indexes that the routes of `make bench-peers` need.

create table accounts (
    id       bigint primary key,
    balance  bigint not null default 0 check (balance >= 0)
) with (fillfactor = 70);

create table concerts (
    id     bigint primary key,
    title  text not null
);

create table schedules (
    id           bigint primary key,
    concert_id   bigint not null references concerts,
    starts_at    timestamptz not null,
    total_seats  integer not null
);

create index on schedules (concert_id, id);

create table reservations (
    id           bigint generated always as identity primary key,
    user_id      bigint not null,
    schedule_id  bigint not null,
    seat_ids     integer[] not null,
    total        bigint not null,
    status       text not null,
    hold_until   timestamptz not null,
    created_at   timestamptz not null default now()
) with (fillfactor = 80);

create index on reservations (user_id, id);

create table seats (
    schedule_id     bigint not null,
    seat_id         integer not null,
    price           bigint not null,
    reservation_id  bigint,
    hold_until      timestamptz,
    primary key (schedule_id, seat_id)
) with (fillfactor = 90);

create index on seats (schedule_id, seat_id) include (price)
    where reservation_id is null;

create table payments (
    id              bigint generated always as identity primary key,
    reservation_id  bigint not null unique,
    user_id         bigint not null,
    amount          bigint not null,
    paid_at         timestamptz not null default now()
);

create table ledger (
    id          bigint generated always as identity primary key,
    user_id     bigint not null,
    amount      bigint not null,
    payment_id  bigint,
    created_at  timestamptz not null default now()
);
