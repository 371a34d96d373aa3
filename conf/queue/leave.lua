-- Ends users' tokens, waiting or active; their places go to the next.
-- ARGV[7...]: users.

local found = {}

for i = 7, #ARGV do
    found[i - 6] = finish(ARGV[i])
end

admit()

return answer(unpack(found))
