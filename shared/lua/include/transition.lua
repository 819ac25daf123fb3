-- account(history, status, from, to): adds the time in `status` to its UTC days; days before the last 400 are left out.
local DAY = 86400000
local NOW, TODAY = string.format('%d', now), math.floor(now / DAY)
local TODAYS = TODAY .. ':'
local function account(history, status, from, to)
  if status == 'new' or to <= from then return end
  if from >= TODAY * DAY and to == now then -- nearly always
    return redis.call('HINCRBY', history, TODAYS .. status, string.format('%d', to - from))
  end
  local first, last = math.floor(from / DAY), math.floor(to / DAY)
  first = math.max(first, last - 400)
  local start = math.max(from, first * DAY)
  redis.call('HINCRBY', history, first .. ':' .. status, string.format('%d', math.min(to, (first + 1) * DAY) - start))
  if last == first then return end
  local whole = {}
  for day = first + 1, last - 1 do
    whole[#whole + 1] = day .. ':' .. status
    whole[#whole + 1] = DAY
  end
  if #whole > 0 then redis.call('HSET', history, unpack(whole)) end
  redis.call('HINCRBY', history, last .. ':' .. status, string.format('%d', to - last * DAY))
end

-- prune(k, id): keeps 400 days and the newest 100 incidents; 2,400 fields are out of reach for fewer.
local function prune(k, id)
  if redis.call('HLEN', k.history) < 2400 then return end
  local oldest, gens = math.floor(now / DAY) - 400, {}
  for _, field in ipairs(redis.call('HKEYS', k.history)) do
    local day, gen = string.match(field, '^(%d+):'), string.match(field, '^i:(%d+)$')
    if gen then gens[#gens + 1] = tonumber(gen)
    elseif tonumber(day) < oldest then redis.call('HDEL', k.history, field) end
  end
  table.sort(gens)
  for i = 1, #gens - 100 do
    redis.call('HDEL', k.history, 'i:' .. gens[i])
    redis.call('ZREM', k.incidents, id .. '.' .. gens[i])
  end
end

-- card(v): what an event tells of its monitor's settings, in the order of `MONITOR_FIELDS`. Kept in the record of one that knows
-- no schedule it spares a storm the reading of five fields; `update_monitor` writes it anew. Longer than 64 bytes it would
-- turn the record into one of several times the size (`hash-max-listpack-value`).
local NUL, CARD = '\0', 64
local function card(v)
  return (v.slug or '') .. NUL .. (v.tags or '') .. NUL .. (v.channels or '') .. NUL .. (v.timeout or '') .. NUL ..
    (v.grace or '') .. NUL .. (v.muted or '')
end

-- keep_card(key, v): the same, written down where that is of use.
local function keep_card(key, v)
  if v.card or v.schedule then return end
  local ready = card(v)
  if #ready <= CARD then redis.call('HSET', key, 'card', ready) end
end

-- tell(events, id, gen, type, …): the fact, for everyone who listens. `record` has its values in the order of
-- `MONITOR_FIELDS` in shared/events.py: each of them in a field of its own costs four times as much. Here as below, numbers
-- that are written more than once become text once, which costs Lua as much as a short command.
local function tell(events, id, gen, type, name, card, schedule, old, new, seen, reason, incident, since, message)
  redis.call('XADD', events, '*', 'record', type .. NUL .. NOW .. NUL .. gen .. NUL .. id .. NUL .. (name or '') .. NUL ..
    card .. NUL .. (schedule or '') .. NUL .. old .. NUL .. new .. NUL .. (seen or '') .. NUL .. reason .. NUL ..
    incident .. NUL .. (since or '') .. NUL .. message)
end

-- emit(events, m, id, gen, type, old, new, message, reason, incident): the same of a monitor that was read.
local function emit(events, m, id, gen, type, old, new, message, reason, incident)
  local v = m.raw
  tell(events, id, gen, type, v.name, v.card or card(v), v.schedule, old, new, v.seen, reason, incident, v.since, message)
end

-- keep(k, incident, to, bad): in the incident's record `opened|closed|status|reason|dead|last` that its monitor, not dead
-- when it was opened, died at `dead`, and its last status; or, `to` not being bad, that it closed. It is listed as open or
-- as one that is over.
local function keep(k, incident, to, bad)
  local field = 'i:' .. string.match(incident, '%.(%d+)$')
  local record = redis.call('HGET', k.history, field) or ''
  local opened, status, reason, dead, last = string.match(record, '^(%d*)|%d*|([^|]*)|([^|]*)|?(%d*)|?(%a*)$')
  dead, last = dead or '', last or ''
  if to == 'dead' and status ~= to and dead == '' then dead = string.format('%d', now) end
  if bad then last = to end
  redis.call('HSET', k.history, field, table.concat({opened or '', bad and '' or string.format('%d', now), status or '',
    reason or ''}, '|') .. (last == '' and '' or '|' .. dead .. '|' .. last))
  if bad then return end
  redis.call('ZREM', k.open, incident)
  redis.call('ZADD', k.incidents, (opened or '') ~= '' and opened or NOW, incident)
end

-- repay(k, m): writes what a death that is only noted owes to the history: the time before it and its incident's record.
local function repay(k, m)
  if m.was == '' then return end
  account(k.history, m.was, tonumber(m.was_since), m.since)
  prune(k, string.match(m.incident, '^[^.]+'))
  redis.call('HSET', k.history, 'i:' .. string.format('%d', m.gen), string.format('%d', m.since) .. '||dead|silence')
end

-- settle(k, m): writes a death that is only noted as any other, for whoever changes a part of the record.
local function settle(k, m)
  if m.was == '' then return end
  repay(k, m)
  redis.call('HSET', k.monitor, 'status', 'dead', 'gen', m.gen, 'since', m.raw.since, 'incident', m.incident)
end

-- transition(k, id, m, to, message, reason): status, incident and event as one fact.
-- k names the keys monitor, history, events, incidents, open. The incident is opened by error or dead and closed by anything
-- else; leaving error or dead for alive or warning emits monitor.recovered alone.
local function transition(k, id, m, to, message, reason)
  local from, incident, number = m.status, m.incident, m.gen + 1
  local gen = string.format('%d', number)
  local was_bad = from == 'error' or from == 'dead'
  local bad = to == 'error' or to == 'dead'
  local type = 'monitor.' .. to
  if was_bad and (to == 'alive' or to == 'warning') then type = 'monitor.recovered' end
  repay(k, m)
  account(k.history, from, m.since, now)
  if bad and incident == '' and id ~= 'self-ping' then -- see shared/synthetic.py
    prune(k, id)
    incident = id .. '.' .. gen
    redis.call('HSET', k.history, 'i:' .. gen, NOW .. '||' .. to .. '|' .. reason)
    redis.call('ZADD', k.open, NOW, incident)
  elseif incident ~= '' then
    keep(k, incident, to, bad)
  end
  emit(k.events, m, id, gen, type, from, to, message, reason, incident) -- it tells the old `since`
  if bad then redis.call('HSET', k.monitor, 'status', to, 'gen', gen, 'since', NOW, 'incident', incident)
  else redis.call('HSET', k.monitor, 'status', to, 'gen', gen, 'since', NOW) end
  if not bad and incident ~= '' then redis.call('HDEL', k.monitor, 'incident') end
  keep_card(k.monitor, m.raw)
  m.status, m.gen, m.since, m.incident = to, number, now, bad and incident or ''
end
