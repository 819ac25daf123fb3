-- One bounded step of trimming, never past an entry that a group has not read or not acknowledged.
-- KEYS  1 events
-- ARGV  1 keep entries younger than this many ms, 2 keep at most this many, 3 most to drop in this step (0: only drop
--       groups), 4 idle ms after which a group that holds back entries older than ARGV 1 is dropped
-- Returns {entries dropped, groups dropped…}
-- Emits nothing
--@include clock
if redis.call('EXISTS', KEYS[1]) == 0 then return {0} end
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local function before(a, b)
  local ams, aseq = parts(a)
  local bms, bseq = parts(b)
  return ams < bms or (ams == bms and aseq < bseq)
end
local function table_of(flat)
  local info = {}
  for i = 1, #flat, 2 do info[flat[i]] = flat[i + 1] end
  return info
end
local function idle(name)
  local least = math.huge
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], name)) do
    least = math.min(least, table_of(consumer).idle)
  end
  return least
end

local cut = string.format('%d-0', now - tonumber(ARGV[1]))
local floor, out = nil, {0}
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = table_of(flat)
  local unread = redis.call('XRANGE', KEYS[1], '(' .. group['last-delivered-id'], '+', 'COUNT', 1)[1]
  local pending = redis.call('XPENDING', KEYS[1], group.name)
  local need = pending[1] > 0 and pending[2] or unread and unread[1]
  if need and before(need, cut) and idle(group.name) >= tonumber(ARGV[4]) then
    redis.call('XGROUP', 'DESTROY', KEYS[1], group.name)
    out[#out + 1] = group.name
  elseif need and (not floor or before(need, floor)) then
    floor = need
  end
end
if tonumber(ARGV[3]) == 0 then return out end
local excess = math.min(tonumber(ARGV[3]), redis.call('XLEN', KEYS[1]) - tonumber(ARGV[2]))
local old = floor and before(floor, cut) and floor or cut
out[1] = redis.call('XTRIM', KEYS[1], 'MINID', '~', old, 'LIMIT', ARGV[3])
excess = excess - out[1]
if excess > 0 then
  local last = floor or redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]
  out[1] = out[1] + redis.call('XTRIM', KEYS[1], 'MINID', '~', last, 'LIMIT', excess)
end
return out
