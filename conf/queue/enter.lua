-- A place in the queue for a user: the one it has, or the next.

local own = ticket()
if own[3] ~= NONE then
    return own
end

last = last + 1
redis.call('HSET', queue, 'last', decimal(last))
redis.call('ZREM', active, user)
redis.call('ZADD', waiting, decimal(last), user)
admit()

return ticket()
