-- Closes a session for ever (SL-2, SL-6), and puts its agents among those that are to be offered (§8).
-- KEYS[1] godwit:mark                             string: the signed mark
-- KEYS[2] godwit:session:<host>/<boot>            hash
-- KEYS[3] godwit:sessions:open                    hash: <host>/<boot> -> "generation duration grace"
-- KEYS[4] godwit:offer-when-closed:<host>/<boot>  sorted set of agents, all with score 0
-- KEYS[5] godwit:offer-now                        sorted set of agents, all with score 0
-- KEYS[6] godwit:sessions:open:by-host    sorted set: the same sessions, all with score 0
-- KEYS[7] godwit:hosts                    hash: <host> -> encoded HostInfo
-- KEYS[8] godwit:hosts:version            counter
-- KEYS[9] godwit:hosts:changed            sorted set: <host>, its score the version of its last change
-- ARGV[1] mark   ARGV[2] <host>/<boot>   ARGV[3] generation that was seen, or "" for any
-- ARGV[4] <host>/<boot> of the caller, which has to be open, or ""   ARGV[5] host
-- returns {"CLOSED"} or {"MARK"}, {"CALLER_VOID"}, {"UNKNOWN"}, {"CLOSED_BEFORE"}, {"MOVED"}
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return { "MARK" } end
if ARGV[4] ~= "" and redis.call("HEXISTS", KEYS[3], ARGV[4]) == 0 then return { "CALLER_VOID" } end
local session = redis.call("HMGET", KEYS[2], "closed", "generation")
if not session[1] then return { "UNKNOWN" } end
if session[1] ~= "0" then return { "CLOSED_BEFORE" } end
if ARGV[3] ~= "" and session[2] ~= ARGV[3] then return { "MOVED" } end

redis.call("HSET", KEYS[2], "closed", "1")
redis.call("HDEL", KEYS[3], ARGV[2])
redis.call("ZREM", KEYS[6], ARGV[2])
if redis.call("HEXISTS", KEYS[7], ARGV[5]) == 1 then redis.call("ZADD", KEYS[9], redis.call("INCR", KEYS[8]), ARGV[5]) end
redis.call("ZUNIONSTORE", KEYS[5], 2, KEYS[5], KEYS[4], "AGGREGATE", "MIN")
return { "CLOSED" }
