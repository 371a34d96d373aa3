-- Notes the numbers that asked, as an nginx knows their tickets by heart.
-- ARGV[5]: numbers, parted by commas.

local base = tonumber(redis.call('HGET', queue, 'base' .. window() % 2) or 0)
local bits = seen[window() % 2]

for number in string.gmatch(ARGV[5], '%d+') do
    local offset = tonumber(number) - base
    if offset >= 0 then
        redis.call('SETBIT', bits, decimal(offset), 1)
    end
end

return answer()
