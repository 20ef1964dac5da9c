-- Counts a host's failures in a row (GH-7). Times are wall clock, given by the caller; they order hosts and decide nothing else.
-- KEYS[1] godwit:mark               string: the signed mark
-- KEYS[2] godwit:sessions:open      hash: <host>/<boot> -> ...; a session that is closed or not known is not in it
-- KEYS[3] godwit:hosts              hash: <host> -> encoded HostInfo
-- KEYS[4] godwit:hosts:failures     hash: <host> -> "failures ms-of-the-last"
-- KEYS[5] godwit:hosts:version      counter
-- KEYS[6] godwit:hosts:changed      sorted set: <host>, its score the version of its last change
-- ARGV[1] mark   ARGV[2] host   ARGV[3] "failed", or "" for a success   ARGV[4] now, ms   ARGV[5] failures this old are forgotten, ms   ARGV[6] <host>/<boot> of the caller
-- returns {"COUNTED", failures} or {"MARK"}, {"CALLER_VOID"}, {"UNKNOWN_HOST"}
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return { "MARK" } end
if redis.call("HEXISTS", KEYS[2], ARGV[6]) == 0 then return { "CALLER_VOID" } end
if redis.call("HEXISTS", KEYS[3], ARGV[2]) == 0 then return { "UNKNOWN_HOST" } end

if ARGV[3] ~= "failed" then
  if redis.call("HDEL", KEYS[4], ARGV[2]) == 1 then
    redis.call("ZADD", KEYS[6], redis.call("INCR", KEYS[5]), ARGV[2])
  end
  return { "COUNTED", "0" }
end
local failures, last = string.match(redis.call("HGET", KEYS[4], ARGV[2]) or "0 0", "(%d+) (%d+)")
if tonumber(ARGV[4]) - tonumber(last) >= tonumber(ARGV[5]) then failures = "0" end
local count = string.format("%d", tonumber(failures) + 1)
redis.call("HSET", KEYS[4], ARGV[2], count .. " " .. ARGV[4])
redis.call("ZADD", KEYS[6], redis.call("INCR", KEYS[5]), ARGV[2])
return { "COUNTED", count }
