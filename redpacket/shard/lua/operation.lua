-- operation: an amount leaves a wallet under an identity that nobody has used, or comes from a funding account.
--
-- keys   as in reserve.lua
-- item   {'operation', identity, shard, deadline, proof, payer or '', amount, credited, terms, packet, request}

local COUNTER_MAX = 9e15 -- numbers here are doubles, exact up to 2^53

local function decide_operation(batch, item)
  local identity, shard, deadline, proof, payer, amount, credited, terms, packet, request = unpack(item, 2, 11)
  local operation = operation_of(batch, identity)
  if operation then
    if operation.entry == batch.entry then
      return { 'reserved', 1, 0, operation.id, '', cmsgpack.unpack(operation.terms) }
    end
    if unconfirmed(batch.fence, operation.entry) then return pending(batch, operation.entry, operation.id) end
    return { 'operation', operation.id, operation.at, cmsgpack.unpack(operation.terms) }
  end
  local wallet = payer ~= '' and wallet_of(batch, payer)
  -- Absent here never means new: only a snapshot of the ledger at or above the floor says so.
  local unproven = proof < batch.fence.floor
  local unloaded = payer ~= '' and not wallet
  if unproven or unloaded then return { 'missing', unproven and 1 or 0, unloaded and 1 or 0 } end
  if wallet and wallet.frozen then return { 'refused', 'frozen' } end
  local refusal = refused_at_the_door(batch, deadline)
  if refusal then return refusal end
  if #packet > 0 and batch.fence.full then return { 'refused', 'overloaded' } end
  if wallet then
    wallet.credited = math.max(wallet.credited, credited)
    if wallet.credited - wallet.reserved - wallet.took < amount then
      -- No 402 because of a send that may yet die: `reserved` is told only where all of it is confirmed.
      if first_unconfirmed(batch, wallet) then return { 'refused', 'busy' } end
      return { 'short', wallet.reserved }
    end
    if wallet.credited > COUNTER_MAX then return { 'refused', 'limit' } end
    wallet.took = wallet.took + amount
    remember_entry(batch, wallet)
  end

  -- The first reservation fixes the day; an id is shard, day, identity (ids.py).
  local id = string.format('%02x%04x%s', shard, math.floor(batch.now / 86400000), identity)
  operation = {
    key = batch.fence.prefix .. 'op:' .. identity, id = id, at = batch.now, entry = batch.entry,
    terms = cmsgpack.pack(terms), fresh = true,
  }
  if #packet > 0 then
    operation.packet = {
      identity = identity, split = cmsgpack.pack(packet[1]), shares = packet[2], expires_at = batch.now + packet[3],
      next = 0, holes = 0, taken = 0, sequence = 0, entries = {}, state = '', over_at = 0, refund_entry = 0, claims = {},
      filled = 0, written = {},
    }
  end
  batch.operations[identity] = operation
  batch.items[#batch.items + 1] = { 'operation', id, terms, request }
  return { 'reserved', 0, 0, id, '', false }
end
