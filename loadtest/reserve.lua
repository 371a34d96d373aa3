-- For wrk: one seat a request, never the same.
dofile('loadtest/bench.lua')

function request()
    return bench.reserve(bench.with_token(), bench.seat())
end
