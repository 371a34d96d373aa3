-- A place in the queue for a user: the one it has, or the next.

local status, number, ends = ticket()
if status == WAITING then
    saw(number)
end

if status ~= NONE then
    return answer(status, number, ends)
end

last = last + 1
redis.call('HSET', queue, 'last', decimal(last))
redis.call('ZREM', active, user)
redis.call('ZREM', called, user)
redis.call('ZADD', waiting, decimal(last), user)
admit()

return answer(ticket())
