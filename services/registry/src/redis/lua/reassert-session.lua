-- Brings a session back in quarantine (GA-7): it counts as a renewal.
-- KEYS[1] godwit:mark                     string: the signed mark
-- KEYS[2] godwit:session:<host>/<boot>    hash
-- KEYS[3] godwit:sessions:open            hash: <host>/<boot> -> "generation duration grace"
-- KEYS[4] godwit:hosts:seen               hash: <host> -> ms
-- KEYS[5] godwit:sessions:open:by-host    sorted set: the same sessions, all with score 0
-- KEYS[6] godwit:hosts                    hash: <host> -> encoded HostInfo
-- KEYS[7] godwit:hosts:version            counter
-- KEYS[8] godwit:hosts:changed            sorted set: <host>, its score the version of its last change
-- ARGV[1] mark   ARGV[2] host   ARGV[3] boot   ARGV[4] incarnation   ARGV[5] duration ms   ARGV[6] grace ms
-- ARGV[7] renew every ms   ARGV[8] SHA-256 of the secret, hex   ARGV[9] generation that the host was last answered   ARGV[10] now, ms
-- returns {"REASSERTED", generation, duration, grace, renew} or {"MARK"}, {"VOID"}
-- A session that this incarnation knows already keeps its rules (SL-5). Closed is for ever, under whichever incarnation (SL-2).
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return { "MARK" } end
local session = redis.call("HMGET", KEYS[2], "incarnation", "closed", "generation", "duration", "grace", "renew")
if session[2] and session[2] ~= "0" then return { "VOID" } end

local duration, grace, renew = ARGV[5], ARGV[6], ARGV[7]
if session[1] == ARGV[4] then duration, grace, renew = session[4], session[5], session[6] end
local generation = string.format("%.0f", math.max(tonumber(session[3] or "0"), tonumber(ARGV[9])) + 1)
redis.call("HSET", KEYS[2], "incarnation", ARGV[4], "generation", generation, "duration", duration, "grace", grace,
  "renew", renew, "secret", ARGV[8], "closed", "0")
redis.call("HSET", KEYS[3], ARGV[2] .. "/" .. ARGV[3], generation .. " " .. duration .. " " .. grace)
redis.call("HSET", KEYS[4], ARGV[2], ARGV[10])
redis.call("ZADD", KEYS[5], 0, ARGV[2] .. "/" .. ARGV[3])
if redis.call("HEXISTS", KEYS[6], ARGV[2]) == 1 then redis.call("ZADD", KEYS[8], redis.call("INCR", KEYS[7]), ARGV[2]) end
return { "REASSERTED", generation, duration, grace, renew }
