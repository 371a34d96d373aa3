-- What every queue script begins with: the keys, the clock, the state, and
-- admission.  A script answers {epoch, serving, ended, now, pace, ...}: the
-- age of the data, the last number let in, how many tokens were ended before
-- their time, the clock in ms, and how many are let in in 10^9 s.
--
-- KEYS: queue   hash: the state
--       waiting zset: the ticket's number, by user
--       called  zset: who was let in and has not come yet: until when, in ms
--       active  zset: who is in: until when, in ms
--       ended   list: the users of the last tokens that were ended
--       seen0, seen1  bitmaps: which numbers asked in an even, an odd window
-- ARGV: capacity, rate in 1000 s (0: any), ttl and claim in ms, then the
-- script's own.
--
-- The clock is Redis's, so every nginx sees one time and needs no leader.

local queue, waiting, called, active = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ended_list, seen = KEYS[5], {[0] = KEYS[6], [1] = KEYS[7]}
local ttl, claim = tonumber(ARGV[3]), tonumber(ARGV[4])
local user = ARGV[5]

local NONE, WAITING, ACTIVE = 0, 1, 2
local MOST_ADMITTED = 500
local MOST_ENDED = 4000         -- users that the list of them keeps
local MINUTE = 60000
local BURST = 200               -- ms of the rate that may be let in at once

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function decimal(number)
    return string.format('%.0f', number)
end

local state = redis.call('HMGET', queue, 'epoch', 'last', 'serving', 'ended',
                         'minute', 'this', 'before', 'capacity', 'rate',
                         'paused', 'credit', 'credited', 'span')
local epoch, last = tonumber(state[1]), tonumber(state[2] or 0)
local serving, ended = tonumber(state[3] or 0), tonumber(state[4] or 0)

-- what an operator has set goes before the configuration
local capacity = tonumber(state[8] or ARGV[1])
local rate = tonumber(state[9] or ARGV[2])
local paused = state[10] == '1'

-- ms of a window of time, in which who waits should ask once
local WINDOW = tonumber(state[13] or 1800000)

-- No epoch: the data is new, or was lost.  Numbers of another epoch mean nothing.
if not epoch then
    epoch = time[1] * 1000000 + time[2]
    redis.call('DEL', waiting, called, active, ended_list, seen[0], seen[1])
    redis.call('HSET', queue, 'epoch', decimal(epoch))
end

-- Admissions of this minute and of the one before it.
local minute = math.floor(now / MINUTE)
local age = minute - tonumber(state[5] or 0)
local this, before = 0, 0

if age == 0 then
    this, before = tonumber(state[6] or 0), tonumber(state[7] or 0)
elseif age == 1 then
    before = tonumber(state[6] or 0)
end

-- How many are let in in 10^9 s: as in the last minute, but not fewer than as if
-- the places came free evenly.
local function pace()
    local seen_rate = (this + before * (1 - now % MINUTE / MINUTE))
                      * 1e12 / MINUTE

    local least = capacity * 1e12 / ttl

    if rate > 0 then
        least = math.min(least, rate * 1e6)
    end

    return math.min(math.max(1, math.floor(math.max(seen_rate, least))), 1e15)
end

local function answer(...)
    return {epoch, serving, ended, now, pace(), ...}
end

-- How many the rate allows now, and what is left of it when they went in.
local function allowed()
    if rate == 0 then
        return MOST_ADMITTED
    end

    local most = math.max(1, rate * BURST / 1000000)

    -- a clock that was set back must not stop admission
    local passed = math.max(0, now - tonumber(state[12] or 0))
    local credit = tonumber(state[11] or 0) + passed * rate / 1000000

    return math.min(most, credit)
end

-- Who was let in, or is in, and whose time is over loses the place; as many as
-- there are free places are let in, in the order of their numbers.  Returns
-- how many went in.
local function admit()
    redis.call('ZREMRANGEBYSCORE', active, '-inf', decimal(now))
    local missed = redis.call('ZREMRANGEBYSCORE', called, '-inf', decimal(now))

    if missed > 0 then
        redis.call('HINCRBY', queue, 'missed', missed)
    end

    if paused then
        return 0
    end

    local credit = allowed()

    if rate > 0 and tonumber(state[12] or 0) > now then
        redis.call('HSET', queue, 'credited', decimal(now))
    end

    local free = capacity - redis.call('ZCARD', active)
                 - redis.call('ZCARD', called)
    local most = math.min(free, math.floor(credit), MOST_ADMITTED)
    if most <= 0 then
        return 0
    end

    local next = redis.call('ZPOPMIN', waiting, most)
    local n = #next / 2
    if n == 0 then
        return 0
    end

    local ends = decimal(now + claim)
    for i = 1, #next, 2 do
        redis.call('ZADD', called, ends, next[i])
    end

    this = this + n
    serving = tonumber(next[#next])
    redis.call('HSET', queue, 'serving', decimal(serving),
               'minute', decimal(minute), 'this', decimal(this),
               'before', decimal(before))

    if rate > 0 then
        redis.call('HSET', queue, 'credit', tostring(credit - n),
                   'credited', decimal(now))
    end

    return n
end

-- Ends a user's token, if there is one, and lets every nginx know.
local function finish()
    local found = redis.call('ZREM', waiting, user)
                  + redis.call('ZREM', called, user)
                  + redis.call('ZREM', active, user)

    if found > 0 then
        ended = redis.call('HINCRBY', queue, 'ended', 1)
        redis.call('RPUSH', ended_list, user)
        redis.call('LTRIM', ended_list, -MOST_ENDED, -1)
    end

    return found
end

local function window()
    return math.floor(now / WINDOW)
end

local function saw(number)
    local offset = number - tonumber(
        redis.call('HGET', queue, 'base' .. window() % 2) or 0)

    if offset >= 0 then
        redis.call('SETBIT', seen[window() % 2], decimal(offset), 1)
    end
end

-- status, number, end in ms.  Who asks has come: from now on the place is kept
-- for the whole time.
local function ticket()
    local ends = tonumber(redis.call('ZSCORE', active, user) or 0)
    if ends > now then
        return ACTIVE, 0, ends
    end

    ends = tonumber(redis.call('ZSCORE', called, user) or 0)
    if ends > now then
        ends = math.min(ends - claim, now) + ttl
        redis.call('ZREM', called, user)
        redis.call('ZADD', active, decimal(ends), user)
        return ACTIVE, 0, ends
    end

    local number = tonumber(redis.call('ZSCORE', waiting, user) or 0)
    if number > 0 then
        return WAITING, number, 0
    end

    return NONE, 0, 0
end
