-- wrk, one thread: users FIRST, FIRST + 1 ... enter, up to LAST if it is given.
local user = tonumber(os.getenv('FIRST')) - 1
local last = tonumber(os.getenv('LAST') or math.huge)
local answered = user

wrk.method = 'POST'

function request()
    user = user + 1
    return wrk.format(nil, '/api/token', nil, '{"userId": ' .. user .. '}')
end

function response()
    answered = answered + 1
    if answered >= last then
        wrk.thread:stop()
    end
end
