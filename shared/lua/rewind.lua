-- Brings back to the present what was written while the clock stood ahead: times of a monitor that have not come yet,
-- and deadlines further away than its own timeout allows. What is plausible stays as it is, so running it again is harmless.
-- KEYS  1 deadlines, 2 stepped; then two per item: monitor, pulse
-- ARGV  1 the mark of the step to forget when this call is the last one, or ''; then per item the monitor's id
-- Returns how many deadlines came nearer
-- Emits nothing
--@include clock
--@include monitor
--@include refused
local function rewind(key, pulse, id)
  local m = read(key)
  if not m then return 0 end
  local ahead = {}
  for _, field in ipairs({'since', 'seen', 'base', 'started'}) do
    if (tonumber(m[field]) or 0) > now then
      local noted = field == 'since' and m.was ~= ''
      ahead[#ahead + 1] = noted and 'status' or field
      ahead[#ahead + 1] = (noted and m.was .. '/' or '') .. string.format('%d', now)
    end
  end
  if #ahead > 0 then redis.call('HSET', key, unpack(ahead)) end
  local deadline = tonumber(redis.call('ZSCORE', KEYS[1], id))
  if not deadline or deadline <= now or deadline == math.huge then return 0 end
  local latest = now + m.timeout + m.grace
  if m.schedule ~= '' and m.started == '' then latest = now -- the watchdog knows cron: it judges this one anew
  elseif m.started ~= '' and #ahead > 0 then latest = now + (m.grace > 0 and m.grace or m.timeout) end
  if deadline <= latest then return 0 end
  arm(KEYS[1], pulse, id, latest)
  return 1
end

local nearer = 0
for i = 2, #ARGV do
  local ok, result = pcall(rewind, KEYS[2 * i - 1], KEYS[2 * i], ARGV[i])
  if ok then nearer = nearer + result else blame(result) end -- a damaged record is the sweep's matter
end
if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return nearer
