-- Demo data: users 1..10000 with 100,000,000 won each and three concerts whose
-- schedules are in the future whenever this is run.  Run with psql, again at
-- will: -v seats=N says how many seats a new schedule gets.

\set ON_ERROR_STOP on
\if :{?seats} \else \set seats 50000 \endif

begin;

select not exists (select from concert.concerts) as empty \gset

\if :empty

insert into concert.accounts (account_id)
select g from generate_series(1, 10000) as g;

insert into concert.transfers (operation, debit_account, credit_account, amount)
select gen_random_uuid(), -1, g, 100000000
from generate_series(1, 10000) as g;

insert into concert.concerts (concert_id, title)
overriding system value
values (1, 'Seoul Spring Festival'),
       (2, '한강 재즈의 밤'),
       (3, 'Busan Symphony: Mahler 2');

select setval(pg_get_serial_sequence('concert.concerts', 'concert_id'), 3);

select concert.add_schedule(c.concert_id,
                            date_trunc('hour', now()) + d.day * interval '1 day',
                            :seats, c.price)
from (values (1, 60000), (2, 88000), (3, 120000)) as c (concert_id, price)
cross join (values (30), (31), (32)) as d (day)
order by c.concert_id, d.day;

\endif

update concert.schedules
set starts_at = date_trunc('hour', now()) + interval '30 days'
where starts_at < now() + interval '7 days';

commit;

analyze concert.accounts, concert.transfers, concert.concerts,
        concert.schedules, concert.seats;
