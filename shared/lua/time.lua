-- The time of the server that holds a shard.
-- KEYS  1 any key of the shard
-- Returns it in ms since the epoch
--@include clock
return now
