-- The job: lets in who may, forgets who no longer asks, counts, and tells
-- whose tokens were ended since the nginx last asked.
-- ARGV[5]: how many ended tokens that nginx knows of.

local MOST_SWEPT = 1000

-- A window begins: its numbers are noted from here on, and who had come before
-- the last one began, and did not ask in it, is looked for.
local function turn()
    local w = window()
    local known = redis.call('HMGET', queue, 'window', 'mark')
    local begun = tonumber(known[1] or -1)

    if begun == w then
        return
    end

    -- after a pause of the nginx nobody can have asked
    local to = begun == w - 1 and known[2] or '0'

    redis.call('DEL', seen[w % 2])
    redis.call('HSET', queue, 'window', decimal(w),
               'base' .. w % 2, decimal(serving),
               'mark', decimal(last), 'sweep', '0', 'sweep_to', to)
end

-- Some of those who are too old to be new; they lose their places.  Not before
-- this window is half over: who has just not asked yet is not silent.
local function sweep()
    if now % WINDOW < WINDOW / 2 then
        return 0
    end

    local known = redis.call('HMGET', queue, 'sweep', 'sweep_to', 'base0', 'base1')
    local from, to = tonumber(known[1] or 0), tonumber(known[2] or 0)

    if from >= to then
        return 0
    end

    local some = redis.call('ZRANGE', waiting, '(' .. decimal(from), decimal(to),
                            'BYSCORE', 'LIMIT', 0, MOST_SWEPT, 'WITHSCORES')
    local gone = 0

    for i = 1, #some, 2 do
        local asked = 0

        for parity = 0, 1 do
            local offset = tonumber(some[i + 1])
                           - tonumber(known[3 + parity] or 0)
            if offset >= 0 then
                asked = asked + redis.call('GETBIT', seen[parity],
                                           decimal(offset))
            end
        end

        if asked == 0 then
            user = some[i]
            gone = gone + finish()
        end
    end

    if #some < 2 * MOST_SWEPT then
        from = to
    else
        from = tonumber(some[#some])
    end

    redis.call('HSET', queue, 'sweep', decimal(from))

    return gone
end

turn()
local gone = sweep()
local admitted = admit()
local missed = tonumber(redis.call('HGET', queue, 'missed') or 0)

if missed > 0 then
    redis.call('HDEL', queue, 'missed')
end

local count = ended - tonumber(ARGV[5])
local users = {}

if count > 0 and count <= redis.call('LLEN', ended_list) then
    users = redis.call('LRANGE', ended_list, -count, -1)
    for i = 1, #users do
        users[i] = tonumber(users[i])
    end
end

return answer(admitted, missed, gone, redis.call('ZCARD', waiting),
              redis.call('ZCARD', active), redis.call('ZCARD', called),
              capacity, rate, paused and 1 or 0, window(), last, #users,
              unpack(users))
