-- The hosts that changed after a version, and how they are now (GH-7). Writes nothing.
-- KEYS[1] godwit:mark                     string: the signed mark
-- KEYS[2] godwit:hosts:version            counter
-- KEYS[3] godwit:hosts:changed            sorted set: <host>, its score the version of its last change
-- KEYS[4] godwit:hosts                    hash: <host> -> encoded HostInfo
-- KEYS[5] godwit:hosts:draining           set of hosts
-- KEYS[6] godwit:hosts:failures           hash: <host> -> "failures ms-of-the-last"
-- KEYS[7] godwit:sessions:open:by-host    sorted set of <host>/<boot>, all with score 0
-- ARGV[1] mark   ARGV[2] version   ARGV[3] how many at most
-- returns {"HOSTS", newest version, and for each host: host, version, info, "1" when draining, failures or "", "1" when it has an open session} or {"MARK"}
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return { "MARK" } end

local found = { "HOSTS", redis.call("GET", KEYS[2]) or "0" }
local changed = redis.call("ZRANGEBYSCORE", KEYS[3], "(" .. ARGV[2], "+inf", "WITHSCORES", "LIMIT", 0, ARGV[3])
for i = 1, #changed, 2 do
  local host = changed[i]
  local open = redis.call("ZRANGEBYLEX", KEYS[7], "[" .. host .. "/", "(" .. host .. "0", "LIMIT", 0, 1) -- "0" comes after "/"
  local at = #found
  found[at + 1] = host
  found[at + 2] = changed[i + 1]
  found[at + 3] = redis.call("HGET", KEYS[4], host) or ""
  found[at + 4] = tostring(redis.call("SISMEMBER", KEYS[5], host))
  found[at + 5] = redis.call("HGET", KEYS[6], host) or ""
  found[at + 6] = #open > 0 and "1" or ""
end
return found
