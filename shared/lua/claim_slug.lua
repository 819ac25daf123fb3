-- Reserves a slug for a monitor that is about to be created, unless the slug is in use.
-- KEYS  1 the slug's bucket
-- ARGV  1 slug, 2 the new monitor's id
-- Returns the ids that have the slug now: those that had it before, or the new one alone
-- Emits nothing
local ids, bucket = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #bucket, 2 do
  if bucket[i + 1] == ARGV[1] then ids[#ids + 1] = bucket[i] end
end
if #ids == 0 then
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[1])
  ids[1] = ARGV[2]
end
return ids
