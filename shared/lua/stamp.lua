-- Collectors say "we have listened until then"; a silence among them is recorded before the old stamp is overwritten.
-- KEYS  1 ingest, 2 gaps, 3 events, 4 stepped, 5 deadlines
-- ARGV  1 a gap, or a step of the clock, counts above this many ms, 2 a gap is told above this many ms ('' never: another shard tells it),
--         3 until when, in ms of this server ('' now); a collector that comes later with less takes nothing back
-- Returns {the length of the gap in ms or 0 for none, the ms until the next deadline that no stamp has reached or ''}
-- Emits system.blind
--@include clock
local last = tonumber(redis.call('GET', KEYS[1]))
local gap = last and now - last or 0
if gap > tonumber(ARGV[1]) then
  local from, to = string.format('%d', last), string.format('%d', now)
  redis.call('ZADD', KEYS[2], now, from .. '-' .. to)
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1001)
  if ARGV[2] ~= '' and gap > tonumber(ARGV[2]) then
    redis.call('XADD', KEYS[3], '*', 'id', 'mp.blind.' .. to, 'type', 'system.blind', 'at', to, 'from', from, 'to', to)
  end
else
  gap = 0
end
if last and last - now > tonumber(ARGV[1]) then redis.call('SET', KEYS[4], string.format('%d', now)) end
if last and last > now then -- the clock stepped back: a gap that ends ahead would excuse every silence until then
  for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%d', now), '+inf')) do
    local from = string.match(ahead, '^%d+')
    redis.call('ZREM', KEYS[2], ahead)
    if tonumber(from) < now then redis.call('ZADD', KEYS[2], now, from .. '-' .. string.format('%d', now)) end
  end
end
local heard = now -- after a gap, whose end is now, and after a clock that stepped
if gap == 0 and (not last or last <= now) then
  heard = math.max(math.min(tonumber(ARGV[3]) or now, now), last or 0)
end
redis.call('SET', KEYS[1], string.format('%d', heard))
local first = redis.call('ZRANGEBYSCORE', KEYS[5], '(' .. string.format('%d', heard), '(inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {gap, first[2] and string.format('%d', math.ceil(first[2] - now)) or ''}
