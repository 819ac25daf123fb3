-- perish(k, id, credited): a monitor that has been well since some moment of today, knows no schedule and runs nothing dies of
-- silence, which is nearly every death; nil when it needs the long way, whose outcome would be the same. `credited` is the
-- end of the newest gap in our listening: who was heard later is owed nothing. It reads eight fields, for a table of the
-- whole record costs as much as all that is written.
local function perish(k, id, credited)
  local v = redis.call('HMGET', k.monitor, 'status', 'gen', 'since', 'seen', 'name', 'card', 'started', 'schedule')
  local status, since, card = v[1], v[3], v[6]
  local number, from, seen = tonumber(v[2]), tonumber(since), tonumber(v[4])
  if (status ~= 'alive' and status ~= 'warning') or not card or v[7] or v[8] or not (number and from and seen)
    or seen < credited or from < TODAY * DAY or id == 'self-ping' then return nil end -- see shared/synthetic.py
  local day = TODAYS .. status
  number = number + 1
  local gen = string.format('%d', number)
  local incident, so_far = id .. '.' .. gen, redis.call('HGET', k.history, day) or 0
  prune(k, id, number)
  redis.call('HSET', k.history, day, string.format('%d', so_far + math.max(0, now - from)), 'i:' .. gen,
    NOW .. '||dead|silence')
  open(k, incident)
  tell(k.events, id, gen, 'monitor.dead', v[5], card, nil, status, 'dead', v[4], 'silence', incident, since, '')
  redis.call('HSET', k.monitor, 'status', 'dead', 'gen', gen, 'since', NOW, 'incident', incident)
  return true
end
