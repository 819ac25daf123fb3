-- Records what became of claimed deliveries; a claim that is not the caller's any more is refused.
-- KEYS  1 due, 2 sending, 3 events; then eight per target: queue, inflight, target, pending, done, dead, repeats, digests;
--       then per delivery: its hash
-- ARGV  1 now or '', 2 T = number of targets, then T names; then fifteen per delivery: index of its target, number,
--       worker, epoch, verdict (success, retry, dead, release, reclaim), delay in ms, hold in ms, '1' to count it for the
--       circuit, attempt number, the attempt as JSON, response status, response body, error,
--       payload of the event that a dead letter is, or '' for none; '1' when it may have been sent, and nobody heard
-- Returns {now, per delivery 1 or 0 (refused), per target {failing_since or '', consecutive, number of successes kept}}
-- Emits delivery.dead_letter (mp.dead.<target>.<number>) with the record that ends a delivery: no death is untold
--@include ledger
--@include bind
--@include settle
local T, touched, targets, out = tonumber(ARGV[2]), {}, {}, {now}
for t = 1, T do
  local k = {target = ARGV[2 + t], events = KEYS[3], successes = 0, left = {}, ended = {}, done = {}, fewer = {}}
  k.queue, k.inflight, k.hash, k.pending, k.success, k.dead, k.repeats, k.digests = unpack(KEYS, 8 * t - 4, 8 * t + 3)
  k.grouped = string.find(k.target, '^channel:') -- a webhook's events are never a digest
  targets[t] = k
end
for i = 1, #KEYS - 3 - 8 * T do
  local a = 3 + T + 15 * (i - 1)
  local t, key = tonumber(ARGV[a]), KEYS[3 + 8 * T + i]
  local k = targets[t]
  local got = redis.call('HMGET', key, 'status', 'worker', 'epoch', 'vanished', 'digest', 'bound')
  local ours = got[2] == ARGV[a + 2] and got[3] == ARGV[a + 3]
  if ours and got[1] == 'sending' then
    local was = {vanished = got[4], digest = got[5], bound = got[6]}
    if ARGV[a + 4] == 'release' or ARGV[a + 4] == 'reclaim' then put_back(k, key, a, was)
    else settle(k, key, a, was) end
    if ARGV[a + 4] == 'release' or ARGV[a + 4] == 'reclaim' then touched[t] = 0 else touched[t] = touched[t] or 1000 end
  end
  -- The same record sent twice (an answer that was lost) is no stale one; a claim put back has another epoch.
  out[1 + i] = ours and 1 or 0
end
for t = 1, T do
  local k = targets[t]
  close(k)
  lessen(k)
  if touched[t] then
    look(KEYS[1], k.queue, k.hash, k.target, touched[t])
    mark(KEYS[2], k.inflight, k.target)
  end
  local state = redis.call('HMGET', k.hash, 'failing_since', 'consecutive')
  out[#out + 1] = {state[1] or '', tonumber(state[2] or 0), redis.call('ZCARD', k.success)}
end
return out
