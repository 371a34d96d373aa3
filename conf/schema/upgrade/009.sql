-- From the schema of 001 to 008 to that by subject: see 10_tables.sql for why.

create domain concert.won as bigint
    check (value between 0 and 9007199254740991);

create domain concert.account as bigint
    check (value between -1 and 9007199254740991);

create domain concert.user_id as bigint
    check (value between 1 and 9007199254740991);

create domain concert.price as bigint
    check (value between 0 and 1000000000000);

create domain concert.moment as timestamptz
    check (isfinite(value));

create domain concert.reservation_state as text
    check (value in ('HELD', 'PAYING', 'PAID', 'EXPIRED', 'CANCELLED'));

alter table concert.payments
    drop constraint payments_reservation_id_fkey,
    drop constraint payments_transfer_id_fkey;

alter table concert.refunds
    drop constraint refunds_transfer_id_fkey;

alter table concert.reservations
    drop constraint reservations_payment_id_reservation_id_fkey,
    drop constraint reservations_user_id_fkey;


-- Money.  A payment from a balance moves its money by itself.

delete from concert.transfers t
using concert.payments p
where p.method = 'balance'
  and t.transfer_id = p.transfer_id;

alter table concert.payments
    drop constraint payment_moved_its_money;

update concert.payments
set transfer_id = null
where method = 'balance'
  and transfer_id is not null;

alter table concert.accounts
    drop constraint accounts_account_id_check,
    drop constraint accounts_balance_check,
    alter column account_id type concert.user_id,
    alter column balance type concert.won;

alter table concert.transfers
    drop constraint transfers_pkey,
    drop constraint transfers_operation_key,
    drop constraint transfers_debit_account_check,
    drop constraint transfers_credit_account_check,
    drop constraint transfers_amount_check,
    drop constraint transfers_check,
    alter column debit_account type concert.account,
    alter column credit_account type concert.account,
    alter column amount type concert.won,
    add primary key (operation),
    add check (amount > 0 and debit_account <> credit_account);


-- The catalog and the seats.

alter table concert.schedules
    drop constraint schedules_starts_at_check,
    drop constraint schedules_sale_opens_at_check;

alter table concert.seats
    drop constraint seats_price_check,
    alter column price type concert.price,
    set (fillfactor = 80);


-- Reservations, and when to look at those that are held.

drop index concert.reservations_held;

alter table concert.reservations
    drop constraint reservations_seat_ids_check,
    drop constraint reservations_total_price_check,
    drop constraint reservations_status_check,
    drop constraint reservations_hold_until_check,
    drop constraint reservations_check,
    alter column total_price type concert.won,
    alter column status type concert.reservation_state,
    alter column hold_until type concert.moment,
    set (fillfactor = 60);

create table concert.holds (
    hold_until       timestamptz not null,
    reservation_ids  bigint[] not null
);

create index holds_by_time on concert.holds (hold_until);

insert into concert.holds (hold_until, reservation_ids)
select r.hold_until, array_agg(r.reservation_id)
from concert.reservations r
where r.status = 'HELD'
group by r.hold_until;


-- Payments.

drop index concert.payments_one_live;

create function concert.payment_is_of_its_kind(
    p_method text, p_status text, p_amount bigint, p_reservation bigint)
returns boolean
language plpgsql immutable as $$
begin
    return case p_method
        when 'balance' then p_status in ('PAID', 'REFUNDED')
                            and p_reservation is not null
        when 'card' then p_amount > 0
                         and p_status in ('PENDING', 'PAID', 'DECLINED',
                                          'REFUNDING', 'REFUNDED')
        else false end;
end
$$;

create function concert.payment_moved_its_money(
    p_method text, p_status text, p_transfer bigint)
returns boolean
language plpgsql immutable as $$
begin
    return case
        when p_method = 'balance' then p_transfer is null
        when p_status = 'PAID' then p_transfer is not null
        when p_status in ('PENDING', 'DECLINED') then p_transfer is null
        else true end;
end
$$;

alter table concert.payments
    drop constraint payments_payment_id_reservation_id_key,
    drop constraint payments_operation_key,
    drop constraint payments_amount_check,
    drop constraint payment_is_of_its_kind,
    alter column amount type concert.won,
    add primary key (payment_id),
    add constraint payment_is_of_its_kind
        check (concert.payment_is_of_its_kind(method, status, amount,
                                              reservation_id)),
    add constraint payment_moved_its_money
        check (concert.payment_moved_its_money(method, status, transfer_id));

comment on column concert.payments.transfer_id is 'null: no card has paid it';
