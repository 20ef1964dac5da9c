-- Changes an authority record: compare-and-set on the whole record, with the mark and the caller's session (§4, GA-6).
-- KEYS[1] godwit:mark                 string: the signed mark
-- KEYS[2] godwit:session:<caller>     hash
-- KEYS[3] godwit:agent:<id>           string: the encoded record
-- KEYS[4] godwit:history:<id>         list of encoded entries, newest first
-- KEYS[5] godwit:holders:<id>         hash: <host>/<boot> -> checkpoint
-- KEYS[6] godwit:sessions:open        hash: <host>/<boot> -> ...
-- KEYS[7...]                          sorted sets in which the agent is listed, all with score 0
-- ARGV[1] mark   ARGV[2] agent id   ARGV[3] record as it was read, "" for none   ARGV[4] record to be
-- ARGV[5] history entry, or ""   ARGV[6] how many entries are kept
-- ARGV[7] "any", or every live announcement that was seen, each as "<host>/<boot>=<checkpoint>\n"
-- ARGV[8...] for each of KEYS[7...]: "add" or "remove"
-- returns {"APPLIED"} or {"MARK"}, {"CALLER_VOID"}, {"RECORD_CHANGED"}, {"HOLDERS_CHANGED"}
-- Every check comes before the first write: Redis does not roll a script back.
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return { "MARK" } end
if redis.call("HGET", KEYS[2], "closed") ~= "0" then return { "CALLER_VOID" } end
if (redis.call("GET", KEYS[3]) or "") ~= ARGV[3] then return { "RECORD_CHANGED" } end
if ARGV[7] ~= "any" then
  local holders = redis.call("HGETALL", KEYS[5])
  for i = 1, #holders, 2 do
    local seen = string.find(ARGV[7], holders[i] .. "=" .. holders[i + 1] .. "\n", 1, true)
    if not seen and redis.call("HEXISTS", KEYS[6], holders[i]) == 1 then return { "HOLDERS_CHANGED" } end
  end
end

redis.call("SET", KEYS[3], ARGV[4])
if ARGV[5] ~= "" then
  redis.call("LPUSH", KEYS[4], ARGV[5])
  redis.call("LTRIM", KEYS[4], 0, tonumber(ARGV[6]) - 1)
end
for i = 7, #KEYS do
  if ARGV[i + 1] == "add" then
    redis.call("ZADD", KEYS[i], 0, ARGV[2])
  else
    redis.call("ZREM", KEYS[i], ARGV[2])
  end
end
return { "APPLIED" }
