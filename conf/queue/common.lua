-- What every queue script begins with: the keys, the clock, the state, and
-- admission.  A script answers {epoch, serving, ended, now, pace, ...}: the
-- age of the data, the last number let in, how many tokens were ended before
-- their time, the clock in ms, and how many are let in in 10^9 s.
--
-- KEYS: queue   hash: the state, and what the job notes
--       waiting zset: the ticket's number, by user
--       called  zset: who was let in and has not come yet: until when, in ms
--       active  zset: who is in: until when, in ms
--       ended   list: the users of the last tokens that were ended
--       seen0, seen1  bitmaps: which numbers asked in an even, an odd window
--       drawn   zset: the pre-queue: the rank key, by user
--       absent  set: who of these left after the opening
-- ARGV: capacity, rate in 1000 s (0: any), ttl and claim in ms, the opening in
-- ms (0: none), whether it has a draw ("1"), then the script's own.
--
-- The clock is Redis's, so every nginx sees one time and needs no leader.
--
-- A crowd enters here, so what a script does for all its users it does once:
-- enter and look take many.  The state is one field, read at once and written
-- at most once, by answer(): Redis looks for each field of a small hash among
-- all of them.

local queue, waiting, called, active = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ended_list, drawn, absent = KEYS[5], KEYS[8], KEYS[9]
local ttl, claim = tonumber(ARGV[3]), tonumber(ARGV[4])

local NONE, WAITING, ACTIVE, PRE, STALE = 0, 1, 2, 3, 4
local NO_DRAW, AHEAD = -2, -1   -- in place of the pre-queue's size
local MOST_ADMITTED = 500
local MOST_WALKED = 2000        -- of the drawn order, in a run
local MOST_ENDED = 4000         -- users that the list of them keeps
local MINUTE = 60000
local BURST = 200               -- ms of the rate that may be let in at once

local call, min, max, floor = redis.call, math.min, math.max, math.floor

local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)

-- The state, and what of it an operator has set (-1: nothing).
local epoch, last, serving, ended, minute, this, before, credit, credited,
      paused, rate_set, capacity_set, opening = string.match(
          call('HGET', queue, 'state') or '',
          '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) '
          .. '(%S+)(.*)$')
local changed = false

-- The opening, in ms, and the size of the pre-queue at it; most have none.
local opens, size = 0, NO_DRAW

if opening and opening ~= '' then
    opens, size = string.match(opening, '^ (%S+) (%S+)$')
    opens, size = tonumber(opens or 0), tonumber(size or NO_DRAW)
end

-- None: the data is new, or was lost.
local anew = not epoch

if epoch then
    epoch, last, serving = tonumber(epoch), tonumber(last), tonumber(serving)
    ended, minute = tonumber(ended), tonumber(minute)
    this, before = tonumber(this), tonumber(before)
    credit, credited = tonumber(credit), tonumber(credited)
    paused, rate_set = tonumber(paused), tonumber(rate_set)
    capacity_set = tonumber(capacity_set)
else
    paused, rate_set, capacity_set = -1, -1, -1
end

-- The configuration's opening, if it lies ahead and is another.  One that
-- follows an opening that was reached, or none, begins the queue anew.
local wanted = ARGV[5] ~= '0' and tonumber(ARGV[5]) or 0
local with = ARGV[6] == '1' and AHEAD or NO_DRAW

if wanted <= now or (wanted == opens and (with == size or size >= 0)) then
    wanted = 0
elseif size >= 0 or (size == NO_DRAW and opens <= now
                     and opens + (last or 0) > 0) then
    anew = true
end

-- Numbers of another epoch mean nothing; neither does a seed.  A pre-queue may
-- be large: it is freed beside.
if anew then
    call('UNLINK', waiting, called, active, ended_list, KEYS[6], KEYS[7],
         drawn, absent)
    call('HDEL', queue, 'window', 'mark', 'base0', 'base1', 'sweep', 'sweep_to',
         'seed')
    epoch, last, serving, ended = time[1] * 1000000 + time[2], 0, 0, 0
    minute, this, before, credit, credited = 0, 0, 0, 0, 0
    opens, size = 0, NO_DRAW
    changed = true
end

-- As long as nobody has come the opening is what was written last; then it can
-- only be put off, by whichever nginx knows it so.
if wanted > 0 then
    if last == 0 and (size == NO_DRAW or call('ZCARD', drawn) == 0) then
        opens, size, changed = wanted, with, true
    elseif wanted > opens then
        opens, changed = wanted, true
    end
end

-- The opening is reached: the drawn have the first numbers, in the order of
-- their keys.  Nothing is moved: a number is a rank.
if size == AHEAD and opens <= now then
    size = call('ZCARD', drawn)
    last = size
    changed = true
end

local closed = size == AHEAD or (size == NO_DRAW and opens > now)

-- what an operator has set goes before the configuration
local rate = rate_set >= 0 and rate_set or tonumber(ARGV[2])
local capacity = capacity_set >= 0 and capacity_set or tonumber(ARGV[1])

-- Admissions of this minute and of the one before it.
local passed = floor(now / MINUTE) - minute

if passed ~= 0 then
    this, before = 0, passed == 1 and this or 0
    minute = minute + passed
end

-- Writes the state, if it has changed.  The pace is how many are let in in
-- 10^9 s: as in the last minute, but not fewer than as if the places came free
-- evenly.
local function answer(...)
    local pace = (this + before * (1 - now % MINUTE / MINUTE)) * 1e12 / MINUTE
    local least = capacity * 1e12 / ttl

    if rate > 0 then
        least = min(least, rate * 1e6)
    end

    if changed then
        call('HSET', queue, 'state', string.format(
            '%d %d %d %d %d %d %d %.6f %d %d %d %d',
            epoch, last, serving, ended, minute, this, before, credit,
            credited, paused, rate_set, capacity_set)
            .. (opens > 0 and string.format(' %d %d', opens, size) or ''))
    end

    return {epoch, serving, ended, now,
            min(max(1, floor(max(pace, least))), 1e15), ...}
end

-- How many places there are to be given, once who was let in, or is in, and
-- whose time is over has lost the place.
local function room()
    call('ZREMRANGEBYSCORE', active, '-inf', now)
    local missed = call('ZREMRANGEBYSCORE', called, '-inf', now)

    if missed > 0 then
        call('HINCRBY', queue, 'missed', missed)
    end

    local free = capacity - call('ZCARD', active) - call('ZCARD', called)

    if closed or paused == 1 or free <= 0 then
        return 0
    end

    if rate == 0 then
        return min(free, MOST_ADMITTED)
    end

    -- what the rate has gathered; a clock that was set back must not stop it
    changed = changed or credited > now
    credit = min(credit + max(0, now - credited) * rate / 1000000,
                 max(1, rate * BURST / 1000000))
    credited = now

    return min(free, floor(credit), MOST_ADMITTED)
end

-- What there is to do for a draw; most queues have none, and do without it.
local admit_drawn, drawn_place, part

if size ~= NO_DRAW then

    -- Lets in the next of the drawn who are not absent, at most so many.
    -- Whoever has still to learn that is awaited: for as long as nginx spreads
    -- the questions (core/queue.c).  Returns how many went in.
    function admit_drawn(free)
        local due = max(now, opens + min(2000 + size / 36, 30000)) + claim
        local members, walked = {}, 0

        while #members < 2 * free and serving < size and walked < MOST_WALKED do
            local some = call('ZRANGE', drawn, serving,
                              min(serving + free - #members / 2, size) - 1)

            -- Redis has lost them
            if #some == 0 then
                serving = size
                break
            end

            local left = call('SMISMEMBER', absent, unpack(some))

            for i, user in ipairs(some) do
                if left[i] == 1 then
                    call('SREM', absent, user)
                else
                    members[#members + 1], members[#members + 2] = due, user
                end
            end

            serving = serving + #some
            walked = walked + #some
        end

        if #members > 0 then
            call('ZADD', called, unpack(members))
        end

        return #members / 2
    end

    -- Where one of the drawn stands who has not been let in: a status and,
    -- before the opening, when that is; after it, the number.
    function drawn_place(user)
        if size == AHEAD then
            if call('ZSCORE', drawn, user) then
                return PRE, opens
            end

        elseif serving < size then
            local rank = call('ZRANK', drawn, user)

            if rank and rank >= serving
                and call('SISMEMBER', absent, user) == 0
            then
                return WAITING, rank + 1
            end
        end

        return NONE, 0
    end

    -- Takes one of these out.  After the opening the ranks stay as they are.
    function part(user)
        if size == AHEAD then
            return call('ZREM', drawn, user)
        end

        return drawn_place(user) == NONE and 0 or call('SADD', absent, user)
    end
end

-- Gives the places that are free to who waits, in the order of their numbers.
-- Returns how many went in, and how many places are left.
local function admit()
    local free, admitted, first = room(), 0, serving

    if free == 0 then
        return 0, 0
    end

    if serving < size then
        admitted = admit_drawn(free)
    end

    local next = {}

    if serving >= size and admitted < free then
        next = call('ZPOPMIN', waiting, free - admitted)
    end

    if #next > 0 then
        local members = {}

        for i = 1, #next, 2 do
            members[i], members[i + 1] = now + claim, next[i]
        end

        call('ZADD', called, unpack(members))
        serving = tonumber(next[#next])
        admitted = admitted + #next / 2
    end

    if serving > first then
        this = this + admitted
        credit = rate > 0 and credit - admitted or credit
        changed = true
    end

    return admitted, serving < size and 0 or free - admitted
end

-- Ends a user's token, if there is one, and lets every nginx know.
local function finish(user)
    local found = call('ZREM', waiting, user) + call('ZREM', called, user)
                  + call('ZREM', active, user)

    if found == 0 and part then
        found = part(user)
    end

    if found > 0 then
        ended = ended + 1
        changed = true
        call('RPUSH', ended_list, user)
        call('LTRIM', ended_list, -MOST_ENDED, -1)
    end

    return found
end

-- The window of time, in which who waits should ask once, and its ms.
local function window()
    local span = tonumber(call('HGET', queue, 'span') or 1800000)

    return floor(now / span), span
end

-- Notes that numbers asked.
local function saw(numbers)
    local parity = window() % 2
    local base = tonumber(call('HGET', queue, 'base' .. parity) or 0)

    for _, number in ipairs(numbers) do
        if number >= base then
            call('SETBIT', KEYS[6 + parity], number - base, 1)
        end
    end
end

-- Where each of some users stands: {status, number, end in ms, ...}.  Who was
-- let in and asks has come, and is in for the whole time.
local function places(users)
    local ins = call('ZMSCORE', active, unpack(users))
    local dues = call('ZMSCORE', called, unpack(users))
    local numbers = call('ZMSCORE', waiting, unpack(users))
    local found, asked = {}, {}

    for i, user in ipairs(users) do
        local ends, due = tonumber(ins[i] or 0), tonumber(dues[i] or 0)
        local number = tonumber(numbers[i] or 0)
        local at = #found

        if ends <= now and due > now then
            ends = min(due - claim, now) + ttl
            call('ZREM', called, user)
            call('ZADD', active, ends, user)
        end

        if ends > now then
            found[at + 1], found[at + 2], found[at + 3] = ACTIVE, 0, ends

        elseif number > 0 then
            found[at + 1], found[at + 2], found[at + 3] = WAITING, number, 0
            asked[#asked + 1] = number

        else
            local status = NONE

            if drawn_place then
                status, number = drawn_place(user)
            end

            if status == WAITING then
                asked[#asked + 1] = number
            end

            found[at + 1], found[at + 2], found[at + 3] = status, number, 0
        end
    end

    if #asked > 0 then
        saw(asked)
    end

    return found
end
