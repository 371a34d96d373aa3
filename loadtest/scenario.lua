-- For wrk, with a connection to a thread: the whole way of a user, from the
-- token to the payment, which ends it; then that of the next.  Counts ways.
dofile('loadtest/bench.lua')

local user, schedule, seat, reservation
local steps

bench.step = 1
bench.names = { 'token', 'get-token', 'status-check', 'get-concerts',
                'get-schedule', 'get-seat', 'reservation', 'payment' }

steps = {
    { function()
          local body = '{"userId":' .. user .. '}'
          return bench.send('POST', '/api/token', user, body)
      end, '"ACTIVE"' },
    { function() return bench.get('/api/token/' .. user, user) end,
      '"ACTIVE"' },
    { function() return bench.get('/api/token/status/' .. user, user) end,
      'true' },
    { function() return bench.get('/api/concerts', user) end, '"concertId"' },
    { function()
          return bench.get('/api/concerts/schedules/'
                           .. bench.concert_of(schedule), user)
      end, '"scheduleId"' },
    { function()
          return bench.get('/api/concerts/seats/' .. schedule, user)
      end, '"AVAILABLE"' },
    { function() return bench.reserve(user, schedule, seat) end, '"HELD"' },
    { function() return bench.pay(user, reservation) end, '"PAID"' },
}

-- wrk asks once more than it sends: only an answer leads to the next step
function request()
    if not user then
        local n

        schedule, seat, n = bench.seat()
        user = bench.user_of(n)
    end

    return steps[bench.step][1]()
end

function response(status, headers, body)
    if status ~= 200 or not body:find(steps[bench.step][2], 1, true) then
        bench.wrong(status, bench.names[bench.step] .. ': ' .. body)
        bench.step, user = 1, nil
        return
    end

    reservation = body:match('"reservationId":(%d+)')
    bench.step = bench.step + 1

    if bench.step > #steps then
        bench.step, user = 1, nil
        good = good + 1
    end
end

-- a rate is one of ways
if delay then
    local begin = delay

    function delay()
        return user and 0 or begin()
    end
end
