-- steady(k, id, token, kind, post, message): the heartbeat of a monitor that is well and stays so, which is nearly every
-- one; 1 when it was recorded, nil when it needs the long way. It reads seven fields, for reading all costs twice as much
-- as everything else. Only alive and warning: an error must be compared with the last one.
local HEAD = NOW .. ' '
local moved = {} -- score, member, … for the ledger

-- list(): their deadlines, all of a call by one command. The long way comes after it, for what it arms is the newer.
local function list()
  if #moved == 0 then return end
  redis.call('ZADD', KEYS[1], unpack(moved))
  moved = {}
end

-- The hint is moved where it is: to set it anew would give up its memory, and miss its place in the table of those that expire.
local function steady(k, id, token, kind, post, message)
  local v = redis.call('HMGET', k.monitor, 'token', 'status', 'timeout', 'grace', 'methods', 'schedule', 'started')
  local status = v[2]
  if v[1] ~= token or (status ~= 'alive' and status ~= 'warning') or STATUS[kind] ~= status then return nil end
  if (v[5] == 'post' and post ~= '1') or (v[6] or '') ~= '' or (v[7] or '') ~= '' then return nil end
  local wait, last = (tonumber(v[3]) or 0) + (tonumber(v[4]) or 0), #moved
  if not (wait < LONGEST) then return nil end -- a broken record must not break the ledger of the others
  redis.call('HSET', k.monitor, 'seen', now)
  local left = lasts(wait)
  if redis.call('PEXPIRE', k.pulse, left) == 0 then redis.call('SET', k.pulse, 1, 'PX', left) end
  log(k.beats, HEAD .. kind .. '  ' .. message)
  moved[last + 1], moved[last + 2] = now + wait, id -- last, for what failed is refused and moves no deadline
  return 1
end
