-- judge(m, k, id, status, message): what a heartbeat says against what is known: a transition, news of the same error,
-- or nothing.
local function judge(m, k, id, status, message)
  local digest = status == 'error' and string.sub(redis.sha1hex(message), 1, 12) or ''
  if m.status ~= status then
    transition(k, id, m, status, message, 'heartbeat')
  elseif digest ~= m.digest then -- the same incident with news is told again
    m.gen = m.gen + 1
    redis.call('HSET', k.monitor, 'gen', m.gen)
    emit(k.events, m, id, m.gen, 'monitor.error', status, status, message, 'heartbeat', m.incident)
  end
  if digest ~= m.digest then redis.call('HSET', k.monitor, 'digest', digest) end
end
