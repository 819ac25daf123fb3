-- forget(seen): an event is remembered for 5 minutes, for a stream entry is handed over up to five times, some 13 s apart;
-- and for 8 days (longer than the stream keeps it) while among the newest 2,000.
local function forget(seen)
  local over = math.min(200, redis.call('ZCARD', seen) - 2000)
  if over > 0 then
    local old = redis.call('ZRANGE', seen, '-inf', now - 300000, 'BYSCORE', 'LIMIT', 0, over)
    if #old > 0 then redis.call('ZREM', seen, unpack(old)) end
  end
  redis.call('PEXPIRE', seen, 691200000)
end
