-- Records heartbeats, many in one call; a broken record fails alone, a server that refuses to write fails them all.
-- KEYS  1 deadlines, 2 events, 3 incidents, 4 open; then four per item: monitor, pulse, beats, history
-- ARGV  six per item: monitor id, token hash, kind (ok|warning|error|start|log), 1 when the request was a POST, rid,
--       message
-- Returns a list: per item 1 recorded, 2 recorded with an event, 0 ignored (paused, or a method this monitor does not take),
--         -1 the token is not this monitor's, -2 the record is broken
-- Emits monitor.alive, warning, error, recovered
--@include clock
--@include monitor
--@include transition
--@include refused
local STATUS = {ok = 'alive', warning = 'warning', error = 'error'}

local function log(beats, entry)
  if redis.call('LPUSH', beats, entry) > 110 then redis.call('LTRIM', beats, 0, 99) end
end
--@include steady
--@include judge

local function record(k, id, token, kind, post, rid, message)
  if steady(k, id, token, kind, post, message) then return 1 end
  list()
  local m = read(k.monitor)
  if not m or m.token ~= token then return -1 end
  if m.status == 'paused' or (m.methods == 'post' and post ~= '1') then return 0 end
  local status, took, running, gen = STATUS[kind], '', m.started ~= '', m.gen
  if not (m.timeout + m.grace < LONGEST) then return -2 end
  if status and running and m.rid == rid then took = string.format('%d', now - tonumber(m.started)) end
  log(k.beats, HEAD .. kind .. ' ' .. took .. ' ' .. message) -- first, for what fails here is refused and changes nothing
  if status then
    local rearm = m.schedule == '' or running or (m.status ~= 'alive' and m.status ~= 'warning' and m.status ~= 'error')
    if running then redis.call('HDEL', k.monitor, 'started', 'rid') end
    redis.call('HSET', k.monitor, 'seen', now)
    m.raw.seen = now
    judge(m, k, id, status, message)
    if m.schedule == '' then arm(KEYS[1], k.pulse, id, now + m.timeout + m.grace)
    elseif rearm then arm(KEYS[1], k.pulse, id, now) end -- the watchdog knows cron, this path does not
  elseif kind == 'start' then
    if not running and m.status ~= 'dead' then
      arm(KEYS[1], k.pulse, id, now + (m.grace > 0 and m.grace or m.timeout))
    end
    redis.call('HSET', k.monitor, 'started', now, 'rid', rid)
  end
  return m.gen == gen and 1 or 2
end

local results = {}
for i = 1, #ARGV / 6 do
  local key, arg = 4 * i, 6 * i - 5
  local k = {monitor = KEYS[key + 1], pulse = KEYS[key + 2], beats = KEYS[key + 3], history = KEYS[key + 4],
    events = KEYS[2], incidents = KEYS[3], open = KEYS[4]}
  local ok, result = pcall(record, k, ARGV[arg], ARGV[arg + 1], ARGV[arg + 2], ARGV[arg + 3], ARGV[arg + 4],
    ARGV[arg + 5])
  if not ok then blame(result) end
  results[i] = ok and result or -2
end
list()
return results
