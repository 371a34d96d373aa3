-- What must hold after faults.js, as in proof.sql: the ledger has all that the
-- clients were told, and beyond it at most what they could not be told.

select rule, broken
from concert.violations()
union all
select 'the ledger has what was told, and no more than was asked', count(*)
from (
    select (select coalesce(sum(l.amount), 0)
            from concert.ledger l
            where l.account_id = 0) as paid,
           (select coalesce(-sum(l.amount), 0)
            from concert.ledger l
            where l.account_id = -1) - :charged as charged,
           coalesce((k6 -> 'told_paid' ->> 'count')::numeric, 0) as told_paid,
           coalesce((k6 -> 'unsure_paid' ->> 'count')::numeric, 0)
               as unsure_paid,
           coalesce((k6 -> 'told_charged' ->> 'count')::numeric, 0)
               as told_charged,
           coalesce((k6 -> 'unsure_charged' ->> 'count')::numeric, 0)
               as unsure_charged
    from (select :'summary'::jsonb -> 'metrics' as k6) s
) t
where paid not between told_paid and told_paid + unsure_paid
   or charged not between told_charged and told_charged + unsure_charged;
