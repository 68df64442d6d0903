-- claim: one person's share of a packet; the next number that is free, whoever asks.
--
-- keys   as in reserve.lua
-- item   {'claim', identity, id, deadline, owner, request}

local function claim_of(batch, packet, owner)
  local fresh = packet.claims[owner]
  if fresh then return fresh[1], batch.now, batch.entry end
  local held = redis.call('HGET', batch.fence.prefix .. 'claims:' .. packet.identity, owner)
  if not held then return nil end
  local share, at, entry = string.match(held, '^(%d+) %d+ (%d+) (%d+)$')
  return tonumber(share), tonumber(at), tonumber(entry)
end

-- Of a packet that is not sold out.
local function next_share(batch, packet)
  if packet.filled < packet.holes then
    packet.filled = packet.filled + 1
    return tonumber(redis.call('LINDEX', batch.fence.prefix .. 'holes:' .. packet.identity, packet.filled - 1))
  end
  packet.next = packet.next + 1
  return packet.next
end

local function decide_claim(batch, item)
  local identity, id, deadline, owner, request = unpack(item, 2, 6)
  local operation, why_not = packet_operation_of(batch, identity, id)
  if not operation then return why_not end
  local packet = operation.packet

  local share, at, entry = claim_of(batch, packet, owner)
  if share then
    if entry == batch.entry then return { 'reserved', 1, share, '', '', false } end
    if unconfirmed(batch.fence, entry) then return pending(batch, entry) end
    return { 'claim', share, at, cmsgpack.unpack(packet.split) }
  end
  -- Nothing is decided about a packet while its own send is unconfirmed.
  if operation.entry == batch.entry or unconfirmed(batch.fence, operation.entry) then
    return pending(batch, operation.entry)
  end
  if operation.frozen then return { 'refused', 'frozen' } end
  -- No 409 and no 410 because of a claim or a refund that may yet die.
  if packet.taken == packet.shares then
    return { 'refused', first_unconfirmed(batch, packet) and 'busy' or 'sold_out' }
  end
  if packet.state == 'closed' or packet.state == 'expired' then
    return { 'refused', first_unconfirmed(batch, packet) and 'busy' or packet.state }
  end
  if batch.now >= packet.expires_at then return { 'refused', 'expired' } end
  if packet.state == 'closing' then return { 'refused', 'busy' } end
  local refusal = refused_at_the_door(batch, deadline)
  if refusal then return refusal end
  if not name_packet(batch, id, packet) then return { 'refused', 'crowded' } end

  share = next_share(batch, packet)
  packet.taken = packet.taken + 1
  packet.sequence = packet.sequence + 1
  packet.claims[owner] = { share, packet.sequence }
  packet.written[#packet.written + 1] = owner
  remember_entry(batch, packet)
  batch.items[#batch.items + 1] = { 'claim', id, owner, share, packet.sequence, request }
  return { 'reserved', 0, share, '', '', false }
end

local function write_claims(batch, packet)
  local key = batch.fence.prefix .. 'claims:' .. packet.identity
  local fields = {}
  for i, owner in ipairs(packet.written) do
    local share, sequence = packet.claims[owner][1], packet.claims[owner][2]
    fields[#fields + 1] = owner
    fields[#fields + 1] = string.format('%d %d %d %d', share, sequence, batch.now, batch.entry)
    fields[#fields + 1] = string.format('#%d', sequence)
    fields[#fields + 1] = owner
    -- `unpack` of some thousands of values is an error.
    if #fields >= 1000 or i == #packet.written then
      redis.call('HSET', key, unpack(fields))
      fields = {}
    end
  end
end
