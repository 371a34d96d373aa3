-- For wrk: the page ROUTE, as a random user.
dofile('loadtest/bench.lua')

local route = os.getenv('ROUTE')

function request()
    return bench.get(route, bench.with_token())
end
