-- Replaces the mark of the store: compare-and-set (GA-6).
-- KEYS[1] godwit:mark             string: the signed mark
-- KEYS[2] godwit:sessions:open    hash: <host>/<boot> -> ...
-- KEYS[3] godwit:sessions:open:by-host    sorted set of the same
-- ARGV[1] mark as it was read, "" for none   ARGV[2] mark to be
-- ARGV[3] "forget" with a new incarnation, which knows no session (SL-2), else ""
-- returns {"REPLACED"} or {"CHANGED"}
if (redis.call("GET", KEYS[1]) or "") ~= ARGV[1] then return { "CHANGED" } end

redis.call("SET", KEYS[1], ARGV[2])
if ARGV[3] == "forget" then redis.call("DEL", KEYS[2], KEYS[3]) end
return { "REPLACED" }
