-- complete(key, raw): a death that `perish` has only noted in the status, as `<status before>/<ms>`, becomes what it stands
-- for: dead since then, one generation on, with an incident. `raw.was` and `raw.was_since` are what was before.
local function complete(key, raw)
  local was, died = string.match(raw.status, '^(%a+)/(%d+)$')
  if not was then return end
  raw.was, raw.was_since = was, raw.since
  raw.status, raw.since, raw.gen = 'dead', died, string.format('%d', tonumber(raw.gen) + 1)
  raw.incident = string.match(key, '[^:]+$') .. '.' .. raw.gen
end

-- read(key): a monitor as its record says it, numbers as numbers, '' for what is not there; nil when there is none. One
-- HGETALL costs less than naming two dozen fields. `raw` is the record itself, for the event that tells of it.
local RECORD = {__index = function(m, field) return m.raw[field] or '' end}
local function read(key)
  local flat, raw = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do raw[flat[i]] = flat[i + 1] end
  if not raw.status then return nil end
  complete(key, raw)
  return setmetatable({raw = raw, gen = tonumber(raw.gen) or 0, timeout = tonumber(raw.timeout) or 0,
    grace = tonumber(raw.grace) or 0, since = tonumber(raw.since) or 0, seen = tonumber(raw.seen) or 0,
    base = tonumber(raw.base) or 0}, RECORD)
end

-- lasts(wait): the ms that the hint of a deadline in `wait` ms lasts: up to a sixteenth of the time more, 4 s at most. Of a
-- hundred thousand hints that fell in one millisecond, nobody else was heard for a tenth of a second, while the sweep finds
-- each death at its deadline.
local function lasts(wait) return math.max(1, wait + math.floor(math.min(wait / 16, 4000) * chance)) end

-- A wait in ms that is no number, or of 3,000 years, is a broken record's. The ledger would take it, the hint would not.
local LONGEST = 1e14

-- arm(deadlines, pulse, id, at): the ledger first, then the hint; a deadline in the past fires at once, one out of reach is
-- an error before anything is moved.
local function arm(deadlines, pulse, id, at)
  if not (at - now < LONGEST) then error('the deadline is out of reach') end
  redis.call('ZADD', deadlines, at, id)
  redis.call('SET', pulse, 1, 'PX', lasts(at - now)) -- 1 needs no memory
end

-- disarm(deadlines, pulse, id): no deadline; the monitor stays in the ledger, which lists them all.
local function disarm(deadlines, pulse, id)
  redis.call('ZADD', deadlines, 'inf', id)
  redis.call('DEL', pulse)
end
