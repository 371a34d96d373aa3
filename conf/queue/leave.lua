-- Ends a user's token, waiting or active; the place goes to the next.

local left = redis.call('ZREM', waiting, user) + redis.call('ZREM', active, user)
admit()

return {epoch, serving, left}
