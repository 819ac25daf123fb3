-- Pauses or resumes a monitor. A resumed one that was heard before has its full time again from now on.
-- KEYS  1 monitor, 2 deadlines, 3 pulse, 4 events, 5 history, 6 incidents, 7 open
-- ARGV  1 monitor id, 2 'pause' or 'resume'
-- Returns 1 changed, 0 nothing to change, -1 no such monitor
-- Emits monitor.paused, monitor.resumed
--@include clock
--@include monitor
--@include transition
local m = read(KEYS[1])
if not m then return -1 end
local pause = ARGV[2] == 'pause'
if pause == (m.status == 'paused') then return 0 end
local k = {monitor = KEYS[1], events = KEYS[4], history = KEYS[5], incidents = KEYS[6], open = KEYS[7]}
redis.call('HDEL', KEYS[1], 'started', 'rid', 'digest')
if pause then
  transition(k, ARGV[1], m, 'paused', '', 'paused')
  disarm(KEYS[2], KEYS[3], ARGV[1])
  return 1
end
account(k.history, 'paused', m.since, now)
redis.call('HSET', KEYS[1], 'status', 'new', 'gen', m.gen + 1, 'base', now)
emit(KEYS[4], m, ARGV[1], m.gen + 1, 'monitor.resumed', 'paused', 'new', '', 'resumed', '')
redis.call('HSET', KEYS[1], 'since', now)
if m.seen > 0 then
  arm(KEYS[2], KEYS[3], ARGV[1], m.schedule ~= '' and now or now + m.timeout + m.grace)
end
return 1
