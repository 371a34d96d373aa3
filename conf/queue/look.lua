-- Where users stand, who have come to ask.
-- ARGV[7...]: users.

return answer(unpack(places({unpack(ARGV, 7)})))
