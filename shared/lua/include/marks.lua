-- whole(inflight, repeats, digests, digest): whether all members of a digest that have not ended are back. With nothing
-- in flight they are, whatever was counted.
local function whole(inflight, repeats, digests, digest)
  local left = tonumber(redis.call('HGET', digests, digest) or 0)
  return redis.call('ZCOUNT', repeats, digest, digest) >= left or redis.call('ZCARD', inflight) == 0
end

-- with_bound(numbers, queue, repeats, most): what is bound and due stands in front, however much else waits for a digest.
local function with_bound(numbers, queue, repeats, most)
  local found, there = {}, {}
  local bound = redis.call('ZRANGE', repeats, 0, most - 1)
  for i, at in ipairs(redis.call('ZMSCORE', queue, unpack(bound))) do
    if at and tonumber(at) <= now then found[#found + 1], there[bound[i]] = bound[i], true end
  end
  for _, n in ipairs(numbers) do
    if not there[n] then found[#found + 1] = n end
  end
  return found
end

-- marks(numbers, inflight, repeats, digests): the message that each number belongs to, and how many belong to none. What
-- is alone stands first, then the oldest digest: of those behind the first that can go nobody asks whether they could.
local function marks(numbers, inflight, repeats, digests)
  local found, free, seen, enough = {}, 0, {}, false
  local scores = #numbers > 0 and redis.call('ZMSCORE', repeats, unpack(numbers)) or {}
  for i = 1, #numbers do
    local mark = tonumber(scores[i] or -1)
    if mark > 0 and seen[mark] == nil then seen[mark] = not enough and whole(inflight, repeats, digests, scores[i]) end
    if mark == 0 or seen[mark] then enough = true end
    if mark > 0 and not seen[mark] then mark = -2 end
    if mark == -1 then free = free + 1 end
    found[i] = mark
  end
  return found, free
end
