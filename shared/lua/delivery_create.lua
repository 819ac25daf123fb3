-- Creates deliveries, each event once per target.
-- KEYS  1 due; then four per target: queue, pending, seen, target; then two per delivery: its hash, told
-- ARGV  1 now or '', 2 T = number of targets, then T names; then eleven per delivery: index of its target, number, event,
--       type, payload, at, incident, meta, delay in ms, '1' to bypass `seen`, number of the delivery it repeats or ''
-- Returns per delivery 1, or 0 when the target has this event already (or was deleted)
-- Emits nothing
--@include ledger
local T, out = tonumber(ARGV[2]), {}
local function create(a, key, told)
  local base = 4 * tonumber(ARGV[a])
  local queue, pending, seen, hash = KEYS[base - 2], KEYS[base - 1], KEYS[base], KEYS[base + 1]
  local n, event, at = ARGV[a + 1], ARGV[a + 2], now + tonumber(ARGV[a + 8])
  if redis.call('HEXISTS', hash, 'deleted') == 1 then return 0 end
  local made = redis.call('HGET', key, 'event') -- the same call again, because its answer was lost
  if made then return made == event and 1 or 0 end
  if ARGV[a + 9] ~= '1' and redis.call('ZADD', seen, 'NX', now, event) == 0 then return 0 end
  redis.call('HSET', key, 'target', ARGV[2 + tonumber(ARGV[a])], 'event', event, 'type', ARGV[a + 3],
    'payload', ARGV[a + 4], 'at', ARGV[a + 5], 'created', now, 'status', 'pending', 'next', at, 'attempt', 0,
    'epoch', 0, 'incident', ARGV[a + 6], 'meta', ARGV[a + 7], 'redelivery_of', ARGV[a + 10])
  if ARGV[a + 6] ~= '' then -- the incident's timeline finds it; a day longer than the delivery is kept
    redis.call('SADD', told, ARGV[2 + tonumber(ARGV[a])] .. ' ' .. n)
    redis.call('PEXPIRE', told, 2678400000)
  end
  redis.call('ZADD', queue, at, n)
  redis.call('ZADD', pending, n, n)
  return 1
end
for i = 1, (#KEYS - 1 - 4 * T) / 2 do
  out[i] = create(3 + T + 11 * (i - 1), KEYS[4 * T + 2 * i], KEYS[1 + 4 * T + 2 * i])
end

-- An event is remembered for 5 minutes, for a stream entry is handed over up to five times, some 13 s apart; and for
-- 8 days (longer than the stream keeps it) while among the newest 2,000.
for t = 1, T do
  local queue, seen, hash = KEYS[4 * t - 2], KEYS[4 * t], KEYS[4 * t + 1]
  local over = math.min(200, redis.call('ZCARD', seen) - 2000)
  if over > 0 then
    local old = redis.call('ZRANGE', seen, '-inf', now - 300000, 'BYSCORE', 'LIMIT', 0, over)
    if #old > 0 then redis.call('ZREM', seen, unpack(old)) end
  end
  redis.call('PEXPIRE', seen, 691200000)
  look(KEYS[1], queue, hash, ARGV[2 + t], 0)
end
return out
