-- For wrk: GET /api/balance/{userId} of a random user of the demo data.

local USERS = 10000
local requests = {}

function init()
    math.randomseed(os.time())

    for i = 1, USERS do
        requests[i] = wrk.format("GET", "/api/balance/" .. i)
    end
end

function request()
    return requests[math.random(USERS)]
end
