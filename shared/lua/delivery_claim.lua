-- Claims pending deliveries in a worker's name: compare-and-set, any number of workers may race.
-- KEYS  1 due, 2 sending; then five per target: queue, inflight, target, burst, repeats; then one per delivery: its hash
-- ARGV  1 now or '', 2 worker, 3 '1' to leave payloads out, 4 T = number of targets; then eleven per target: name,
--       cap, number of deliveries D, look again at (ms or 0), expected burst version or '-', new version, times, digest_at,
--       last_digest, the message they must belong to (-1 none, 0 their own, a digest), the digest they are claimed for (0:
--       each its own message); then the deliveries' numbers, D for each target
-- Returns {now, per target 0 (nothing more is due), 1 (more is, and places are free), 2 (more is, no place is free) or
--         -1 (the burst changed), then per claim {index of its hash among
--         the deliveries, event, type, payload, at, created, attempt, epoch, incident, meta, next}}
-- Emits nothing
--@include ledger
local T, d = tonumber(ARGV[4]), 0
local base, out = 4 + 11 * T, {now}
--@include take

for t = 1, T do
  local a = 5 + 11 * (t - 1)
  local queue, inflight, hash, burst, repeats = unpack(KEYS, 5 * t - 2, 5 * t + 2)
  local message, digest = ARGV[a + 9], ARGV[a + 10]
  local count = tonumber(ARGV[a + 2])
  local won = ARGV[a + 4] == '-' or (redis.call('HGET', burst, 'version') or '') == ARGV[a + 4]
  local free = won and places(inflight, hash, tonumber(ARGV[a + 1])) or 0
  local taken, held = {}, {}
  local due = count > 0 and (free > 0 or digest ~= '0') and redis.call('ZMSCORE', queue, unpack(ARGV, base + d + 1, base + d + count)) or {}
  for i = d + 1, d + #due do
    local got, n = claim(KEYS[2 + 5 * T + i], due[i - d], message, digest, free), ARGV[base + i]
    if got then taken[#taken + 1] = n end
    if got and got[1] then
      free = free - 1
      out[#out + 1] = {i, unpack(got, 1, 10)}
      held[#held + 1], held[#held + 2] = now, n
    end
  end
  if #taken > 0 then redis.call('ZREM', queue, unpack(taken)) end
  if #taken > 0 and message ~= '-1' then redis.call('ZREM', repeats, unpack(taken)) end
  if #held > 0 then redis.call('ZADD', inflight, unpack(held)) end
  d = d + count
  if won and ARGV[a + 4] ~= '-' then
    redis.call('HSET', burst, 'version', ARGV[a + 5], 'times', ARGV[a + 6], 'digest_at', ARGV[a + 7],
      'last_digest', ARGV[a + 8])
    redis.call('PEXPIRE', burst, 60000)
  end
  local again = tonumber(ARGV[a + 3])
  look(KEYS[1], queue, hash, ARGV[a], again > now and again - now or 1000)
  mark(KEYS[2], inflight, ARGV[a])
  local flag = not won and -1 or redis.call('ZCOUNT', queue, '-inf', now) == 0 and 0 or free > 0 and 1 or 2
  table.insert(out, 1 + t, flag)
end
return out
