-- A digest is about to be sent: from here on it is one message, whatever becomes of its worker.
-- KEYS  1 the hash of its first member, 2 digests
-- ARGV  1 now or '', 2 worker, 3 epoch of the first member's claim, 4 digest (ms of its claim), 5 number of its members
-- Returns 1, or 0 when it must not be sent, because its members were taken back or it is an hour old
-- Emits nothing
--@include ledger
local was = redis.call('HMGET', KEYS[1], 'status', 'worker', 'epoch')
if was[1] ~= 'sending' or was[2] ~= ARGV[2] or was[3] ~= ARGV[3] then return 0 end
local left = redis.call('HGET', KEYS[2], ARGV[4])
if left then return tonumber(left) > 0 and 1 or 0 end
if now - tonumber(ARGV[4]) > 3600000 then return 0 end
redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
redis.call('PEXPIRE', KEYS[2], 86400000)
return 1
