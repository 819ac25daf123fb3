local FIELDS = {'event', 'type', ARGV[3] == '1' and '' or 'payload', 'at', 'created', 'attempt', 'epoch', 'incident',
  'meta', 'next'}

-- claim(key, at): takes what is due and there; the sets of its target follow with all the others.
local function claim(key, at)
  if not at or tonumber(at) > now then return end
  local got = redis.call('HMGET', key, unpack(FIELDS))
  if not got[1] then return {} end -- its record is gone: it leaves the queue
  got[7] = string.format('%d', (tonumber(got[7]) or 0) + 1)
  redis.call('HSET', key, 'status', 'sending', 'worker', ARGV[2], 'epoch', got[7])
  return got
end
