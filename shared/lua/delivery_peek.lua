-- Tells what targets have due, oldest first, and what decides how much of it may be claimed.
-- KEYS  six per target: queue, inflight, target, burst, repeats, digests
-- ARGV  1 now or '', 2 in-flight cap; then two per target: most numbers wanted, '1' for what decides about digests
-- Returns {now, per target {due (free of any message; 0 when not asked), places, burst version, times, digest_at,
--         last_digest, numbers, marks}}; a mark says which message a number belongs to: -1 none yet, 0 its own, a digest
--         (the ms of its claim), or -2 a digest of which some members are still claimed
-- Emits nothing
--@include ledger
--@include marks
local out = {now}
for i = 1, #KEYS / 6 do
  local queue, inflight, hash, burst, repeats, digests = unpack(KEYS, 6 * i - 5, 6 * i)
  local most = tonumber(ARGV[1 + 2 * i])
  local numbers = redis.call('ZRANGE', queue, '-inf', now, 'BYSCORE', 'LIMIT', 0, most)
  local one = {0, places(inflight, hash, tonumber(ARGV[2])), '', '', '', '', numbers, {}}
  if ARGV[2 + 2 * i] == '1' then
    local bound = redis.call('ZCARD', repeats)
    one[1] = redis.call('ZCOUNT', queue, '-inf', now)
    if bound > 0 then
      one[7] = with_bound(numbers, queue, repeats, most)
      local free
      one[8], free = marks(one[7], inflight, repeats, digests)
      one[1] = math.max(free, one[1] - bound)
    end
    for k, value in ipairs(redis.call('HMGET', burst, 'version', 'times', 'digest_at', 'last_digest')) do
      one[2 + k] = value or ''
    end
  end
  out[1 + i] = one
end
return out
