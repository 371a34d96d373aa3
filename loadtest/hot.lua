-- For wrk: everybody wants one of HOT seats of the last schedule, and who got
-- one gives it back.  Counts all answers, a 409 too.
dofile('loadtest/bench.lua')

local seats = tonumber(os.getenv('HOT'))
local won = {}

function request()
    local held = table.remove(won)

    if held then
        return bench.send('DELETE', '/api/reservations/' .. held.reservation,
                          held.user, '')
    end

    return bench.reserve(bench.with_token(), bench.schedules,
                         math.random(seats))
end

function response(status, headers, body)
    if status == 200 then
        table.insert(won, { user = body:match('"userId":(%d+)'),
                            reservation = body:match('"reservationId":(%d+)') })
    elseif status ~= 204
           and not (status == 409 and body:find('seat_taken', 1, true))
    then
        bench.wrong(status, body)
    end

    good = good + 1
end
