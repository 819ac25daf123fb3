-- bind(k, key, n, digest): a channel's message that may have been sent is sent again only as it was, alone or with the
-- same digest, until it ends. A digest that was not sealed was not sent: its members are free, and it is marked as given
-- up for a worker that wakes. One with bound members was sealed, though its number is a day old and gone.
local function bind(k, key, n, digest)
  if not k.grouped then return end
  if digest then
    local left = tonumber(redis.call('HGET', k.digests, digest) or 0)
    if left == 0 and redis.call('ZCOUNT', k.repeats, digest, digest) > 0 then left = 1 end
    if left == 0 then
      redis.call('HSET', k.digests, digest, -1)
      redis.call('PEXPIRE', k.digests, 86400000)
    end
    if left <= 0 then return end
  end
  redis.call('HSET', key, 'bound', digest or 0)
  redis.call('ZADD', k.repeats, digest or 0, n)
end

-- leave(k, was): a member that its digest has no more, for it ended or is free again; `lessen` counts them.
local function leave(k, was)
  if was.digest then k.fewer[was.digest] = (k.fewer[was.digest] or 0) + 1 end
end

-- keep(k, key, n, was, unheard): what is pending again stays bound, or becomes so when nobody heard what came of it.
local function keep(k, key, n, was, unheard)
  if was.bound then redis.call('ZADD', k.repeats, was.bound, n)
  elseif unheard then bind(k, key, n, was.digest)
  else leave(k, was) end
end

-- lessen(k): what `leave` noted, of digests that were sealed.
local function lessen(k)
  for digest, count in pairs(k.fewer) do
    local left = tonumber(redis.call('HGET', k.digests, digest) or 0)
    if left > count then redis.call('HINCRBY', k.digests, digest, -count)
    elseif left > 0 then redis.call('HDEL', k.digests, digest) end
  end
end
