-- Makes pending deliveries due now, whatever they wait for; the target's hold and its failures in a row are forgotten.
-- KEYS  1 due, 2 queue, 3 target; then one per delivery: its hash
-- ARGV  1 now or '', 2 target, then the deliveries' numbers
-- Returns how many were brought forward
-- Emits nothing
--@include ledger
local count = 0
for i = 4, #KEYS do
  local n = ARGV[i - 1]
  local at = redis.call('ZSCORE', KEYS[2], n)
  if at and tonumber(at) > now then
    redis.call('ZADD', KEYS[2], now, n)
    redis.call('HSET', KEYS[i], 'next', now)
    count = count + 1
  end
end
redis.call('HDEL', KEYS[3], 'hold', 'consecutive')
look(KEYS[1], KEYS[2], KEYS[3], ARGV[2], 0)
return count
