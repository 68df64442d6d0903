-- batch: what the items of one call of reserve see and share: operations, wallets and packets as the items before them
-- have left them. Nothing is written until all are decided.
--
-- keys   as in reserve.lua

local SHARES_NAMED_MAX = 50000 -- some 0.1 s to compute the amounts of, where nothing of them is kept
local ENTRIES_KEPT = 8 -- longer lists of entries are cut to those still in the outbox when they are written

local function still_unconfirmed(fence, entries)
  local kept = {}
  for _, entry in ipairs(entries) do
    if unconfirmed(fence, entry) then kept[#kept + 1] = entry end
  end
  return kept
end

local function remember_entry(batch, holder)
  if holder.entries[#holder.entries] == batch.entry then return end
  if #holder.entries >= ENTRIES_KEPT then holder.entries = still_unconfirmed(batch.fence, holder.entries) end
  holder.entries[#holder.entries + 1] = batch.entry
end

-- An entry that touched the packet or wallet and is not confirmed, or nil.
local function first_unconfirmed(batch, holder)
  for _, entry in ipairs(holder.entries) do
    if entry == batch.entry or unconfirmed(batch.fence, entry) then return entry end
  end
  return nil
end

-- The answer to an item that has to wait for an entry.
local function pending(batch, entry, id)
  return { 'pending', entry, entry == batch.entry and batch.now or time_of_entry(batch.fence, entry), id or '' }
end

local function operation_of(batch, identity)
  local known = batch.operations[identity]
  if known ~= nil then return known end
  local key = batch.fence.prefix .. 'op:' .. identity
  local held = redis.call('HMGET', key, 'id', 'at', 'entry', 'terms', 'split', 'shares', 'expires_at', 'next', 'holes',
    'taken', 'sequence', 'entries', 'state', 'over_at', 'refund_entry', 'frozen')
  if not held[1] then
    batch.operations[identity] = false
    return false
  end
  local operation = {
    key = key, id = held[1], at = tonumber(held[2]), entry = tonumber(held[3]), terms = held[4], frozen = held[16] == '1',
  }
  if held[6] then
    operation.packet = {
      identity = identity, split = held[5], shares = tonumber(held[6]), expires_at = tonumber(held[7]),
      next = tonumber(held[8]), holes = tonumber(held[9]), taken = tonumber(held[10]), sequence = tonumber(held[11]),
      entries = cmsgpack.unpack(held[12]), state = held[13], over_at = tonumber(held[14]),
      refund_entry = tonumber(held[15] or 0), claims = {}, filled = 0, written = {},
    }
  end
  batch.operations[identity] = operation
  return operation
end

-- The operation of the packet `id`, or nil and the result of an item that names no packet that is here.
local function packet_operation_of(batch, identity, id)
  local operation = operation_of(batch, identity)
  if not operation then return nil, { 'missing', 1, 0 } end
  if operation.id ~= id or not operation.packet then return nil, { 'refused', 'not_found' } end
  return operation
end

local function wallet_of(batch, owner)
  local known = batch.wallets[owner]
  if known ~= nil then return known end
  local key = batch.fence.prefix .. 'wallet:' .. owner
  local held = redis.call('HMGET', key, 'credited', 'reserved', 'entries', 'frozen')
  local wallet = held[1] and {
    key = key, credited = tonumber(held[1]), reserved = tonumber(held[2]), entries = cmsgpack.unpack(held[3]), took = 0,
    frozen = held[4] == '1',
  } or false
  batch.wallets[owner] = wallet
  return wallet
end

-- Refusals that come before anything new is recorded, in either kind of item.
local function refused_at_the_door(batch, deadline)
  if deadline > 0 and batch.now > deadline then return { 'refused', 'late' } end
  if batch.outbox_is_full then return { 'refused', 'overloaded' } end
  if batch.stalled then return { 'stalled', batch.stalled } end
  return nil
end

-- Its split goes into the entry, once: the amounts follow from it, and take a moment to be computed, in which the entry
-- is unconfirmed. False where that is too much for this batch; the item's turn is in the next one.
local function name_packet(batch, id, packet)
  if batch.packets_named[id] then return true end
  if batch.shares_named > 0 and batch.shares_named + packet.shares > SHARES_NAMED_MAX then return false end
  batch.packets_named[id] = true
  batch.shares_named = batch.shares_named + packet.shares
  batch.packets[#batch.packets + 1] = { id, cmsgpack.unpack(packet.split) }
  return true
end
