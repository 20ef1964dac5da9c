-- What a host says of itself (GH-7).
-- KEYS[1] godwit:mark               string: the signed mark
-- KEYS[2] godwit:session:<caller>   hash
-- KEYS[3] godwit:hosts              hash: <host> -> encoded HostInfo
-- KEYS[4] godwit:hosts:seen         hash: <host> -> ms
-- ARGV[1] mark   ARGV[2] host   ARGV[3] info   ARGV[4] now, ms
-- returns {"STORED"} or {"MARK"}, {"CALLER_VOID"}
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return { "MARK" } end
if redis.call("HGET", KEYS[2], "closed") ~= "0" then return { "CALLER_VOID" } end

redis.call("HSET", KEYS[3], ARGV[2], ARGV[3])
redis.call("HSET", KEYS[4], ARGV[2], ARGV[4])
return { "STORED" }
