-- Turns passed deadlines into deaths, or moves them where a gap in our own listening touched them.
-- KEYS  1 deadlines, 2 events, 3 incidents, 4 open, 5 ingest, 6 gaps; then three per item: monitor, pulse, history
-- ARGV  1 the stamp is stale after this many ms; then two per item: monitor id, verdict ('' none yet, else
--       <gen>:<seen>:<end of the newest gap> as seen by the watchdog that judged a cron schedule)
-- Returns {now, [per item: the lag in ms of a death, or -1 nothing to do, -2 put off by a gap, -3 a cron schedule
--         has to be judged, -4 its record is broken: put off, so that it holds up nobody, -5 nobody has said yet
--         that we listened up to its deadline]}; while the stamp is stale {now, []}
-- Emits monitor.dead
--@include clock
--@include monitor
--@include transition
--@include refused
local heard = tonumber(redis.call('GET', KEYS[5])) or 0
if math.abs(now - heard) > tonumber(ARGV[1]) then return {now, {}} end
local gaps = redis.call('ZREVRANGE', KEYS[6], 0, -1)
local newest = gaps[1] and string.match(gaps[1], '%-(%d+)$') or '0'

-- numbers(i): notes when a gap starts and ends, and returns its end. Once per call and only as far back as somebody needs:
-- to read hundreds of gaps anew for each monitor would keep everybody waiting.
local starts, ends = {}, {}
local function numbers(i)
  local from, to = string.match(gaps[i], '^(%d+)%-(%d+)$')
  starts[i], ends[i] = tonumber(from), tonumber(to)
  return ends[i]
end

-- credit: a deadline that a gap touches becomes the gap's end + timeout + grace, oldest gap first.
local function credit(m, deadline)
  local from, base = math.max(m.seen, m.base, tonumber(m.started) or 0), nil
  local starts, ends, touching, wait = starts, ends, 0, m.timeout + m.grace
  while gaps[touching + 1] and (ends[touching + 1] or numbers(touching + 1)) > from do touching = touching + 1 end
  for i = touching, 1, -1 do
    if starts[i] < deadline then
      base = ends[i]
      if base + wait > deadline then deadline = base + wait end
    end
  end
  return deadline, base
end

local function judge(k, id, deadline, verdict)
  if not deadline or deadline > now then return -1 end
  if deadline > heard then return -5 end
  local m = read(k.monitor)
  if not m then
    redis.call('ZREM', KEYS[1], id)
    return -1
  end
  if m.schedule ~= '' and m.started == '' then
    if verdict == '' then return -3 end
    if verdict ~= m.gen .. ':' .. string.format('%d', m.seen) .. ':' .. newest then return -3 end
  else
    local later, base = credit(m, deadline)
    if later > heard then
      arm(KEYS[1], k.pulse, id, later)
      redis.call('HSET', k.monitor, 'base', base)
      return -2
    end
  end
  transition(k, id, m, 'dead', '', m.started ~= '' and 'unfinished' or 'silence')
  if m.started .. m.rid .. m.digest ~= '' then redis.call('HDEL', k.monitor, 'started', 'rid', 'digest') end
  return now - deadline
end

local ids, results, disarmed, pulses = {}, {}, {}, {}
local k = {events = KEYS[2], incidents = KEYS[3], open = KEYS[4]}
for i = 2, #ARGV, 2 do ids[i / 2] = ARGV[i] end
if #ids == 0 then return {now, {}} end
local deadlines = redis.call('ZMSCORE', KEYS[1], unpack(ids))
for i, id in ipairs(ids) do
  local key = 3 + 3 * i
  k.monitor, k.pulse, k.history = KEYS[key + 1], KEYS[key + 2], KEYS[key + 3]
  local ok, result = pcall(judge, k, id, tonumber(deadlines[i]), ARGV[2 * i + 1])
  if not ok then
    blame(result)
    redis.call('ZADD', KEYS[1], now + 60000, id)
  end
  results[i] = ok and result or -4
  if results[i] >= 0 then
    disarmed[#disarmed + 1] = 'inf'
    disarmed[#disarmed + 1] = id
    pulses[#pulses + 1] = k.pulse
  end
end
if #disarmed > 0 then
  redis.call('ZADD', KEYS[1], unpack(disarmed))
  redis.call('DEL', unpack(pulses))
end
return {now, results}
