-- For wrk, with a connection to a thread: a step of the search for the greatest
-- rate, as capacity.js is one for k6.  FLOW is `reservation` (scenario.lua) or
-- `balance` (balance-flow.lua); ways begin RATE times a second on a timetable,
-- however long the others take.  As wrk2 does it, the first request of a way counts
-- from when the way was due, so that who waits for a connection is not left out;
-- the others begin when the one before is answered.
--
-- Prints lines of "NAME VALUE", where requests and their times are those after the
-- first second, as wrk opens its connections then; `good`, `unsure`, `dropped`
-- (ways given up) and `seats` (numbers that nobody else may take) are of all ways.
local WARM_MS = 1000
local PER_MS = 4                -- buckets of a millisecond
local MOST_MS = 10000
local LATE_MS = 1000            -- who cannot keep up gives up what is older
local flow = os.getenv('FLOW')

if flow == 'reservation' then
    dofile('loadtest/scenario.lua')
else
    dofile('loadtest/balance-flow.lua')
end

local its_request, its_response, its_setup = request, response, setup
local wrong_answers = 0
local asked

times = {}      -- "route bucket": how many; wrk copies no deeper tables
wrongs = {}     -- "route:status": how many
requests, ways, wrong, unsure, dropped, seats = 0, 0, 0, 0, 0, 0
began, ended = bench.now(), 0

-- a wrong answer is counted, and its way ends
function bench.wrong(status)
    local what = bench.names[bench.step] .. ':' .. status

    wrong_answers = wrong_answers + 1
    wrongs[what] = (wrongs[what] or 0) + 1

    if status == 504 then
        unsure = unsure + 1
    end
end

local its_seat = bench.seat

function bench.seat()
    seats = seats + 1
    return its_seat()
end

local threads_in_all = tonumber(os.getenv('WRK_THREADS'))
local each_ms = 1000 * threads_in_all / tonumber(os.getenv('RATE'))
local due

-- a connection that waits for its time is asked when it has come
function request()
    asked = bench.now()

    if bench.step == 1 and due then
        asked = math.min(asked, due)
    end

    return its_request()
end

-- A way that has begun goes on at once.  Each thread has a timetable of its own,
-- so that they do not come together.
function delay()
    if bench.step > 1 then
        return 0
    end

    local now = bench.now()

    began = due and began or now
    due = due and due + each_ms or now + math.random() * each_ms

    if due < now - LATE_MS then
        dropped = dropped + (now - LATE_MS - due) / each_ms
        due = now - LATE_MS
    end

    return math.max(0, due - now)
end

local function count(name, ms)
    local key = name .. ' ' .. math.floor(math.min(ms, MOST_MS) * PER_MS)

    times[key] = (times[key] or 0) + 1
    requests = requests + 1
end

function response(status, headers, body)
    local now = bench.now()
    local name = bench.names[bench.step]
    local good_before, wrong_before = good, wrong_answers

    its_response(status, headers, body)
    ended = now

    if now - began < WARM_MS then
        return
    end

    count(name, now - asked)
    ways = ways + good - good_before
    wrong = wrong + wrong_answers - wrong_before
end


local threads = {}

function setup(thread)
    its_setup(thread)
    table.insert(threads, thread)
end

local function add(to, bucket, n)
    to[bucket] = (to[bucket] or 0) + n
end

local function percentile(of, share)
    local buckets, total, sum = {}, 0, 0

    for bucket, n in pairs(of) do
        table.insert(buckets, bucket)
        total = total + n
    end

    table.sort(buckets)

    for _, bucket in ipairs(buckets) do
        sum = sum + of[bucket]

        if sum >= share * total then
            return (bucket + 1) / PER_MS
        end
    end

    return 0
end

local function say(name, value)
    io.write(string.format('%s %.3f\n', name, value))
end

function done(summary)
    local all, routes, not_well, errors = {}, {}, {}, summary.errors
    local lost = errors.connect + errors.read + errors.write + errors.timeout
    local sums = { requests = 0, ways = 0, wrong = 0, unsure = 0, good = 0,
                   dropped = 0 }
    local rates = { requests = 0, ways = 0 }
    local last, most_seats = 0, 0

    for _, thread in ipairs(threads) do
        last = math.max(last, thread:get('ended'))
        most_seats = math.max(most_seats, thread:get('seats'))
    end

    for _, thread in ipairs(threads) do
        for name in pairs(sums) do
            sums[name] = sums[name] + thread:get(name)
        end

        -- they begin one after the other, and end together
        for name in pairs(rates) do
            rates[name] = rates[name] + thread:get(name)
                          / ((last - thread:get('began') - WARM_MS) / 1000)
        end

        for what, n in pairs(thread:get('wrongs')) do
            add(not_well, what, n)
        end

        for key, n in pairs(thread:get('times')) do
            local name, bucket = key:match('^(%S+) (%d+)$')

            bucket = tonumber(bucket)
            routes[name] = routes[name] or {}
            add(routes[name], bucket, n)
            add(all, bucket, n)
        end
    end

    for name, value in pairs(sums) do
        say(name, value)
    end

    for name, value in pairs(rates) do
        say(name .. '_a_second', value)
    end

    say('lost', lost)
    say('seats', most_seats * threads_in_all)

    for _, share in ipairs({ 50, 95, 99 }) do
        say('p' .. share, percentile(all, share / 100))
    end

    for what, n in pairs(not_well) do
        say('wrong:' .. what, n)
    end

    for name, of in pairs(routes) do
        say('p95:' .. name, percentile(of, 0.95))
    end
end
