-- The announcements of an agent that count: their session is open. Newest first. Writes nothing.
-- KEYS[1] godwit:holders:<id>     hash: <host>/<boot> -> checkpoint, which sorts as text
-- KEYS[2] godwit:sessions:open    hash: <host>/<boot> -> ...
-- ARGV[1] how many at most
-- returns {<host>/<boot>, checkpoint, ...}
local holders = redis.call("HGETALL", KEYS[1])
local live = {}
for i = 1, #holders, 2 do
  if redis.call("HEXISTS", KEYS[2], holders[i]) == 1 then live[#live + 1] = { holders[i], holders[i + 1] } end
end
table.sort(live, function(a, b) return a[2] > b[2] end)
local found = {}
for i = 1, math.min(#live, tonumber(ARGV[1])) do
  found[#found + 1] = live[i][1]
  found[#found + 1] = live[i][2]
end
return found
