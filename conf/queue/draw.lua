-- What the draw made of users, for who checks it: the opening, the size of the
-- pre-queue, the user's place in it (0: none) and how many keys are below.
-- ARGV[7...]: users and their rank keys, as 17:4503599627370495.

local found = {}

for i = 7, #ARGV do
    local user, key = string.match(ARGV[i], '^(%d+):(%d+)$')
    local at = #found
    local place, below = 0, 0

    if size > 0 then
        local rank = call('ZRANK', drawn, user)
        place = rank and rank + 1 or 0
        below = rank or call('ZCOUNT', drawn, '-inf', '(' .. key)
    end

    found[at + 1], found[at + 2] = opens, size
    found[at + 3], found[at + 4] = place, below
end

return answer(unpack(found))
