-- Sets the deadline that a cron schedule asks for, unless a heartbeat or a change came in between. A monitor whose
-- schedule was taken away, or whose run began, has another deadline by now.
-- KEYS  1 deadlines, 2 monitor, 3 pulse
-- ARGV  1 monitor id, 2 gen and 3 last heartbeat in ms as seen, 4 the deadline in ms, 5 the ms it counts from
-- Returns 1 when set, 0 when the monitor changed meanwhile
--@include clock
--@include monitor
local m = read(KEYS[2])
if not m or m.schedule == '' or m.started ~= '' then return 0 end
if m.gen ~= tonumber(ARGV[2]) or m.seen ~= tonumber(ARGV[3]) then return 0 end
arm(KEYS[1], KEYS[3], ARGV[1], tonumber(ARGV[4]))
if tonumber(ARGV[5]) > m.seen then redis.call('HSET', KEYS[2], 'base', ARGV[5]) end
return 1
