local FIELDS = {'event', 'type', ARGV[3] == '1' and '' or 'payload', 'at', 'created', 'attempt', 'epoch', 'incident',
  'meta', 'next', 'bound', 'digest'}

-- again(key, digest): what this worker has claimed for this digest already, in a call whose answer was lost. It needs no
-- place: it has one.
local function again(key, digest)
  if digest == '0' then return end
  local was = redis.call('HMGET', key, 'status', 'worker', 'digest')
  if was[1] == 'sending' and was[2] == ARGV[2] and was[3] == digest then return redis.call('HMGET', key, unpack(FIELDS)) end
end

-- claim(key, at, message, digest, free): takes what is due, there and still of `message`, for `digest` (0: its own message). A
-- digest is repeated when the first of it is due. The sets of its target follow with all the others.
local function claim(key, at, message, digest, free)
  if not at or free <= 0 or tonumber(at) > now and tonumber(message) <= 0 then return again(key, digest) end
  local got = redis.call('HMGET', key, unpack(FIELDS))
  if not got[1] then return {} end -- its record is gone: it leaves the queue
  if (got[11] or '-1') ~= message then return end
  got[7] = string.format('%d', (tonumber(got[7]) or 0) + 1)
  if digest == '0' and got[12] then redis.call('HDEL', key, 'digest') end
  if digest == '0' then redis.call('HSET', key, 'status', 'sending', 'worker', ARGV[2], 'epoch', got[7])
  else redis.call('HSET', key, 'status', 'sending', 'worker', ARGV[2], 'epoch', got[7], 'digest', digest) end
  return got
end
