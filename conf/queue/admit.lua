-- The job: lets in who may, forgets who no longer asks, counts, and tells
-- whose tokens were ended since the nginx last asked.
-- ARGV[7]: how many ended tokens that nginx knows of.

local MOST_SWEPT = 1000

-- A window begins: its numbers are noted from here on, and who had come before
-- the last one began, and did not ask in it, is looked for.
local function turn(w)
    local known = call('HMGET', queue, 'window', 'mark')
    local begun = tonumber(known[1] or -1)

    if begun == w then
        return
    end

    -- after a pause of the nginx nobody can have asked
    local to = begun == w - 1 and known[2] or '0'

    call('DEL', KEYS[6 + w % 2])
    call('HSET', queue, 'window', w,
         'base' .. w % 2, serving,
         'mark', last, 'sweep', '0', 'sweep_to', to)
end

-- Some of who waits with a number above one, up to another: users, each before
-- its number; and up to which all were looked at.
local function stretch(from, to)
    local some = {}

    if from >= size then
        some = call('ZRANGE', waiting, string.format('(%d', from), to,
                    'BYSCORE', 'LIMIT', 0, MOST_SWEPT, 'WITHSCORES')

        return some, #some < 2 * MOST_SWEPT and to or tonumber(some[#some])
    end

    from = max(from, serving)
    to = min(from + MOST_SWEPT, to, size)

    for i, user in ipairs(call('ZRANGE', drawn, from, to - 1)) do
        if call('SISMEMBER', absent, user) == 0 then
            some[#some + 1], some[#some + 2] = user, from + i
        end
    end

    return some, max(from, to)
end

-- Those who are too old to be new and did not ask lose their places.  Not
-- before this window is half over: who has just not asked yet is not silent.
local function sweep(span)
    if now % span < span / 2 then
        return 0
    end

    local known = call('HMGET', queue, 'sweep', 'sweep_to', 'base0', 'base1')
    local from, to = tonumber(known[1] or 0), tonumber(known[2] or 0)

    if from >= to then
        return 0
    end

    local some
    local silent = 0

    some, from = stretch(from, to)

    for i = 1, #some, 2 do
        local asked = 0

        for parity = 0, 1 do
            local offset = tonumber(some[i + 1])
                           - tonumber(known[3 + parity] or 0)
            if offset >= 0 then
                asked = asked + call('GETBIT', KEYS[6 + parity], offset)
            end
        end

        if asked == 0 then
            silent = silent + finish(some[i])
        end
    end

    call('HSET', queue, 'sweep', from)

    return silent
end

-- How many wait, in the pre-queue or with a number.
local function waiters()
    local n = call('ZCARD', waiting)

    if size == AHEAD then
        return n + call('ZCARD', drawn)
    end

    return serving < size and n + size - serving - call('SCARD', absent) or n
end

local present, span = window()

turn(present)

local gone = sweep(span)
local admitted = admit()
local missed = tonumber(call('HGET', queue, 'missed') or 0)

if missed > 0 then
    call('HDEL', queue, 'missed')
end

local count = ended - tonumber(ARGV[7])
local users = {}

if count > 0 and count <= call('LLEN', ended_list) then
    users = call('LRANGE', ended_list, -count, -1)
    for i = 1, #users do
        users[i] = tonumber(users[i])
    end
end

return answer(admitted, missed, gone, waiters(),
              call('ZCARD', active), call('ZCARD', called),
              capacity, rate, max(paused, 0), present, last,
              closed and opens or 0, size, #users,
              unpack(users))
