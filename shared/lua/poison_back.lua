-- Puts an entry that was put aside back into the stream of events, once.
-- KEYS  1 poison, 2 events
-- ARGV  1 the entry, then the fields that were added when it was put aside
-- Returns 1, or 0 when it is not there (any more)
-- Emits the event of the entry
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then return 0 end
local added, fields = {}, {}
for i = 2, #ARGV do added[ARGV[i]] = true end
for i = 1, #found[2], 2 do
  if not added[found[2][i]] then
    fields[#fields + 1] = found[2][i]
    fields[#fields + 1] = found[2][i + 1]
  end
end
redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
