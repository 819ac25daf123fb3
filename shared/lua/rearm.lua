-- Sets the deadlines that cron schedules ask for, unless a heartbeat or a change came in between. A monitor whose schedule
-- was taken away, or whose run began, has another deadline by now.
-- KEYS  1 deadlines; then two per item: monitor, pulse
-- ARGV  five per item: monitor id, gen and last heartbeat in ms as seen, the deadline in ms, the ms it counts from
-- Returns per item 1 when set, 0 when the monitor changed meanwhile, -4 its record is broken: put off as in `declare`
-- Emits nothing
--@include clock
--@include monitor
--@include refused
local function rearm(key, pulse, id, gen, seen, deadline, base)
  local m = read(key)
  if not m or m.schedule == '' or m.started ~= '' then return 0 end
  if m.gen ~= tonumber(gen) or m.seen ~= tonumber(seen) then return 0 end
  arm(KEYS[1], pulse, id, tonumber(deadline))
  if tonumber(base) > m.seen then redis.call('HSET', key, 'base', base) end
  return 1
end

local results = {}
for i = 1, #ARGV / 5 do
  local key, arg = 2 * i, 5 * i - 4
  local ok, result = pcall(rearm, KEYS[key], KEYS[key + 1], unpack(ARGV, arg, arg + 4))
  if not ok then
    blame(result)
    redis.call('ZADD', KEYS[1], now + 60000, ARGV[arg])
  end
  results[i] = ok and result or -4
end
return results
