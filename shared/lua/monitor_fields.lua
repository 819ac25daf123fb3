-- Reads the same few fields of many monitors; the answer is flat, so that a client parses 10,000 of them at once.
-- KEYS  the monitors, at most 500
-- ARGV  the fields, `status` first
-- Returns per monitor the value of each field, '' where there is none
-- Emits nothing
local out, size = {}, #ARGV
for i = 1, #KEYS do
  local values = redis.call('HMGET', KEYS[i], unpack(ARGV))
  for j = 1, size do out[(i - 1) * size + j] = values[j] or '' end
end
return out
