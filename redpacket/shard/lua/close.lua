-- close: the end of a packet, at its owner's wish or because its time is over.
--
-- keys   as in reserve.lua
-- item   {'close', identity, id, deadline, 'closed' or 'expired', request}

-- The share numbers <= next that nobody holds.
local function holes_left(batch, packet)
  local holes = {}
  if packet.holes > packet.filled then
    holes = redis.call('LRANGE', batch.fence.prefix .. 'holes:' .. packet.identity, packet.filled, -1)
    for i, hole in ipairs(holes) do holes[i] = tonumber(hole) end
  end
  return holes
end

-- What nobody has claimed goes back, once, and only when nothing of the packet is unconfirmed: what is claimed and what
-- is refunded must be its total in the ledger. Until then the packet is closing, and takes no new claims.
local function decide_close(batch, item)
  local identity, id, deadline, why, request = unpack(item, 2, 6)
  local operation, why_not = packet_operation_of(batch, identity, id)
  if not operation then return why_not end
  local packet = operation.packet

  if packet.state == 'closed' or packet.state == 'expired' then
    if packet.refund_entry == batch.entry then return { 'reserved', 1, 0, '', packet.state, false } end
    if unconfirmed(batch.fence, packet.refund_entry) then return pending(batch, packet.refund_entry) end
    return { 'over', packet.state, packet.over_at }
  end
  if operation.entry == batch.entry or unconfirmed(batch.fence, operation.entry) then
    return pending(batch, operation.entry)
  end
  if operation.frozen then return { 'refused', 'frozen' } end
  local due = batch.now >= packet.expires_at
  if why == 'expired' and not due then return { 'refused', 'not_due' } end
  local waits_for = first_unconfirmed(batch, packet)
  local sold_out = packet.taken == packet.shares
  if sold_out and not waits_for then return { 'over', 'sold_out', 0 } end
  local refusal = refused_at_the_door(batch, deadline)
  if refusal then return refusal end
  if waits_for then
    -- What has expired takes no claims anyhow.
    if not due and not sold_out then packet.state, packet.moved_to = 'closing', 'closing' end
    return pending(batch, waits_for)
  end

  if not name_packet(batch, id, packet) then return { 'refused', 'crowded' } end
  local state = due and 'expired' or 'closed'
  packet.state, packet.moved_to, packet.over_at, packet.refund_entry = state, state, batch.now, batch.entry
  remember_entry(batch, packet)
  batch.items[#batch.items + 1] = { 'close', id, state, packet.next, holes_left(batch, packet), request }
  return { 'reserved', 0, 0, '', state, false }
end

local function write_state(batch, operation, packet)
  redis.call('HSET', operation.key, 'state', packet.moved_to)
  if packet.refund_entry == batch.entry then
    redis.call('HSET', operation.key, 'over_at', packet.over_at, 'refund_entry', packet.refund_entry)
  end
  local change = packet.moved_to == 'closing' and 'SADD' or 'SREM'
  redis.call(change, batch.fence.prefix .. 'closing', operation.id)
end
