-- Keeps a shop's newest telemetry, and that this body was accepted.
-- KEYS  1 telemetry, 2 replay
-- ARGV  1 domain, 2 monitor id, 3 the telemetry as JSON, 4 ms for which the body must not count again
-- Returns 1, or 0 when the shop got another monitor meanwhile
-- Emits nothing
redis.call('SET', KEYS[2], '', 'PX', ARGV[4])
local entry = redis.call('HGET', KEYS[1], ARGV[1])
if entry and cjson.decode(entry).monitor ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
