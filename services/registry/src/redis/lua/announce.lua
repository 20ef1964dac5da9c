-- What a session holds of one agent (§4, holders): announced, or withdrawn.
-- KEYS[1] godwit:mark               string: the signed mark
-- KEYS[2] godwit:holders:<id>       hash: <host>/<boot> -> checkpoint, which sorts as text
-- KEYS[3] godwit:sessions:open      hash: <host>/<boot> -> ...; a session that is closed or not known is not in it
-- ARGV[1] mark   ARGV[2] <host>/<boot> of the caller   ARGV[3] checkpoint, or "" when it is withdrawn   ARGV[4] how many are kept
-- returns {"ANNOUNCED"} or {"MARK"}, {"CALLER_VOID"}
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return { "MARK" } end
if redis.call("HEXISTS", KEYS[3], ARGV[2]) == 0 then return { "CALLER_VOID" } end

if ARGV[3] == "" then
  redis.call("HDEL", KEYS[2], ARGV[2])
  return { "ANNOUNCED" }
end
-- The newest counts: an older announcement may come late.
local held = redis.call("HGET", KEYS[2], ARGV[2])
if held and held >= ARGV[3] then return { "ANNOUNCED" } end
redis.call("HSET", KEYS[2], ARGV[2], ARGV[3])
if redis.call("HLEN", KEYS[2]) <= tonumber(ARGV[4]) then return { "ANNOUNCED" } end

-- Those of closed sessions go first, and of the others the oldest.
local holders = redis.call("HGETALL", KEYS[2])
local live = {}
for i = 1, #holders, 2 do
  if redis.call("HEXISTS", KEYS[3], holders[i]) == 1 then
    live[#live + 1] = { holders[i], holders[i + 1] }
  else
    redis.call("HDEL", KEYS[2], holders[i])
  end
end
table.sort(live, function(a, b) return a[2] > b[2] end)
for i = tonumber(ARGV[4]) + 1, #live do redis.call("HDEL", KEYS[2], live[i][1]) end
return { "ANNOUNCED" }
