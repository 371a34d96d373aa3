-- What an operator sets; it holds until it is taken back, for every nginx.
-- ARGV[7..9]: paused, rate in 1000 s, capacity: a number, "-" to go back to the
-- configuration, or "" to leave it as it is.

local function set(value, present)
    if value == '' then
        return present
    end

    changed = true
    return value == '-' and -1 or tonumber(value)
end

paused = set(ARGV[7], paused)
rate_set = set(ARGV[8], rate_set)
capacity_set = set(ARGV[9], capacity_set)

return answer(max(paused, 0), rate_set, capacity_set)
