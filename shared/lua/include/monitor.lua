-- read(key): the fields of a monitor that decide; nil when there is no such monitor.
local FIELDS = {'token', 'status', 'gen', 'timeout', 'grace', 'since', 'seen', 'base', 'schedule', 'methods',
  'started', 'rid', 'incident', 'digest'}
local function read(key)
  local values = redis.call('HMGET', key, unpack(FIELDS))
  if not values[2] then return nil end
  local m = {}
  for i, field in ipairs(FIELDS) do m[field] = values[i] or '' end
  for _, field in ipairs({'gen', 'timeout', 'grace', 'since', 'seen', 'base'}) do m[field] = tonumber(m[field]) or 0 end
  return m
end

-- arm(deadlines, pulse, id, at): the ledger first, then the hint; a deadline in the past fires at once.
local function arm(deadlines, pulse, id, at)
  redis.call('ZADD', deadlines, at, id)
  redis.call('SET', pulse, 1, 'PX', math.max(1, at - now)) -- a small number costs no memory of its own
end

-- disarm(deadlines, pulse, id): no deadline; the monitor stays in the ledger, which lists them all.
local function disarm(deadlines, pulse, id)
  redis.call('ZADD', deadlines, 'inf', id)
  redis.call('DEL', pulse)
end
