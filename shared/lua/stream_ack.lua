-- Acknowledges entries of a group and remembers how far it has come without a hole, so that a lost group can go on.
-- KEYS  1 events, 2 group (the position)
-- ARGV  1 group, then the entries
-- Returns {entries acknowledged, position}
-- Emits nothing
local acked = 0
if #ARGV > 1 then acked = redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2)) end
local position
local pending = redis.call('XPENDING', KEYS[1], ARGV[1])
if pending[1] > 0 then
  local ms, seq = string.match(pending[2], '^(%d+)%-(%d+)$')
  if seq ~= '0' then position = ms .. '-' .. string.format('%d', tonumber(seq) - 1)
  else position = string.format('%d', tonumber(ms) - 1) .. '-18446744073709551615' end
else
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local info = {}
    for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
    if info.name == ARGV[1] then position = info['last-delivered-id'] end
  end
end
redis.call('SET', KEYS[2], position)
return {acked, position}
