-- Where users stand, who have come to ask.
-- ARGV[5...]: users.

return answer(unpack(places({unpack(ARGV, 5)})))
