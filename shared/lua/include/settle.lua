-- put_back(k, key, a): a claim given back; no attempt is consumed, a new epoch shuts out its old holder.
local function put_back(k, key, a)
  local n = ARGV[a + 1]
  redis.call('ZREM', k.inflight, n)
  redis.call('HINCRBY', key, 'epoch', 1)
  redis.call('HSET', key, 'status', 'pending', 'next', now)
  if ARGV[a + 4] == 'reclaim' then redis.call('HINCRBY', key, 'vanished', 1) end
  redis.call('ZADD', k.queue, now, n)
end

-- tell(k, n, payload): the dead letter as an event about its target.
local function tell(k, n, payload)
  if payload == '' then return end
  redis.call('XADD', k.events, '*', 'id', 'mp.dead.' .. k.target .. '.' .. n, 'type', 'delivery.dead_letter',
    'at', string.format('%d', now), 'about', k.target, 'payload', payload)
end

-- settle(k, key, a, vanished): the attempt's result in the delivery, its sets and its target's counters.
local KEPT = 2592000000
local STATUS = {success = 'success', retry = 'pending', dead = 'failed'}
local function settle(k, key, a, vanished)
  local n, verdict, at, hold = ARGV[a + 1], ARGV[a + 4], now + tonumber(ARGV[a + 5]), tonumber(ARGV[a + 6])
  redis.call('ZREM', k.inflight, n)
  redis.call('HSET', key, 'status', STATUS[verdict], 'attempt', ARGV[a + 8], 'attempt:' .. ARGV[a + 8], ARGV[a + 9],
    'response_status', ARGV[a + 10], 'response_body', ARGV[a + 11], 'error', ARGV[a + 12], 'next', at)
  if vanished then redis.call('HDEL', key, 'vanished') end
  redis.call('HSET', k.hash, 'last_triggered', now)
  if verdict == 'success' then
    redis.call('HDEL', k.hash, 'failing_since', 'consecutive', 'gone')
    redis.call('HINCRBY', k.hash, 'success_count', 1)
  else
    redis.call('HSETNX', k.hash, 'failing_since', now)
    if ARGV[a + 7] == '1' then redis.call('HINCRBY', k.hash, 'consecutive', 1) end
    if ARGV[a + 10] == '410' then redis.call('HSET', k.hash, 'gone', now) end
    if verdict == 'dead' then redis.call('HINCRBY', k.hash, 'failure_count', 1) end
  end
  if hold > 0 then redis.call('HSET', k.hash, 'hold', now + hold) end
  if verdict == 'retry' then return redis.call('ZADD', k.queue, at, n) end
  redis.call('HSET', key, 'finished', now)
  redis.call('PEXPIRE', key, KEPT)
  redis.call('ZREM', k.pending, n)
  redis.call('ZADD', k[verdict], n, n)
  redis.call('PEXPIRE', k[verdict], KEPT)
  if verdict == 'dead' then tell(k, n, ARGV[a + 13]) end
end
