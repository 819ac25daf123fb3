-- steady(k, id, token, kind, post, message): the heartbeat of a monitor that is well and stays so, which is nearly every
-- one; 1 when it was recorded, nil when it needs the long way. It reads seven fields, for reading all costs twice as much
-- as everything else. Only alive and warning: an error must be compared with the last one.
local HEAD = NOW .. ' '
local function steady(k, id, token, kind, post, message)
  local v = redis.call('HMGET', k.monitor, 'token', 'status', 'timeout', 'grace', 'methods', 'schedule', 'started')
  local status = v[2]
  if v[1] ~= token or (status ~= 'alive' and status ~= 'warning') or STATUS[kind] ~= status then return nil end
  if (v[5] == 'post' and post ~= '1') or (v[6] or '') ~= '' or (v[7] or '') ~= '' then return nil end
  redis.call('HSET', k.monitor, 'seen', now)
  arm(KEYS[1], k.pulse, id, now + (tonumber(v[3]) or 0) + (tonumber(v[4]) or 0))
  log(k.beats, HEAD .. kind .. '  ' .. message)
  return 1
end
