-- now: the server's time in ms; no client's clock decides anything.
local now
do
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
