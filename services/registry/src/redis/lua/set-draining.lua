-- An operator's word: a draining host is no candidate.
-- KEYS[1] godwit:mark             string: the signed mark
-- KEYS[2] godwit:hosts            hash: <host> -> encoded HostInfo
-- KEYS[3] godwit:hosts:draining   set of hosts
-- KEYS[4] godwit:hosts:version      counter
-- KEYS[5] godwit:hosts:changed      sorted set: <host>, its score the version of its last change
-- ARGV[1] mark   ARGV[2] host   ARGV[3] "draining", or "" when it is no longer
-- returns {"SET"} or {"MARK"}, {"UNKNOWN_HOST"}
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return { "MARK" } end
if redis.call("HEXISTS", KEYS[2], ARGV[2]) == 0 then return { "UNKNOWN_HOST" } end

redis.call(ARGV[3] == "draining" and "SADD" or "SREM", KEYS[3], ARGV[2])
redis.call("ZADD", KEYS[5], redis.call("INCR", KEYS[4]), ARGV[2])
return { "SET" }
