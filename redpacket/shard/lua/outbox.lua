-- outbox: what is reserved and not yet confirmed. One entry for one batch.
--
-- keys   {rpN}fence
--        EPOCH:outbox         hash of entry number -> the packed entry {at, packets, items}, see reserve.lua
--        EPOCH:outbox_times   sorted set of the same numbers by the time of their reservation
--        EPOCH:repeat:ENTRY   there while somebody publishes the entry again; expires by itself
-- rule   an entry is deleted only after Kafka has acknowledged its record, and under the epoch of its reservation;
--        one already gone under the same epoch is success.

local function put_entry(fence, entry, at, packed)
  redis.call('HSET', fence.prefix .. 'outbox', entry, packed)
  redis.call('ZADD', fence.prefix .. 'outbox_times', at, entry)
end

-- The time of an entry; 0, which is long ago, where it is not known.
local function time_of_entry(fence, entry)
  return tonumber(redis.call('ZSCORE', fence.prefix .. 'outbox_times', entry) or 0)
end

-- How many entries there are, and the number and time of the oldest, nil where there is none.
local function outbox_size(fence)
  local oldest = redis.call('ZRANGE', fence.prefix .. 'outbox_times', 0, 0, 'WITHSCORES')
  return redis.call('ZCARD', fence.prefix .. 'outbox_times'), tonumber(oldest[1]), tonumber(oldest[2])
end

-- Deletes the entries of `confirms` ({epoch, entry} each); 1 or 0 for each: 0 where the epoch has passed.
local function confirm_entries(fence, confirms)
  local confirmed = {}
  for i, confirm in ipairs(confirms) do
    local same = confirm[1] == fence.epoch
    if same then
      redis.call('HDEL', fence.prefix .. 'outbox', confirm[2])
      redis.call('ZREM', fence.prefix .. 'outbox_times', confirm[2])
    end
    confirmed[i] = same and 1 or 0
  end
  return confirmed
end

-- confirm(packed {{epoch, entry}...}): packed {1 or 0...}, or STALE.
local function confirm(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  return cmsgpack.pack(confirm_entries(fence, cmsgpack.unpack(args[1])))
end

-- take_entry(entry, lease_ms): for one who publishes it again, alone for so long; this only saves work, two do no harm.
-- {packed {epoch, 1 where another has it}, the packed entry or ''}, or STALE.
local function take_entry(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local entry = redis.call('HGET', fence.prefix .. 'outbox', args[1])
  local taken = entry and not redis.call('SET', fence.prefix .. 'repeat:' .. args[1], '', 'NX', 'PX', args[2])
  return { cmsgpack.pack({ fence.epoch, taken and 1 or 0 }), not taken and entry or '' }
end

-- survey_outbox(older_than_ms, limit): packed {entries, age of the oldest in ms, {entry...}}: those that are older,
-- the oldest first, and those from the future: they are as old as the time by which the clock was set back, or older; or
-- STALE.
local function survey_outbox(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local now, times, limit = now_ms(), fence.prefix .. 'outbox_times', tonumber(args[2])
  local entries, _, oldest = outbox_size(fence)
  local older = redis.call('ZRANGEBYSCORE', times, '-inf', now - tonumber(args[1]), 'LIMIT', 0, limit)
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', times, '(' .. string.format('%d', now), '+inf', 'LIMIT', 0, limit)) do
    older[#older + 1] = entry
  end
  for i, entry in ipairs(older) do older[i] = tonumber(entry) end
  return cmsgpack.pack({ entries, oldest and math.max(0, now - oldest) or 0, older })
end

redis.register_function{ function_name = NAME('confirm'), callback = confirm, flags = { 'allow-oom' } }
redis.register_function{ function_name = NAME('take_entry'), callback = take_entry, flags = { 'allow-oom' } }
redis.register_function{ function_name = NAME('survey_outbox'), callback = survey_outbox, flags = { 'no-writes' } }
