-- Ends a user's token, waiting or active; the place goes to the next.

local found = finish()
admit()

return answer(found)
