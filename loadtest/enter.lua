-- wrk, one thread: users FIRST, FIRST + 1 ... enter.
local user = tonumber(os.getenv('FIRST')) - 1

wrk.method = 'POST'

function request()
    user = user + 1
    return wrk.format(nil, '/api/token', nil, '{"userId": ' .. user .. '}')
end
