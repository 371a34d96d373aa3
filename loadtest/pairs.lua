-- For wrk: reserves a seat, then pays it; counts what is paid.  Paying ends a
-- token, so each pair is of another user.
dofile('loadtest/bench.lua')

local due = {}

function request()
    local paying = table.remove(due)

    if paying then
        return bench.pay(paying.user, paying.reservation)
    end

    local schedule, seat, n = bench.seat()

    return bench.reserve(bench.user_of(n), schedule, seat)
end

function response(status, headers, body)
    if status ~= 200 then
        bench.wrong(status, body)
    end

    if body:find('"paymentId"', 1, true) then
        good = good + 1
        return
    end

    table.insert(due, { user = body:match('"userId":(%d+)'),
                        reservation = body:match('"reservationId":(%d+)') })
end
