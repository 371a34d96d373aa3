-- For wrk: a random user of all pays in a won.
dofile('loadtest/bench.lua')

function request()
    local user = math.random(bench.users)

    return bench.send('PUT', '/api/balance/charge', user,
                      '{"userId":' .. user .. ',"amount":1}')
end
