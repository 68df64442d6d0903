-- reserve: the one way in which money leaves a wallet or a share leaves a packet, a batch at a time.
--
-- keys   {rpN}fence, and below its prefix '{rpN}EPOCH:':
--        op:IDENTITY     hash of an operation: id, at, entry (0 = from the ledger), terms (packed); and of a packet:
--                        split (packed), shares, expires_at, next (share numbers 1..next were handed out), holes (how
--                        many of those are free again), taken, sequence, entries (packed: those that may be
--                        unconfirmed), state ('', closing, closed or expired); and of one that is over: over_at,
--                        refund_entry (0 = from the ledger); frozen ('1', or not there): the ledger has set something
--                        of it aside, and nothing new is reserved until a person has decided
--        holes:IDENTITY  list of the free share numbers <= next; there only after a load
--        claims:IDENTITY hash of owner -> 'share sequence at entry', and '#sequence' -> owner
--        wallet:OWNER    hash of credited, reserved, entries, frozen (as above)
--        entry           the number of the last entry
--        closing         set of the ids of the packets in state closing
--        outbox          see outbox.lua
-- args   packed {outbox_max, stalled_ms, confirms, items}. Nothing new is reserved while the outbox has outbox_max
--        entries, or one that is older than stalled_ms: the log does not take them. confirms as in outbox.lua; items are
--        {'claim', identity, id, deadline, owner}
--        {'close', identity, id, deadline, 'closed' or 'expired'}
--        {'operation', identity, shard, deadline, proof, payer or '', amount, credited, terms, packet = {} or
--         {split, shares, expires_in_ms}}
--        deadlines in ms by this server's TIME, 0 for none; proof is the next_offset of the ledger's snapshot that
--        does not know the identity, -1 for none; credited is what a reading of the ledger found come in to the
--        payer's wallet, 0 for none. It rides here since the wallet may be lost, and loaded from an older reading,
--        between any refresh and this call.
-- does   atomically: confirms; decides every item in order, each seeing what the ones before it took; then writes
--        all, with ONE outbox entry for the batch. Repeats are looked at before any state.
-- gives  {packed {epoch, now, confirmed, entry or 0, results}, the packed entry or ''}, or STALE. A result is
--        {'reserved', 1 for a repeat within this batch, share or 0, id or '', state or '', terms or false}   in this
--        batch's entry; state is what a close has made of the packet
--        {'claim', share, at, split} or {'operation', id, at, terms}   a confirmed one, repeated
--        {'over', 'sold_out', 'closed' or 'expired', at}   nothing is left of the packet, and all of that is confirmed
--        {'pending', entry, at}            recorded in another entry that is still in the outbox
--        {'missing', operation, wallet}    1 for what must be loaded first
--        {'refused', why}

-- Numbers here are doubles, exact up to 2^53.
local COUNTER_MAX = 9e15
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
local function pending(batch, entry)
  return { 'pending', entry, entry == batch.entry and batch.now or time_of_entry(batch.fence, entry) }
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

local function claim_of(batch, packet, owner)
  local fresh = packet.claims[owner]
  if fresh then return fresh[1], batch.now, batch.entry end
  local held = redis.call('HGET', batch.fence.prefix .. 'claims:' .. packet.identity, owner)
  if not held then return nil end
  local share, at, entry = string.match(held, '^(%d+) %d+ (%d+) (%d+)$')
  return tonumber(share), tonumber(at), tonumber(entry)
end

local function next_share(batch, packet)
  if packet.filled < packet.holes then
    packet.filled = packet.filled + 1
    return tonumber(redis.call('LINDEX', batch.fence.prefix .. 'holes:' .. packet.identity, packet.filled - 1))
  end
  if packet.next >= packet.shares then return nil end
  packet.next = packet.next + 1
  return packet.next
end

-- Refusals that come before anything new is recorded, in either kind of item.
local function refused_at_the_door(batch, deadline)
  if deadline > 0 and batch.now > deadline then return { 'refused', 'late' } end
  if batch.outbox_is_full then return { 'refused', 'overloaded' } end
  if batch.stalled then return { 'refused', 'stalled' } end
  return nil
end

-- Its split goes into the entry, once: the amounts follow from it.
local function name_packet(batch, id, packet)
  if batch.packets_named[id] then return end
  batch.packets_named[id] = true
  batch.packets[#batch.packets + 1] = { id, cmsgpack.unpack(packet.split) }
end

local function decide_claim(batch, item)
  local identity, id, deadline, owner = item[2], item[3], item[4], item[5]
  local operation = operation_of(batch, identity)
  if not operation then return { 'missing', 1, 0 } end
  local packet = operation.packet
  if operation.id ~= id or not packet then return { 'refused', 'not_found' } end

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
  if packet.state ~= '' then return { 'refused', packet.state } end
  if batch.now >= packet.expires_at then return { 'refused', 'expired' } end
  local refusal = refused_at_the_door(batch, deadline)
  if refusal then return refusal end

  share = next_share(batch, packet)
  if not share then
    -- No 409 because of a claim that may yet die.
    return { 'refused', first_unconfirmed(batch, packet) and 'busy' or 'sold_out' }
  end
  packet.taken = packet.taken + 1
  packet.sequence = packet.sequence + 1
  packet.claims[owner] = { share, packet.sequence }
  packet.written[#packet.written + 1] = owner
  remember_entry(batch, packet)
  name_packet(batch, id, packet)
  batch.items[#batch.items + 1] = { 'claim', id, owner, share, packet.sequence }
  return { 'reserved', 0, share, '', '', false }
end

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
  local identity, id, deadline, why = item[2], item[3], item[4], item[5]
  local operation = operation_of(batch, identity)
  if not operation then return { 'missing', 1, 0 } end
  local packet = operation.packet
  if operation.id ~= id or not packet then return { 'refused', 'not_found' } end

  if packet.state == 'closed' or packet.state == 'expired' then
    if packet.refund_entry == batch.entry then return { 'reserved', 1, 0, '', packet.state, false } end
    if unconfirmed(batch.fence, packet.refund_entry) then return pending(batch, packet.refund_entry) end
    return { 'over', packet.state, packet.over_at }
  end
  if operation.entry == batch.entry or unconfirmed(batch.fence, operation.entry) then
    return pending(batch, operation.entry)
  end
  if operation.frozen then return { 'refused', 'frozen' } end
  if why == 'expired' and batch.now < packet.expires_at then return { 'refused', 'not_due' } end
  local waits_for = first_unconfirmed(batch, packet)
  local sold_out = packet.taken == packet.shares
  if sold_out and not waits_for then
    if packet.state == 'closing' then packet.moved_to = '' end
    return { 'over', 'sold_out', 0 }
  end
  local refusal = refused_at_the_door(batch, deadline)
  if refusal then return refusal end
  if waits_for then
    if not sold_out and packet.state == '' then
      packet.state, packet.moved_to = 'closing', 'closing'
    end
    return pending(batch, waits_for)
  end

  packet.state, packet.moved_to, packet.over_at, packet.refund_entry = why, why, batch.now, batch.entry
  remember_entry(batch, packet)
  name_packet(batch, id, packet)
  batch.items[#batch.items + 1] = { 'close', id, why, packet.next, holes_left(batch, packet) }
  return { 'reserved', 0, 0, '', why, false }
end

local function decide_operation(batch, item)
  local identity, shard, deadline, proof, payer, amount, credited, terms, packet = unpack(item, 2, 10)
  local operation = operation_of(batch, identity)
  if operation then
    if operation.entry == batch.entry then
      return { 'reserved', 1, 0, operation.id, '', cmsgpack.unpack(operation.terms) }
    end
    if unconfirmed(batch.fence, operation.entry) then return pending(batch, operation.entry) end
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
      return { 'refused', first_unconfirmed(batch, wallet) and 'busy' or 'short' }
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
  batch.items[#batch.items + 1] = { 'operation', id, terms }
  return { 'reserved', 0, 0, id, '', false }
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

local function write_state(batch, operation, packet)
  redis.call('HSET', operation.key, 'state', packet.moved_to)
  if packet.refund_entry == batch.entry then
    redis.call('HSET', operation.key, 'over_at', packet.over_at, 'refund_entry', packet.refund_entry)
  end
  local change = packet.moved_to == 'closing' and 'SADD' or 'SREM'
  redis.call(change, batch.fence.prefix .. 'closing', operation.id)
end

local function write_operation(batch, operation)
  local packet = operation.packet
  if operation.fresh then
    redis.call('HSET', operation.key, 'id', operation.id, 'at', operation.at, 'entry', operation.entry, 'terms', operation.terms)
    if packet then
      redis.call('HSET', operation.key, 'split', packet.split, 'shares', packet.shares, 'expires_at', packet.expires_at, 'state', '',
        'over_at', 0, 'refund_entry', 0)
    end
  end
  if not packet then return end
  if packet.moved_to then write_state(batch, operation, packet) end
  if not (operation.fresh or #packet.written > 0 or packet.refund_entry == batch.entry) then return end
  redis.call('HSET', operation.key, 'next', packet.next, 'holes', packet.holes - packet.filled, 'taken', packet.taken,
    'sequence', packet.sequence, 'entries', cmsgpack.pack(packet.entries))
  if packet.filled > 0 then redis.call('LTRIM', batch.fence.prefix .. 'holes:' .. packet.identity, packet.filled, -1) end
  if #packet.written > 0 then write_claims(batch, packet) end
end

local function write_batch(batch, packed)
  for _, wallet in pairs(batch.wallets) do
    if wallet and wallet.took > 0 then
      redis.call('HSET', wallet.key, 'credited', wallet.credited, 'reserved', wallet.reserved + wallet.took,
        'entries', cmsgpack.pack(wallet.entries))
    end
  end
  for _, operation in pairs(batch.operations) do
    if operation then write_operation(batch, operation) end
  end
  if packed ~= '' then
    redis.call('SET', batch.fence.prefix .. 'entry', batch.entry)
    put_entry(batch.fence, batch.entry, batch.now, packed)
  end
end

local decide = { claim = decide_claim, close = decide_close, operation = decide_operation }

local function reserve(keys, args)
  local fence = open_fence(keys[1])
  if not fence then return STALE end
  local outbox_max, stalled_ms, confirms, items = unpack(cmsgpack.unpack(args[1]))
  -- Before anything is decided: what is confirmed now need not be waited for. It stands whatever follows.
  local confirmed = confirm_entries(fence, confirms)

  local now = now_ms()
  local entries, oldest = outbox_size(fence)
  local batch = {
    fence = fence, now = now, entry = tonumber(redis.call('GET', fence.prefix .. 'entry') or 0) + 1,
    outbox_is_full = entries >= outbox_max, stalled = oldest and now - oldest > stalled_ms,
    operations = {}, wallets = {}, packets = {}, packets_named = {}, items = {},
  }
  local results = {}
  for i, item in ipairs(items) do
    results[i] = decide[item[1]](batch, item)
  end

  local packed = #batch.items > 0 and cmsgpack.pack({ batch.now, batch.packets, batch.items }) or ''
  if not guarded(keys[1], function() write_batch(batch, packed) end) then return STALE end
  local entry = #batch.items > 0 and batch.entry or 0
  return { cmsgpack.pack({ fence.epoch, batch.now, confirmed, entry, results }), packed }
end

redis.register_function{ function_name = NAME('reserve'), callback = reserve }
