-- Where a user stands, who has come to ask.

local status, number, ends = ticket()
if status == WAITING then
    saw(number)
end

return answer(status, number, ends)
