-- Writes one JSON record of a hash if it is still what the writer read, and says so to every cache.
-- KEYS  1 the hash of records, 2 its version
-- ARGV  1 id, 2 the record as read ('' none yet), 3 the record to write ('' removes it), in as many parts as there are
--       places for the server's time in ms
-- Returns the new version, or 0 when another writer was faster
-- Emits nothing
--@include clock
local old = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if old ~= ARGV[2] then return 0 end
local record = table.concat(ARGV, string.format('%d', now), 3)
if record == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], record) end
return redis.call('INCR', KEYS[2])
