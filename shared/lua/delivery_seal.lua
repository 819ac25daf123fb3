-- A digest is about to be sent: from here on it is one message, whatever becomes of its worker.
-- KEYS  1 the hash of its first member, 2 digests, 3 repeats, 4 inflight
-- ARGV  1 now or '', 2 worker, 3 epoch of the first member's claim, 4 digest (ms of its claim), 5 number of its members
-- Returns 1, or 0 when it must not be sent: others have members of it, or it was given up, or is an hour old and never sent
-- Emits nothing
--@include ledger
local first = redis.call('HMGET', KEYS[1], 'status', 'worker', 'epoch', 'bound')
if first[1] ~= 'sending' or first[2] ~= ARGV[2] or first[3] ~= ARGV[3] then return 0 end
local left, members = tonumber(redis.call('HGET', KEYS[2], ARGV[4]) or 0), tonumber(ARGV[5])
if first[4] == ARGV[4] then -- again: with all that are left, and whatever became of its number
  if redis.call('ZCOUNT', KEYS[3], ARGV[4], ARGV[4]) > 0 then return 0 end
  if left > members and redis.call('ZCARD', KEYS[4]) > members then return 0 end
elseif left < 0 or left == 0 and now - tonumber(ARGV[4]) > 3600000 then return 0 end
if left <= 0 then redis.call('HSET', KEYS[2], ARGV[4], members) end
redis.call('PEXPIRE', KEYS[2], 86400000)
return 1
