-- Creates deliveries, each event once per target.
-- KEYS  1 due; then four per target: queue, pending, seen, target; then two per delivery: its hash, told
-- ARGV  1 now or '', 2 T = number of targets, then T names; then eleven per delivery: index of its target, number, event,
--       type, payload, at, incident, meta, delay in ms, '1' to bypass `seen`, number of the delivery it repeats or ''
-- Returns per delivery 1, or 0 when the target has this event already (or was deleted)
-- Emits nothing
--@include ledger
--@include seen
local T, targets, out = tonumber(ARGV[2]), {}, {}
for t = 1, T do
  local k = {name = ARGV[2 + t], queued = {}, numbers = {}}
  k.queue, k.pending, k.seen, k.hash = unpack(KEYS, 4 * t - 2, 4 * t + 1)
  k.deleted = redis.call('HEXISTS', k.hash, 'deleted') == 1
  targets[t] = k
end

local function create(a, key, told)
  local k, n, event, at = targets[tonumber(ARGV[a])], ARGV[a + 1], ARGV[a + 2], now + tonumber(ARGV[a + 8])
  if k.deleted then return 0 end
  local made = redis.call('HGET', key, 'event') -- the same call again, because its answer was lost
  if made then return made == event and 1 or 0 end
  if ARGV[a + 9] ~= '1' and redis.call('ZADD', k.seen, 'NX', now, event) == 0 then return 0 end
  redis.call('HSET', key, 'target', k.name, 'event', event, 'type', ARGV[a + 3],
    'payload', ARGV[a + 4], 'at', ARGV[a + 5], 'created', now, 'status', 'pending', 'next', at, 'attempt', 0,
    'epoch', 0, 'incident', ARGV[a + 6], 'meta', ARGV[a + 7], 'redelivery_of', ARGV[a + 10])
  if ARGV[a + 6] ~= '' then -- the incident's timeline finds it; a day longer than the delivery is kept
    redis.call('SADD', told, k.name .. ' ' .. n)
    redis.call('PEXPIRE', told, 2678400000)
  end
  k.queued[#k.queued + 1], k.queued[#k.queued + 2] = at, n
  k.numbers[#k.numbers + 1], k.numbers[#k.numbers + 2] = n, n
  return 1
end
for i = 1, (#KEYS - 1 - 4 * T) / 2 do
  out[i] = create(3 + T + 11 * (i - 1), KEYS[4 * T + 2 * i], KEYS[1 + 4 * T + 2 * i])
end

for _, k in ipairs(targets) do
  if #k.queued > 0 then
    redis.call('ZADD', k.queue, unpack(k.queued))
    redis.call('ZADD', k.pending, unpack(k.numbers))
  end
  forget(k.seen)
  look(KEYS[1], k.queue, k.hash, k.name, 0)
end
return out
