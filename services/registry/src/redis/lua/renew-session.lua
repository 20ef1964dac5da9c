-- Renews the lease of a session (SL-1). No clock is read: a registry closes a session by watching its generation (SL-2).
-- KEYS[1] godwit:mark                     string: the signed mark
-- KEYS[2] godwit:session:<host>/<boot>    hash
-- KEYS[3] godwit:sessions:open            hash: <host>/<boot> -> "generation duration grace"
-- KEYS[4] godwit:hosts:seen               hash: <host> -> ms
-- ARGV[1] mark   ARGV[2] host   ARGV[3] boot   ARGV[4] incarnation   ARGV[5] SHA-256 of the secret, hex
-- ARGV[6] generation that the host was last answered   ARGV[7] now, ms
-- returns {"RENEWED", generation, duration, grace, renew} or {"MARK"}, {"UNKNOWN"}, {"VOID"}, {"BAD_SECRET"}, {"FORGOT", generation}
-- Secrets are compared as digests, and equal Lua strings are one object: how long it takes says nothing about the secret.
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return { "MARK" } end
local session = redis.call("HMGET", KEYS[2], "incarnation", "closed", "secret", "generation", "duration", "grace", "renew")
if session[1] ~= ARGV[4] then return { "UNKNOWN" } end
if session[2] ~= "0" then return { "VOID" } end
if session[3] ~= ARGV[5] then return { "BAD_SECRET" } end
if tonumber(ARGV[6]) > tonumber(session[4]) then return { "FORGOT", session[4] } end -- GA-6

redis.call("HINCRBY", KEYS[2], "generation", 1)
local generation = redis.call("HGET", KEYS[2], "generation") -- as text: a Lua number would round it one day
redis.call("HSET", KEYS[3], ARGV[2] .. "/" .. ARGV[3], generation .. " " .. session[5] .. " " .. session[6])
redis.call("HSET", KEYS[4], ARGV[2], ARGV[7])
return { "RENEWED", generation, session[5], session[6], session[7] }
