-- Writes one JSON record of a hash if it is still what the writer read, and says so to every cache.
-- KEYS  1 the hash of records, 2 its version
-- ARGV  1 id, 2 the record as read ('' none yet), 3 the record to write ('' removes it)
-- Returns the new version, or 0 when another writer was faster
-- Emits nothing
local old = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if old ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return redis.call('INCR', KEYS[2])
