-- blame(problem): for an error that shall stay with the item it befell. One by which the server refuses every write for now
-- (full memory or disk, a failover under way) is no item's: it is raised anew and ends the call, so that the caller sees the
-- store as away and comes again. Servers say so before a script's first write, never after it.
local REFUSALS = {MASTERDOWN = true, MISCONF = true, NOREPLICAS = true, OOM = true, READONLY = true}
local function blame(problem)
  local text = type(problem) == 'table' and problem.err or tostring(problem)
  if REFUSALS[string.match(text, '^(%u+)')] then error({err = text}) end -- of a bare text the server makes an ERR
end
