-- Removes a token from the directory, unless another monitor has it by now.
-- KEYS  1 the token's bucket
-- ARGV  1 the token's field, 2 the monitor id that had it
-- Returns 1 removed, 0 it is another's or gone
-- Emits nothing
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
