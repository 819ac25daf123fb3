-- The short way to die: silence of monitors that were well, know no schedule and run nothing, which is nearly every death.
-- It is noted in the status; see `complete`. All else is left to `declare`, whose outcome would be the same.
-- KEYS  1 deadlines, 2 events, 3 open, 4 ingest, 5 gaps; then the monitors, then their pulses
-- ARGV  1 the stamp is stale after this many ms; then the monitors' ids
-- Returns {now, [per monitor: the lag in ms of a death, or -1 nothing to do, -5 nobody has said yet that we listened up to
--         its deadline, -6 it needs the long way]}; while the stamp is stale {now, []}
-- Emits monitor.dead
--@include clock
--@include monitor
--@include transition
--@include refused
local heard = tonumber(redis.call('GET', KEYS[4])) or 0
if #KEYS == 5 or math.abs(now - heard) > tonumber(ARGV[1]) then return {now, {}} end
local newest = redis.call('ZREVRANGE', KEYS[5], 0, 0)[1]
local credited = newest and tonumber(string.match(newest, '%-(%d+)$')) or 0 -- who was heard later is owed nothing
local UNTIL = '/' .. NOW

-- It reads seven fields, for a table of the whole record costs as much as all that is written. A card is only kept of a
-- monitor without a schedule. The synthetic monitor has no incident; see shared/synthetic.py.
local function perish(key, id, opened)
  local v = redis.call('HMGET', key, 'status', 'gen', 'since', 'seen', 'name', 'card', 'started')
  local status, gen, since, seen = v[1], tonumber(v[2]), tonumber(v[3]), tonumber(v[4])
  if (status ~= 'alive' and status ~= 'warning') or not v[6] or v[7] or not (gen and since and seen)
    or seen < credited or id == 'self-ping' then return false end
  gen = string.format('%d', gen + 1)
  local incident, last = id .. '.' .. gen, #opened
  tell(KEYS[2], id, gen, 'monitor.dead', v[5], v[6], nil, status, 'dead', v[4], 'silence', incident, v[3], '')
  redis.call('HSET', key, 'status', status .. UNTIL)
  opened[last + 1], opened[last + 2] = NOW, incident
  return true
end

-- What is one command for all costs a storm a third less.
local results, disarmed, opened, pulses = {}, {}, {}, {}
local deadlines = redis.call('ZMSCORE', KEYS[1], unpack(ARGV, 2))
local count = #deadlines
for i = 1, count do
  local deadline, id = tonumber(deadlines[i]), ARGV[i + 1]
  if not deadline or deadline > now then results[i] = -1
  elseif deadline > heard then results[i] = -5
  else
    local ok, died = pcall(perish, KEYS[i + 5], id, opened)
    if not ok then blame(died) end
    results[i] = ok and died and now - deadline or -6
    if ok and died then
      local last = #disarmed
      disarmed[last + 1], disarmed[last + 2] = 'inf', id
      pulses[#pulses + 1] = KEYS[5 + count + i]
    end
  end
end
if #disarmed > 0 then
  redis.call('ZADD', KEYS[1], unpack(disarmed))
  redis.call('DEL', unpack(pulses))
end
if #opened > 0 then redis.call('ZADD', KEYS[3], unpack(opened)) end
return {now, results}
