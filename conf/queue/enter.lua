-- Places in the queue for users, in the order in which they are named: the one
-- that each has, or the next.
-- ARGV[7]: the epoch of the seed that the rank keys are of, 0: there are none;
-- ARGV[8...]: users, each with a key behind a colon if there are keys.

local users, keys = {unpack(ARGV, 8)}, {}
local known = tonumber(ARGV[7])

if known ~= 0 then
    for i, text in ipairs(users) do
        users[i], keys[i] = string.match(text, '^(%d+):(%d+)$')
    end
end

-- Into the pre-queue, by the key; without one of this seed, nowhere.  Whoever
-- comes twice has the key that he had.
local function enter_draw(user, key)
    if known ~= epoch then
        return STALE, 0
    end

    call('ZADD', drawn, 'NX', key, user)

    return PRE, opens
end

local found = places(users)
local admitted, free
local inside, behind, first = {}, {}, {}

for at = 1, #found, 3 do
    if found[at] == NONE then
        admitted, free = admit()

        -- those who waited go before those who come, and may be among these
        if admitted > 0 then
            found = places(users)
        end

        break
    end
end

for i, user in ipairs(users) do
    local at = 3 * i - 2
    local same = first[user]

    if same then
        found[at], found[at + 1], found[at + 2] =
            found[same], found[same + 1], found[same + 2]

    elseif found[at] == NONE and size == AHEAD then
        found[at], found[at + 1] = enter_draw(user, keys[i])

    elseif found[at] == NONE then
        first[user] = at
        last = last + 1
        changed = true

        if #inside < 2 * free then
            inside[#inside + 1] = now + ttl
            inside[#inside + 1] = user
            serving = last
            found[at], found[at + 2] = ACTIVE, now + ttl
        else
            behind[#behind + 1] = last
            behind[#behind + 1] = user
            found[at], found[at + 1] = WAITING, last
        end
    end
end

if #inside > 0 then
    call('ZADD', active, unpack(inside))
    this = this + #inside / 2
    credit = rate > 0 and credit - #inside / 2 or credit
end

if #behind > 0 then
    call('ZADD', waiting, unpack(behind))
end

return answer(unpack(found))
