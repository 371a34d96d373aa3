-- What every queue script begins with: the keys, the clock, the state, and
-- admission.  A script answers {epoch, serving, ...}.
--
-- KEYS: queue (hash), waiting (zset, ticket number by user), active (zset, end
-- in ms by user).  ARGV: capacity, ttl in ms, then the script's own.
-- The clock is Redis's, so every nginx sees one time and needs no leader.

local queue, waiting, active = KEYS[1], KEYS[2], KEYS[3]
local capacity, ttl = tonumber(ARGV[1]), tonumber(ARGV[2])
local user = ARGV[3]

local NONE, WAITING, ACTIVE = 0, 1, 2
local MOST_ADMITTED = 500
local MINUTE = 60000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function decimal(number)
    return string.format('%.0f', number)
end

local state = redis.call('HMGET', queue, 'epoch', 'last', 'serving')
local epoch, last = tonumber(state[1]), tonumber(state[2] or 0)
local serving = tonumber(state[3] or 0)

-- No epoch: the data is new, or was lost.  Numbers of another epoch mean nothing.
if not epoch then
    epoch = time[1] * 1000000 + time[2]
    redis.call('DEL', waiting, active)
    redis.call('HSET', queue, 'epoch', decimal(epoch))
end

-- Admissions of this minute and of the one before it, for the estimate.
local function admissions()
    local seen = redis.call('HMGET', queue, 'minute', 'this', 'before')
    local minute = math.floor(now / MINUTE)
    local age = minute - tonumber(seen[1] or 0)

    if age == 0 then
        return minute, tonumber(seen[2] or 0), tonumber(seen[3] or 0)
    elseif age == 1 then
        return minute, 0, tonumber(seen[2] or 0)
    end

    return minute, 0, 0
end

-- Lets in as many as there are free places, in the order of their numbers.
local function admit()
    redis.call('ZREMRANGEBYSCORE', active, '-inf', decimal(now))

    local free = capacity - redis.call('ZCARD', active)
    if free <= 0 then
        return 0
    end

    local next = redis.call('ZPOPMIN', waiting, math.min(free, MOST_ADMITTED))
    if #next == 0 then
        return 0
    end

    local ends = decimal(now + ttl)
    for i = 1, #next, 2 do
        redis.call('ZADD', active, ends, next[i])
    end

    local minute, this, before = admissions()
    serving = tonumber(next[#next])
    redis.call('HSET', queue, 'serving', decimal(serving),
               'minute', decimal(minute), 'this', decimal(this + #next / 2),
               'before', decimal(before))

    return #next / 2
end

-- Seconds until a place at this position is let in: from the rate of the last
-- minute or, before anybody was, as if the places came free evenly.
local function estimate(position)
    local _, this, before = admissions()
    local rate = (this + before * (1 - now % MINUTE / MINUTE)) / MINUTE

    if rate == 0 then
        rate = capacity / ttl
    end

    return math.ceil(position / rate / 1000)
end

-- {epoch, serving, status, position, waiting seconds, end in ms}
local function ticket()
    local ends = tonumber(redis.call('ZSCORE', active, user) or 0)
    if ends > now then
        return {epoch, serving, ACTIVE, 0, 0, ends}
    end

    local number = tonumber(redis.call('ZSCORE', waiting, user) or 0)
    if number > 0 then
        local position = number - serving
        return {epoch, serving, WAITING, position, estimate(position), 0}
    end

    return {epoch, serving, NONE, 0, 0, 0}
end
