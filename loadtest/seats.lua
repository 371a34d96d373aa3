-- For wrk: the first page of a random schedule of KIND (sold or free), as a
-- random user.
dofile('loadtest/bench.lua')

local first, last = 1, bench.sold

if os.getenv('KIND') == 'free' then
    first, last = bench.sold + 1, bench.sold + bench.free
end

function request()
    return bench.get('/api/concerts/seats/' .. math.random(first, last),
                     bench.with_token())
end
