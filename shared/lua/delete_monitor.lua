-- Deletes a monitor with everything of its own.
-- KEYS  1 monitor, 2 deadlines, 3 pulse, 4 events, 5 history, 6 incidents, 7 open, 8 beats
-- ARGV  1 monitor id
-- Returns 1, or 0 when there is no such monitor
-- Emits monitor.deleted
--@include clock
--@include monitor
--@include transition
local m = read(KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if not m then return 0 end
emit(KEYS[4], m, ARGV[1], m.gen + 1, 'monitor.deleted', m.status, m.status, '', 'deleted', m.incident)
for _, field in ipairs(redis.call('HKEYS', KEYS[5])) do
  local gen = string.match(field, '^i:(%d+)$')
  if gen then
    redis.call('ZREM', KEYS[6], ARGV[1] .. '.' .. gen)
    redis.call('ZREM', KEYS[7], ARGV[1] .. '.' .. gen)
  end
end
if m.incident ~= '' then redis.call('ZREM', KEYS[7], m.incident) end
redis.call('DEL', KEYS[1], KEYS[3], KEYS[5], KEYS[8])
return 1
