-- What must hold after a load test that began with fresh demo data: a row a
-- rule, with how many rows break it. psql variables: `summary`, what k6
-- exported; `told`, 1 if the script counts what its clients were told;
-- `charged`, what the demo data had charged already.

select rule, broken
from concert.violations()
union all
select 'the ledger has every payment and charge that was answered, and beyond '
       || 'them at most what nobody could be told',
       count(*)
from (
    select (select coalesce(sum(l.amount), 0)
            from concert.ledger l
            where l.account_id = 0) as paid,
           (select coalesce(-sum(l.amount), 0)
            from concert.ledger l
            where l.account_id = -1) - :charged as charged,
           coalesce((k6 -> 'won_paid' ->> 'count')::numeric, 0)
               as told_paid,
           coalesce((k6 -> 'won_charged' ->> 'count')::numeric, 0)
               as told_charged,
           coalesce((k6 -> 'unsure_paid' ->> 'count')::numeric, 0)
               as unsure_paid,
           coalesce((k6 -> 'unsure_charged' ->> 'count')::numeric, 0)
               as unsure_charged
    from (select :'summary'::jsonb -> 'metrics' as k6) s
) t
where :told = 1
  and (paid not between told_paid and told_paid + unsure_paid
       or charged not between told_charged and told_charged + unsure_charged);
