-- The seed of the draw, which is made once in an epoch and never changes.
-- Whoever calls keeps it to himself until the opening is reached.
-- ARGV[7]: what it will be if there is none yet and the opening lies ahead.

if size == AHEAD then
    call('HSETNX', queue, 'seed', ARGV[7])
end

return answer(opens, size, call('HGET', queue, 'seed') or '')
