-- Reserves a monitor id for a shop that reports for the first time, or whose monitor was deleted.
-- KEYS  1 telemetry
-- ARGV  1 domain, 2 the new monitor's id, 3 at most this many shops, 4 the deleted monitor's id ('' none)
-- Returns the id that the shop has now (another's when it came first), or '' when there are too many shops
-- Emits nothing
local entry = redis.call('HGET', KEYS[1], ARGV[1])
if entry then
  local id = cjson.decode(entry).monitor
  if id ~= ARGV[4] then return id end
elseif redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  return ''
end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode({monitor = ARGV[2]}))
return ARGV[2]
