-- What a balance pays is a fact of its reservation, whose number the payment has;
-- the operation of a hold is looked up by its seats.

do $$
begin
    if exists (select
               from concert.reservations r
               where r.status = 'HELD'
                 and r.hold_until > now()
                 and r.reservation_id <= (select max(p.payment_id)
                                          from concert.payments p))
    then
        raise exception 'holds run whose numbers payments have'
            using hint = 'Stop the service until its holds have run out, and run '
                         'this again.';
    end if;
end
$$;

alter table concert.reservations
    drop constraint reservations_operation_key,
    add paid_operation uuid,
    add paid_at timestamptz;

comment on column concert.reservations.payment_id is 'null: none by card';
comment on column concert.reservations.paid_operation is
    'null: no balance has paid it';

select setval('concert.reservations_reservation_id_seq',
              greatest(s.last_value, (select max(p.payment_id)
                                      from concert.payments p)),
              s.is_called or exists (select from concert.payments))
from concert.reservations_reservation_id_seq s;

alter table concert.payments
    alter payment_id drop identity,
    alter payment_id set default nextval('concert.reservations_reservation_id_seq');
