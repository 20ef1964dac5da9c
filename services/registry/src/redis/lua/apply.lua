-- Changes authority records: each by compare-and-set on the whole record, with the mark and the caller's session (§4, GA-6).
-- KEYS[1] godwit:mark             string: the signed mark
-- KEYS[2] godwit:sessions:open    hash: <host>/<boot> -> ...; a session that is closed or not known is not in it
-- then for each change:
--   godwit:agent:<id>       string: the encoded record
--   godwit:history:<id>     list of encoded entries, newest first
--   godwit:holders:<id>     hash: <host>/<boot> -> checkpoint
--   ...                     sorted sets in which the agent is listed, all with score 0
-- ARGV[1] mark   ARGV[2] <host>/<boot> of the caller, "" for an operator   ARGV[3] how many entries of a history are kept
-- then for each change:
--   agent id   record as it was read, "" for none   record to be   history entry, or ""
--   "any", or every live announcement that was seen, each as "<host>/<boot>=<checkpoint>\n"
--   number of sorted sets, and for each of them: "add" or "remove"
-- returns for each change "APPLIED", "RECORD_CHANGED" or "HOLDERS_CHANGED"; {"MARK"} or {"CALLER_VOID"} for all
-- Every check of a change comes before its first write: Redis does not roll a script back.
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return { "MARK" } end
if ARGV[2] ~= "" and redis.call("HEXISTS", KEYS[2], ARGV[2]) == 0 then return { "CALLER_VOID" } end

local function announced_since(holders_key, seen)
  if seen == "any" then return false end
  local holders = redis.call("HGETALL", holders_key)
  for i = 1, #holders, 2 do
    local known = string.find(seen, holders[i] .. "=" .. holders[i + 1] .. "\n", 1, true)
    if not known and redis.call("HEXISTS", KEYS[2], holders[i]) == 1 then return true end
  end
  return false
end

local function apply(key, arg, lists)
  if (redis.call("GET", KEYS[key]) or "") ~= ARGV[arg + 1] then return "RECORD_CHANGED" end
  if announced_since(KEYS[key + 2], ARGV[arg + 4]) then return "HOLDERS_CHANGED" end

  redis.call("SET", KEYS[key], ARGV[arg + 2])
  if ARGV[arg + 3] ~= "" then
    redis.call("LPUSH", KEYS[key + 1], ARGV[arg + 3])
    redis.call("LTRIM", KEYS[key + 1], 0, tonumber(ARGV[3]) - 1)
  end
  for i = 1, lists do
    if ARGV[arg + 5 + i] == "add" then
      redis.call("ZADD", KEYS[key + 2 + i], 0, ARGV[arg])
    else
      redis.call("ZREM", KEYS[key + 2 + i], ARGV[arg])
    end
  end
  return "APPLIED"
end

local outcomes = {}
local key, arg = 3, 4
while key <= #KEYS do
  local lists = tonumber(ARGV[arg + 5])
  outcomes[#outcomes + 1] = apply(key, arg, lists)
  key = key + 3 + lists
  arg = arg + 6 + lists
end
return outcomes
