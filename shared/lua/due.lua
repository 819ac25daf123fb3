-- Finds monitors whose deadline has passed at a time when somebody is known to have listened: up to the stamp.
-- KEYS  1 deadlines, 2 ingest
-- ARGV  1 at most this many, 2 the stamp is stale after this many ms, 3 without this many of the oldest
-- Returns {now, stale (1 or 0), the next deadline in ms or '' for none (one after the stamp may have passed), [ids, oldest first]}
-- While the stamp is stale no id is returned: our own blindness is nobody's death.
--@include clock
local stamp = tonumber(redis.call('GET', KEYS[2])) or 0
local stale = math.abs(now - stamp) > tonumber(ARGV[2]) -- a stamp ahead of a clock that stepped back says nothing
local ids = {}
local heard = stale and now or math.min(now, stamp)
if not stale then
  ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', heard), 'LIMIT', ARGV[3], ARGV[1])
end
local first = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%d', heard), '(inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {now, stale and 1 or 0, first[2] or '', ids}
