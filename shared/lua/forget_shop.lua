-- Forgets a shop if its record is still what the caller read: one that registered again meanwhile stays.
-- KEYS  1 telemetry
-- ARGV  1 domain, 2 its record as read
-- Returns 1, or 0 when it changed meanwhile
-- Emits nothing
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
