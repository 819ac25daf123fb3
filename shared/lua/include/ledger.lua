-- now: ARGV[1], or the server's time in ms when that is empty.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

-- look(due, queue, hash, target, busy): when a worker should look at the target: at its earliest pending delivery, but
-- not before its hold ends and, when that is past, `busy` ms from now, because the caller is at work on it.
local function look(due, queue, hash, target, busy)
  local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
  local state = redis.call('HMGET', hash, 'disabled', 'hold')
  if not first[2] or state[1] then return redis.call('ZREM', due, target) end
  local at = math.max(tonumber(first[2]), tonumber(state[2] or 0))
  if at <= now then at = now + busy end
  redis.call('ZADD', due, at, target)
end

-- mark(sending, inflight, target): the target's oldest claim, so that claims of vanished workers are found.
local function mark(sending, inflight, target)
  local first = redis.call('ZRANGE', inflight, 0, 0, 'WITHSCORES')
  if first[2] then redis.call('ZADD', sending, first[2], target) else redis.call('ZREM', sending, target) end
end

-- places(inflight, hash, cap): how many more may be claimed; one at a time after 5 failures in a row (the circuit). A
-- negative cap is none: the members of a digest are one message.
local function places(inflight, hash, cap)
  local state = redis.call('HMGET', hash, 'disabled', 'hold', 'consecutive')
  if state[1] or tonumber(state[2] or 0) > now then return 0 end
  if cap < 0 then return math.huge end
  if tonumber(state[3] or 0) >= 5 then cap = 1 end
  return math.max(0, cap - redis.call('ZCARD', inflight))
end
