-- put_back(k, key, a, was): a claim given back; no attempt is consumed, a new epoch shuts out its old holder.
local function put_back(k, key, a, was)
  local n = ARGV[a + 1]
  redis.call('ZREM', k.inflight, n)
  redis.call('HINCRBY', key, 'epoch', 1)
  redis.call('HSET', key, 'status', 'pending', 'next', now)
  if ARGV[a + 4] == 'reclaim' then redis.call('HINCRBY', key, 'vanished', 1) end
  redis.call('ZADD', k.queue, now, n)
  keep(k, key, n, was, ARGV[a + 14] == '1')
end

-- tell(k, n, payload): the dead letter as an event about its target.
local function tell(k, n, payload)
  if payload == '' then return end
  redis.call('XADD', k.events, '*', 'id', 'mp.dead.' .. k.target .. '.' .. n, 'type', 'delivery.dead_letter',
    'at', string.format('%d', now), 'about', k.target, 'payload', payload)
end

-- succeed(k): the successes so far, before a failure or at the end.
local function succeed(k)
  if k.successes == 0 then return end
  redis.call('HDEL', k.hash, 'failing_since', 'consecutive', 'gone')
  redis.call('HSET', k.hash, 'last_triggered', now)
  redis.call('HINCRBY', k.hash, 'success_count', k.successes)
  k.successes = 0
end

-- settle(k, key, a, was): the attempt's result in the delivery and its target's state. What a storm repeats for each,
-- sets and the count of successes, is noted in k and written by `close` with one command for all.
local KEPT = 2592000000
local STATUS = {success = 'success', retry = 'pending', dead = 'failed'}
local function settle(k, key, a, was)
  local n, verdict, at, hold = ARGV[a + 1], ARGV[a + 4], now + tonumber(ARGV[a + 5]), tonumber(ARGV[a + 6])
  k.left[#k.left + 1] = n
  local ended = verdict ~= 'retry'
  redis.call('HSET', key, 'status', STATUS[verdict], 'attempt', ARGV[a + 8], 'attempt:' .. ARGV[a + 8], ARGV[a + 9],
    'response_status', ARGV[a + 10], 'response_body', ARGV[a + 11], 'error', ARGV[a + 12], 'next', at,
    ended and 'finished' or 'next', ended and now or at)
  if was.vanished then redis.call('HDEL', key, 'vanished') end
  if verdict == 'success' then
    k.successes = k.successes + 1
  else
    succeed(k)
    redis.call('HSET', k.hash, 'last_triggered', now)
    redis.call('HSETNX', k.hash, 'failing_since', now)
    if ARGV[a + 7] == '1' then redis.call('HINCRBY', k.hash, 'consecutive', 1) end
    if ARGV[a + 10] == '410' then redis.call('HSET', k.hash, 'gone', now) end
    if verdict == 'dead' then redis.call('HINCRBY', k.hash, 'failure_count', 1) end
  end
  if hold > 0 then redis.call('HSET', k.hash, 'hold', now + hold) end
  if verdict == 'retry' then
    keep(k, key, n, was, ARGV[a + 14] == '1')
    return redis.call('ZADD', k.queue, at, n)
  end
  leave(k, was)
  redis.call('PEXPIRE', key, KEPT)
  k.ended[#k.ended + 1] = n
  if verdict == 'success' then
    k.done[#k.done + 1], k.done[#k.done + 2] = n, n
  else
    redis.call('ZADD', k.dead, n, n)
    redis.call('PEXPIRE', k.dead, KEPT)
    tell(k, n, ARGV[a + 13])
  end
end

-- close(k): what `settle` noted.
local function close(k)
  succeed(k)
  if #k.left > 0 then redis.call('ZREM', k.inflight, unpack(k.left)) end
  if #k.ended > 0 then redis.call('ZREM', k.pending, unpack(k.ended)) end
  if #k.done > 0 then
    redis.call('ZADD', k.success, unpack(k.done))
    redis.call('PEXPIRE', k.success, KEPT)
  end
end
