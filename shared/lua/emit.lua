-- Appends events that are not a monitor's, each at most once a day under its id.
-- KEYS  1 events, then one per event: once
-- ARGV  five per event: id, type, ms it happened ('' now), what it is about (a target, or ''), payload as JSON
-- Returns per event its stream id, or '' when the id was accepted before
-- Emits what it is given
--@include clock
local results = {}
for i = 1, #ARGV / 5 do
  local id, type, at, about, payload = unpack(ARGV, 5 * i - 4, 5 * i)
  if redis.call('SET', KEYS[i + 1], '', 'NX', 'EX', 86400) then
    if at == '' then at = string.format('%d', now) end
    results[i] = redis.call('XADD', KEYS[1], '*', 'id', id, 'type', type, 'at', at, 'about', about, 'payload', payload)
  else
    results[i] = ''
  end
end
return results
