-- wrk: each request asks for the token of a random user among TICKETS, from FIRST on.
local first = tonumber(os.getenv('FIRST'))
local last = first + tonumber(os.getenv('TICKETS')) - 1

function init()
    math.randomseed(os.time())
end

function request()
    return wrk.format('GET', '/api/token/' .. math.random(first, last))
end
