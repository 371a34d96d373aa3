-- What an operator sets; it holds until it is taken back, for every nginx.
-- ARGV[5..7]: paused, rate in 1000 s, capacity: a number, "-" to go back to the
-- configuration, or "" to leave it as it is.

for i, name in ipairs({'paused', 'rate', 'capacity'}) do
    local value = ARGV[4 + i]

    if value == '-' then
        redis.call('HDEL', queue, name)
    elseif value ~= '' then
        redis.call('HSET', queue, name, value)
    end
end

local set = redis.call('HMGET', queue, 'paused', 'rate', 'capacity')

return answer(tonumber(set[1] or 0), tonumber(set[2] or -1),
              tonumber(set[3] or -1))
