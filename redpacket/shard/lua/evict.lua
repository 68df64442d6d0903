-- evict: the way out of memory. What an older epoch left is unlinked; of this epoch only what the ledger shows equal.
--
-- keys   as in reserve.lua
-- rule   evicted is only what a snapshot of the ledger shows equal in every field, and no entry in the outbox speaks of;
--        that raises the floor to the snapshot's next_offset: an older one must not be loaded over what is gone.
-- gives  'evicted'; 'kept', where it is not equal, or not here; or STALE.

-- sweep(idle_s, packed names): of these keys of this shard, unlinks those of older epochs and gives, packed, {the number
-- unlinked, {the operations and wallets of this epoch that nobody has used for idle_s...}}; or STALE.
local function sweep(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local idle_s, tag = tonumber(args[1]), string.match(keys[1], '^{.-}')
  local cold, unlinked = {}, 0
  for _, name in ipairs(cmsgpack.unpack(args[2])) do
    local epoch, kind = string.match(string.sub(name, #tag + 1), '^(%d+):(%a+)')
    if string.sub(name, 1, #tag) == tag and epoch then
      if tonumber(epoch) < fence.epoch then
        unlinked = unlinked + redis.call('UNLINK', name)
      elseif kind == 'op' or kind == 'wallet' then
        local idle = redis.call('OBJECT', 'IDLETIME', name)
        if idle and idle >= idle_s then cold[#cold + 1] = name end
      end
    end
  end
  return cmsgpack.pack({ unlinked, cold })
end

local function raise_floor(fence, next_offset)
  if tonumber(next_offset) > fence.floor then redis.call('HSET', fence.key, 'floor', next_offset) end
end

-- Is nothing of this packed list of entries in the outbox?
local function all_confirmed(fence, entries)
  return #still_unconfirmed(fence, cmsgpack.unpack(entries)) == 0
end

-- compare_claims(identity, packed {owner, 'share sequence at', ...}): 1 where all of these claims are held just so.
-- Claims are never changed; so what is equal here is equal when the packet is evicted, if their number is.
local function compare_claims(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local claims = cmsgpack.unpack(args[2])
  for i = 1, #claims, 2 do
    local held = redis.call('HGET', fence.prefix .. 'claims:' .. args[1], claims[i])
    if not held or string.match(held, '^(%d+ %d+ %d+) ') ~= claims[i + 1] then return 0 end
  end
  return 1
end

-- evict_operation(next_offset, identity, packed {id, at, terms, packet}): packet = {} or {split, claims, sequence, state,
-- over_at}; its claims have been compared.
local function evict_operation(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local id, at, terms, packet = unpack(cmsgpack.unpack(args[3]))
  local key, claims = fence.prefix .. 'op:' .. args[2], fence.prefix .. 'claims:' .. args[2]
  local held = redis.call('HMGET', key, 'id', 'at', 'terms', 'entry', 'split', 'taken', 'sequence', 'state', 'over_at',
    'entries')
  if not held[1] or held[1] ~= id or tonumber(held[2]) ~= at or held[3] ~= cmsgpack.pack(terms) then return 'kept' end
  if unconfirmed(fence, tonumber(held[4])) then return 'kept' end
  if #packet > 0 then
    local equal = held[5] == cmsgpack.pack(packet[1]) and tonumber(held[6]) == packet[2]
      and tonumber(held[7]) == packet[3] and held[8] == packet[4] and tonumber(held[9]) == packet[5]
      and redis.call('HLEN', claims) == 2 * packet[2]
    if not equal or not all_confirmed(fence, held[10]) then return 'kept' end
  end
  local written = guarded(keys[1], function()
    raise_floor(fence, args[1])
    redis.call('UNLINK', key, claims, fence.prefix .. 'holes:' .. args[2])
  end)
  return written and 'evicted' or STALE
end

-- evict_wallet(next_offset, owner, credited, reserved). What is known here to have come in may be less than what has:
-- it is read again whenever it matters.
local function evict_wallet(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local key = fence.prefix .. 'wallet:' .. args[2]
  local held = redis.call('HMGET', key, 'credited', 'reserved', 'entries')
  if not held[1] or tonumber(held[1]) > tonumber(args[3]) or tonumber(held[2]) ~= tonumber(args[4]) then return 'kept' end
  if not all_confirmed(fence, held[3]) then return 'kept' end
  local written = guarded(keys[1], function()
    raise_floor(fence, args[1])
    redis.call('UNLINK', key)
  end)
  return written and 'evicted' or STALE
end

redis.register_function{ function_name = NAME('sweep'), callback = sweep, flags = { 'allow-oom' } }
redis.register_function{ function_name = NAME('compare_claims'), callback = compare_claims, flags = { 'no-writes' } }
redis.register_function{ function_name = NAME('evict_operation'), callback = evict_operation, flags = { 'allow-oom' } }
redis.register_function{ function_name = NAME('evict_wallet'), callback = evict_wallet, flags = { 'allow-oom' } }
