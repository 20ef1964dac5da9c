-- Opens a session (SL-1), unless its boot id was used before.
-- KEYS[1] godwit:mark                     string: the signed mark
-- KEYS[2] godwit:session:<host>/<boot>    hash; never expires: void is for ever (SL-2)
-- KEYS[3] godwit:sessions:open            hash: <host>/<boot> -> "generation duration grace"
-- KEYS[4] godwit:hosts:seen               hash: <host> -> ms
-- KEYS[5] godwit:sessions:open:by-host    sorted set: the same sessions, all with score 0
-- KEYS[6] godwit:hosts                    hash: <host> -> encoded HostInfo
-- KEYS[7] godwit:hosts:version            counter
-- KEYS[8] godwit:hosts:changed            sorted set: <host>, its score the version of its last change
-- ARGV[1] mark   ARGV[2] host   ARGV[3] boot   ARGV[4] incarnation   ARGV[5] duration ms   ARGV[6] grace ms
-- ARGV[7] renew every ms   ARGV[8] SHA-256 of the secret, hex   ARGV[9] now, ms
-- returns {"OPENED"} or {"MARK"}, {"EXISTS"}
-- Every check comes before the first write: Redis does not roll a script back.
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return { "MARK" } end
if redis.call("EXISTS", KEYS[2]) == 1 then return { "EXISTS" } end

redis.call("HSET", KEYS[2], "incarnation", ARGV[4], "generation", "0", "duration", ARGV[5], "grace", ARGV[6],
  "renew", ARGV[7], "secret", ARGV[8], "closed", "0")
redis.call("HSET", KEYS[3], ARGV[2] .. "/" .. ARGV[3], "0 " .. ARGV[5] .. " " .. ARGV[6])
redis.call("HSET", KEYS[4], ARGV[2], ARGV[9])
redis.call("ZADD", KEYS[5], 0, ARGV[2] .. "/" .. ARGV[3])
if redis.call("HEXISTS", KEYS[6], ARGV[2]) == 1 then redis.call("ZADD", KEYS[8], redis.call("INCR", KEYS[7]), ARGV[2]) end
return { "OPENED" }
