-- Times of schedules leave as JSON, whose times (RFC 3339) have years of four
-- digits: none may be set that cannot be told.

alter table concert.schedules
    add constraint schedules_times_check
    check (starts_at >= '0001-01-01 00:00+00'
           and starts_at < '10000-01-01 00:00+00'
           and sale_opens_at >= '0001-01-01 00:00+00'
           and sale_opens_at < '10000-01-01 00:00+00');
