-- Removes a token from the directory, unless another monitor has it by now.
-- KEYS  1 token
-- ARGV  1 the monitor id that had it
-- Returns 1 removed, 0 it is another's or gone
-- Emits nothing
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
