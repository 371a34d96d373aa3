-- Where a user stands.

return ticket()
