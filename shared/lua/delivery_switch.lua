-- Stops a target's deliveries from being claimed, or lets them go on; pending ones stay pending meanwhile.
-- KEYS  1 due, 2 queue, 3 target
-- ARGV  1 now or '', 2 target, 3 '1' to enable, '0' to disable
-- Returns nothing
-- Emits nothing
--@include ledger
if ARGV[3] == '1' then
  -- A fresh start: old failures must not disable it again at once.
  redis.call('HDEL', KEYS[3], 'disabled', 'hold', 'failing_since', 'consecutive', 'gone')
else
  redis.call('HSET', KEYS[3], 'disabled', now)
end
look(KEYS[1], KEYS[2], KEYS[3], ARGV[2], 0)
