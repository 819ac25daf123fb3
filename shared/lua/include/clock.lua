-- now: the server's time in ms; no client's clock decides anything. chance: its microseconds beyond that, from 0 to
-- below 1, for what shall not happen to all at once; one and the same for a whole call.
local now, chance
do
  local t = redis.call('TIME')
  now, chance = t[1] * 1000 + math.floor(t[2] / 1000), t[2] % 1000 / 1000
end
