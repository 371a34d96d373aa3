-- For wrk: GET /api/balance/{userId} of a random user of all.
dofile('loadtest/bench.lua')

function request()
    return 'GET /api/balance/' .. math.random(bench.users)
           .. ' HTTP/1.1\r\nHost: x\r\n\r\n'
end
