-- Tells what targets have due, oldest first, and what decides how much of it may be claimed.
-- KEYS  four per target: queue, inflight, target, burst
-- ARGV  1 now or '', 2 in-flight cap; then two per target: most numbers wanted, '1' to count (else due is 0)
-- Returns {now, per target {due, places, burst version, times, digest_at, last_digest, numbers…}}
-- Emits nothing
--@include ledger
local out = {now}
for i = 1, #KEYS / 4 do
  local queue, inflight, hash, burst = unpack(KEYS, 4 * i - 3, 4 * i)
  local free, most = places(inflight, hash, tonumber(ARGV[2])), tonumber(ARGV[1 + 2 * i])
  local one = {0, free, '', '', '', ''}
  if ARGV[2 + 2 * i] == '1' then
    one[1] = redis.call('ZCOUNT', queue, '-inf', now)
    for k, value in ipairs(redis.call('HMGET', burst, 'version', 'times', 'digest_at', 'last_digest')) do
      one[2 + k] = value or ''
    end
  end
  for _, n in ipairs(redis.call('ZRANGE', queue, '-inf', now, 'BYSCORE', 'LIMIT', 0, most)) do one[#one + 1] = n end
  out[1 + i] = one
end
return out
