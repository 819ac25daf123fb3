-- Takes the targets that are due; each is due again a little later, in case that nobody comes.
-- KEYS  1 due
-- ARGV  1 now or '', 2 most targets, 3 ms until they are due again
-- Returns {ms until the next target is due (-1: there is none), targets…}
-- Emits nothing
--@include ledger
local out = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, target in ipairs(out) do redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), target) end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
table.insert(out, 1, first[2] and math.max(0, tonumber(first[2]) - now) or -1)
return out
