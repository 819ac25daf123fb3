-- Changes settings of a monitor and moves its deadline accordingly; an empty value clears the field.
-- KEYS  1 monitor, 2 deadlines, 3 pulse, 4 events, 5 history, 6 incidents
-- ARGV  1 monitor id, 2 emit the event (1 or 0), then field, value, …
-- Returns 1, or 0 when there is no such monitor
-- Emits monitor.updated; nothing when every field is so already, as after the same call whose answer was lost
--@include clock
--@include monitor
--@include transition
local before = read(KEYS[1])
if not before then return 0 end
settle({monitor = KEYS[1], history = KEYS[5], incidents = KEYS[6]}, before)
local changed = false
for i = 3, #ARGV, 2 do
  if (redis.call('HGET', KEYS[1], ARGV[i]) or '') ~= ARGV[i + 1] then changed = true end
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[1], ARGV[i]) else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
if not changed then return 1 end
redis.call('HDEL', KEYS[1], 'card')
redis.call('HINCRBY', KEYS[1], 'gen', 1)
local m = read(KEYS[1])
keep_card(KEYS[1], m.raw)
local moved = m.timeout ~= before.timeout or m.grace ~= before.grace or m.schedule ~= before.schedule
local deadline = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]))
if (moved or m.schedule ~= '') and deadline and deadline < math.huge and m.started == '' then
  local at = m.schedule ~= '' and now or math.max(m.seen, m.base) + m.timeout + m.grace
  arm(KEYS[2], KEYS[3], ARGV[1], at)
end
if ARGV[2] == '1' then
  emit(KEYS[4], m, ARGV[1], m.gen, 'monitor.updated', m.status, m.status, '', 'updated', m.incident)
end
return 1
