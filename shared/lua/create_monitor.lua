-- Creates a monitor.
-- KEYS  1 monitor, 2 deadlines, 3 events
-- ARGV  1 monitor id, 2 the ms that its id tells (0 none), then field, value, …
-- Returns the time of creation in ms, or 0 when the id is taken
-- Emits monitor.created
--@include clock
--@include monitor
--@include transition
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'status', 'new', 'gen', 1, 'since', now, unpack(ARGV, 3))
if math.abs(now - ARGV[2]) > 1000 then redis.call('HSET', KEYS[1], 'created', now) end -- else the id tells it
redis.call('ZADD', KEYS[2], 'inf', ARGV[1])
emit(KEYS[3], read(KEYS[1]), ARGV[1], 1, 'monitor.created', 'new', 'new', '', 'created', '')
return now
