-- Ends users' tokens, waiting or active; their places go to the next.
-- ARGV[5...]: users.

local found = {}

for i = 5, #ARGV do
    found[i - 4] = finish(ARGV[i])
end

admit()

return answer(unpack(found))
