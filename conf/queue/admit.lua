-- The job: lets in who may, and counts.

local admitted = admit()

return {epoch, serving, admitted, redis.call('ZCARD', waiting),
        redis.call('ZCARD', active)}
