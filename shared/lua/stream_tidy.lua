-- Removes consumers that are gone: nothing pending, and no read for ARGV 2 ms.
-- KEYS  1 events
-- ARGV  1 group, 2 idle ms
-- Returns the number removed
-- Emits nothing
local removed = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local info = {}
  for i = 1, #flat, 2 do info[flat[i]] = flat[i + 1] end
  if info.pending == 0 and info.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], info.name)
    removed = removed + 1
  end
end
return removed
