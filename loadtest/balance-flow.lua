-- For wrk, with a connection to a thread: a look at a balance, then a charge of
-- 6,000; then another user.  Counts pairs.  It is for capacity.lua.
dofile('loadtest/bench.lua')

local AMOUNT = 6000
local user

bench.step = 1
bench.names = { 'balance', 'charge' }

function request()
    if bench.step == 1 then
        user = user or math.random(bench.users)
        return bench.get('/api/balance/' .. user, user)
    end

    return bench.send('PUT', '/api/balance/charge', user,
                      '{"userId":' .. user .. ',"amount":' .. AMOUNT .. '}')
end

function response(status, headers, body)
    if status ~= 200 then
        bench.wrong(status, body)
        bench.step, user = 1, nil
        return
    end

    bench.step = bench.step + 1

    if bench.step > #bench.names then
        bench.step, user = 1, nil
        good = good + 1
    end
end
