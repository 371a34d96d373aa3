# shellcheck shell=bash
# The module's statements, as pgbench sends them.

# a seat that nobody else takes: :n is the client's own, :c their number
sql_seat() {
    cat <<END
\\set n :n + 1
\\set m :base + (:n - 1) * :c + :client_id
\\set schedule $SOLD + 1 + :m % $FREE
\\set seat 1 + :m / $FREE
\\set u random(1, $TOKENS)
END
}

sql_hot_seat() {
    cat <<END
\\set schedule $SCHEDULES
\\set seat random(1, $HOT)
\\set u random(1, $TOKENS)
END
}

# sql_reserve "COLUMNS"
sql_reserve() {
    cat <<END
\\set concert 1 + (:schedule - 1) * $CONCERTS / $SCHEDULES
select $1 from concert.reserve(array[gen_random_uuid()], array[:u]::bigint[],
    array[:concert]::bigint[], array[:schedule]::bigint[],
    array['{' || :seat::text || '}'], $DAY_MS, null)
END
}

sql_pay() {
    cat <<END
select * from concert.pay(array[gen_random_uuid()], array[:u]::bigint[],
    array[:id]::bigint[], array[:price]::bigint[]);
END
}

sql_charge() {
    cat <<END
\\set u random(1, $USERS)
select * from concert.charge(array[gen_random_uuid()], array[:u]::bigint[],
    array[1]::bigint[]);
END
}

sql_balance() {
    cat <<END
\\set u random(1, $USERS)
select balance from concert.accounts where account_id = :u;
END
}

# sql_seats FIRST LAST: a page of a schedule among these
sql_seats() {
    cat <<END
\\set schedule random($1, $2)
\\set spread random(0, 1000000000)
select * from concert.seats_page(array[:schedule::bigint],
    array[null::bigint], array[null::bigint], array[:spread::bigint],
    array[101::bigint]);
END
}

# a seat, and who pays it
sql_sale() {
    sql_seat
    echo "\\set u 1 + :m % $USERS"
}

sql_pair() {
    sql_sale
    sql_reserve 'reservation_id as id, total_price as price'
    echo '\gset'
    sql_pay
}

sql_hot() {
    sql_hot_seat
    sql_reserve "(outcome = 'ok')::int as won, coalesce(reservation_id, 0) as id"
    cat <<END
\\gset
\\if :won
select outcome from concert.cancel(array[:u]::bigint[], array[:id]::bigint[]);
\\endif
END
}

# the whole way of a user, of the statements that PostgreSQL runs
sql_scenario() {
    cat <<END
\\set concert random($(concert_of $(( SOLD + 1 ))), $CONCERTS)
select * from concert.concerts_page(0, 101);
select * from concert.schedules_page(:concert, 0, 101);
END
    sql_sale
    cat <<END
\\set spread random(0, 1000000000)
select * from concert.seats_page(array[:schedule::bigint],
    array[null::bigint], array[null::bigint], array[:spread::bigint],
    array[101::bigint]);
END
    sql_reserve 'reservation_id as id, total_price as price'
    echo '\gset'
    sql_pay
}

# concert_of SCHEDULE
concert_of() { echo $(( 1 + ($1 - 1) * CONCERTS / SCHEDULES )); }
