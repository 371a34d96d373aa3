-- The proof: every rule that must hold, and how many rows break it.

create function concert.violations() returns table (rule text, broken bigint)
language sql stable as $$
    select 'a balance equals the sum of its ledger rows', count(*)
    from concert.accounts a
    left join (select l.account_id, sum(l.amount) as amount
               from concert.ledger l
               group by l.account_id) l on l.account_id = a.account_id
    where a.balance <> coalesce(l.amount, 0)
    union all
    select 'the ledger sums to zero', count(*)
    from (select sum(l.amount) as amount from concert.ledger l) t
    where t.amount <> 0
    union all
    select 'a seat is in at most one paid reservation', count(*)
    from (select
          from concert.reservations r
          cross join lateral unnest(r.seat_ids) as u (seat_id)
          where r.status in ('PAYING', 'PAID')
          group by r.schedule_id, u.seat_id
          having count(*) > 1) d
    union all
    select 'a paid reservation has its seats for good', count(*)
    from concert.reservations r
    cross join lateral unnest(r.seat_ids) as u (seat_id)
    left join concert.seats s on s.schedule_id = r.schedule_id
                             and s.seat_id = u.seat_id
                             and s.reservation_id = r.reservation_id
                             and s.hold_until = 'infinity'
    where r.status in ('PAYING', 'PAID')
      and s.seat_id is null
    union all
    select 'a sold seat has its reservation', count(*)
    from concert.seats s
    left join concert.reservations r on r.reservation_id = s.reservation_id
                                    and r.status in ('PAYING', 'PAID')
    where s.hold_until = 'infinity'
      and r.reservation_id is null
    union all
    select 'a paid reservation has exactly one payment, of its price', count(*)
    from concert.reservations r
    left join (select p.reservation_id, count(*) as payments, sum(p.amount) as amount
               from concert.all_payments p
               where p.status = 'PAID'
               group by p.reservation_id) p on p.reservation_id = r.reservation_id
    where r.status = 'PAID'
      and (p.payments is distinct from 1 or p.amount <> r.total_price)
    union all
    select 'a payment has its paid reservation', count(*)
    from concert.all_payments p
    left join concert.reservations r
           on r.reservation_id = p.reservation_id
          and coalesce(r.payment_id, r.reservation_id) = p.payment_id
          and r.status = 'PAID'
    where p.status = 'PAID'
      and p.reservation_id is not null
      and r.reservation_id is null
    union all
    select 'sales equal the payments', count(*)
    from (select (select coalesce(sum(l.amount), 0)
                  from concert.ledger l
                  where l.account_id = 0)
                 - (select coalesce(sum(p.amount), 0)
                    from concert.all_payments p
                    where p.reservation_id is not null
                      and concert.payment_moved(p)
                      and p.status <> 'REFUNDED') as difference) t
    where t.difference <> 0
    union all
    select 'what the gateway paid equals the payments by card', count(*)
    from (select (select coalesce(sum(case t.debit_account when -1 then t.amount
                                                           else -t.amount end), 0)
                  from concert.transfers t
                  where (t.debit_account, t.credit_account) in ((-1, 0), (0, -1)))
                 - (select coalesce(sum(p.amount), 0)
                    from concert.all_payments p
                    where p.method = 'card'
                      and p.reservation_id is not null
                      and p.transfer_id is not null
                      and p.status <> 'REFUNDED') as difference) t
    where t.difference <> 0
    union all
    select 'a payment has its transfer, and no other payment has it', count(*)
    from concert.all_payments p
    left join concert.transfers t
           on t.transfer_id = p.transfer_id
          and t.operation = p.operation
          and t.amount = p.amount
          and t.debit_account = concert.payment_debit(p)
          and t.credit_account = concert.payment_credit(p)
    where (t.transfer_id is null)
          <> (p.status in ('PENDING', 'DECLINED')
              or (p.status in ('REFUNDING', 'REFUNDED') and p.transfer_id is null)
              or p.method = 'balance')
    union all
    select 'a refund gives back what was paid, once', count(*)
    from concert.all_payments p
    left join concert.refunds f on f.payment_id = p.payment_id
    left join concert.transfers t
           on t.transfer_id = f.transfer_id
          and t.operation = f.operation
          and t.amount = p.amount
          and t.debit_account = concert.payment_credit(p)
          and t.credit_account = concert.payment_debit(p)
    where (t.transfer_id is not null)
          <> (p.status = 'REFUNDED' and concert.payment_moved(p))
    union all
    select 'a pending payment has its paying reservation', count(*)
    from concert.all_payments p
    left join concert.reservations r on r.payment_id = p.payment_id
                                    and r.status = 'PAYING'
    where p.status = 'PENDING'
      and p.reservation_id is not null
      and r.reservation_id is null
    union all
    select 'a paying reservation has its pending payment', count(*)
    from concert.reservations r
    left join concert.all_payments p on p.payment_id = r.payment_id
                                and p.reservation_id = r.reservation_id
                                and p.amount = r.total_price
                                and p.status = 'PENDING'
    where r.status = 'PAYING'
      and p.payment_id is null
    union all
    select 'a payment by card has what belongs to its state', count(*)
    from concert.all_payments p
    where (p.method = 'card' or p.status <> 'PAID')
      and concert.payment_is_whole(p.payment_id) is not true
    union all
    select 'an order or a refund that names a payment has it', count(*)
    from (select payment_id
          from concert.orders
          where payment_id is not null
          union
          select payment_id
          from concert.refunds) n
    left join concert.all_payments p on p.payment_id = n.payment_id
    where p.payment_id is null
    union all
    select 'a number is that of one payment', count(*)
    from (select
          from concert.all_payments p
          group by p.payment_id
          having count(*) > 1) d
    union all
    select 'an operation holds seats once', count(*)
    from (select
          from concert.reservations r
          where r.status in ('PAYING', 'PAID')
             or (r.status = 'HELD' and r.hold_until > now())
          group by r.operation
          having count(*) > 1) d
    union all
    select 'a hold that runs out is waited for', count(*)
    from concert.reservations r
    left join (select u.id, min(h.hold_until) as hold_until
               from concert.holds h
               cross join lateral unnest(h.reservation_ids) as u (id)
               group by u.id) h on h.id = r.reservation_id
    where r.status = 'HELD'
      and (h.id is null or h.hold_until > r.hold_until)
$$;
