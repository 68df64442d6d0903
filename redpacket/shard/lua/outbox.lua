-- outbox: what is reserved and not yet confirmed. One entry for one batch.
--
-- keys   {rpN}fence
--        EPOCH:outbox   hash of entry number -> the packed entry {at, packets, items}, see reserve.lua
-- rule   an entry is deleted only after Kafka has acknowledged its record, and under the epoch of its reservation;
--        one already gone under the same epoch is success.

-- Deletes the entries of `confirms` ({epoch, entry} each); 1 or 0 for each: 0 where the epoch has passed.
local function confirm_entries(fence, confirms)
  local confirmed = {}
  for i, confirm in ipairs(confirms) do
    local same = confirm[1] == fence.epoch
    if same then redis.call('HDEL', fence.prefix .. 'outbox', confirm[2]) end
    confirmed[i] = same and 1 or 0
  end
  return confirmed
end

-- confirm(packed {{epoch, entry}...}): packed {1 or 0...}, or STALE.
local function confirm(keys, args)
  local fence = open_fence(keys[1])
  if not fence then return STALE end
  return cmsgpack.pack(confirm_entries(fence, cmsgpack.unpack(args[1])))
end

-- read_entry(entry): {packed {epoch, now}, the packed entry or ''}, or STALE.
local function read_entry(keys, args)
  local fence = open_fence(keys[1])
  if not fence then return STALE end
  local entry = redis.call('HGET', fence.prefix .. 'outbox', args[1])
  return { cmsgpack.pack({ fence.epoch, now_ms() }), entry or '' }
end

redis.register_function{ function_name = NAME('confirm'), callback = confirm, flags = { 'allow-oom' } }
redis.register_function{ function_name = NAME('read_entry'), callback = read_entry, flags = { 'no-writes' } }
