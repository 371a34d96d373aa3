-- What the scripts of `make bench` for wrk share; made for `dofile`.  Each sets
-- `request`, and `response` if what comes back matters to it.
--
-- From the environment: USERS with money, TOKENS of them with a token;
-- SCHEDULES, of which SOLD are sold out, FREE are free and the last is for HOT; BASE, the
-- number of the first seat that nobody else takes; WRK_THREADS, how many there
-- are; RATE, how many
-- requests a second to make at most; WATCH=1 to say what the first wrong answer
-- was.

local ffi = require('ffi')

ffi.cdef [[
    typedef struct { long sec; long nsec; } bench_time;
    int clock_gettime(int clock, bench_time *time);
]]

local function number(name)
    return tonumber(os.getenv(name))
end

bench = {
    users = number('USERS'), tokens = number('TOKENS'),
    sold = number('SOLD'), free = number('FREE'),
    schedules = number('SCHEDULES'), concerts = number('CONCERTS'),
    price = number('PRICE'), good = 0,
}

local threads_in_all = number('WRK_THREADS') or 1
local taken = 0                         -- seats
local rate = number('RATE')
local time = ffi.new('bench_time')

-- in ms
function bench.now()
    ffi.C.clock_gettime(1, time)
    return tonumber(time.sec) * 1000 + tonumber(time.nsec) / 1000000
end

math.randomseed(bench.now())

function bench.get(path, user)
    return 'GET ' .. path .. ' HTTP/1.1\r\nHost: x\r\nuserId: ' .. user
           .. '\r\n\r\n'
end

function bench.send(method, path, user, body)
    return method .. ' ' .. path .. ' HTTP/1.1\r\nHost: x\r\nuserId: ' .. user
           .. '\r\nContent-Length: ' .. #body .. '\r\n\r\n' .. body
end

function bench.with_token()
    return math.random(bench.tokens)
end

function bench.concert_of(schedule)
    return 1 + math.floor((schedule - 1) * bench.concerts / bench.schedules)
end

-- schedule, seat, n: one that was never given before, of each schedule in turn;
-- the nth of all
function bench.seat()
    local n = number('BASE') + taken * threads_in_all + thread_number

    taken = taken + 1
    return bench.sold + 1 + n % bench.free, 1 + math.floor(n / bench.free), n
end

-- for a seat that is paid: nobody else has it, or pays another at the time
function bench.user_of(n)
    return 1 + n % bench.users
end

function bench.reserve(user, schedule, seat)
    return bench.send('POST', '/api/reservations/seats', user,
        '{"userId":' .. user .. ',"concertId":' .. bench.concert_of(schedule)
        .. ',"scheduleId":' .. schedule .. ',"seatIdList":[' .. seat .. ']}')
end

function bench.pay(user, reservation)
    return bench.send('POST', '/api/reservations/payments', user,
        '{"userId":' .. user .. ',"reservationId":' .. reservation
        .. ',"amount":' .. bench.price .. '}')
end

function bench.wrong(status, body)
    io.stderr:write('wrong answer: ', status, ' ', body or '', '\n')
    os.exit(1)
end


-- Threads (wrk's -t) have a state each; `done` has one of its own.

local threads = {}

function setup(thread)
    thread:set('thread_number', #threads)
    table.insert(threads, thread)
end

-- to be told of the good answers, a script counts them in `good`
good = 0

function done(summary, latency)
    local sum = 0

    for _, thread in ipairs(threads) do
        sum = sum + thread:get('good')
    end

    if sum > 0 then
        io.write(string.format('good: %d in %f s\n', sum,
                               summary.duration / 1000000))
    end

    io.write(string.format('p99: %.3f ms\n',
                           latency:percentile(99) / 1000))
end

if os.getenv('WATCH') then
    function response(status, headers, body)
        if status >= 300 then
            bench.wrong(status, body)
        end
    end
end

-- Requests start at their times, however long the others take.
if rate then
    local slot

    function delay()
        local now = bench.now()

        slot = math.max((slot or now) + 1000 * threads_in_all / rate,
                        now - 1000)
        return math.max(0, slot - now)
    end
end
