-- The job: lets in who may, forgets who no longer asks, counts, and tells
-- whose tokens were ended since the nginx last asked.
-- ARGV[5]: how many ended tokens that nginx knows of.

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

-- Some of those who are too old to be new; they lose their places.  Not before
-- this window is half over: who has just not asked yet is not silent.
local function sweep(span)
    if now % span < span / 2 then
        return 0
    end

    local known = call('HMGET', queue, 'sweep', 'sweep_to', 'base0', 'base1')
    local from, to = tonumber(known[1] or 0), tonumber(known[2] or 0)

    if from >= to then
        return 0
    end

    local some = call('ZRANGE', waiting, string.format('(%d', from), to,
                      'BYSCORE', 'LIMIT', 0, MOST_SWEPT, 'WITHSCORES')
    local gone = 0

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
            gone = gone + finish(some[i])
        end
    end

    if #some < 2 * MOST_SWEPT then
        from = to
    else
        from = tonumber(some[#some])
    end

    call('HSET', queue, 'sweep', from)

    return gone
end

local present, span = window()

turn(present)

local gone = sweep(span)
local admitted = admit()
local missed = tonumber(call('HGET', queue, 'missed') or 0)

if missed > 0 then
    call('HDEL', queue, 'missed')
end

local count = ended - tonumber(ARGV[5])
local users = {}

if count > 0 and count <= call('LLEN', ended_list) then
    users = call('LRANGE', ended_list, -count, -1)
    for i = 1, #users do
        users[i] = tonumber(users[i])
    end
end

return answer(admitted, missed, gone, call('ZCARD', waiting),
              call('ZCARD', active), call('ZCARD', called),
              capacity, rate, max(paused, 0), present, last, #users,
              unpack(users))
