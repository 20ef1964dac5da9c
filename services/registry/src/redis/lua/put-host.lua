-- What a host says of itself (GH-7).
-- KEYS[1] godwit:mark               string: the signed mark
-- KEYS[2] godwit:sessions:open      hash: <host>/<boot> -> ...; a session that is closed or not known is not in it
-- KEYS[3] godwit:hosts              hash: <host> -> encoded HostInfo
-- KEYS[4] godwit:hosts:seen         hash: <host> -> ms
-- KEYS[5] godwit:hosts:version      counter
-- KEYS[6] godwit:hosts:changed      sorted set: <host>, its score the version of its last change
-- ARGV[1] mark   ARGV[2] host   ARGV[3] info   ARGV[4] now, ms   ARGV[5] <host>/<boot> of the caller
-- returns {"STORED"} or {"MARK"}, {"CALLER_VOID"}
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return { "MARK" } end
if redis.call("HEXISTS", KEYS[2], ARGV[5]) == 0 then return { "CALLER_VOID" } end

redis.call("HSET", KEYS[3], ARGV[2], ARGV[3])
redis.call("HSET", KEYS[4], ARGV[2], ARGV[4])
redis.call("ZADD", KEYS[6], redis.call("INCR", KEYS[5]), ARGV[2])
return { "STORED" }
