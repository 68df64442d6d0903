-- reserve: the one way in which money leaves a wallet or a share leaves a packet, a batch at a time.
--
-- keys   {rpN}fence, and below its prefix '{rpN}EPOCH:':
--        op:IDENTITY     hash of an operation: id, at, entry (0 = from the ledger), terms (packed); and of a packet:
--                        split (packed), shares, expires_at, next (share numbers 1..next were handed out), holes (how
--                        many of those are free again), taken, sequence, entries (packed: those that may be
--                        unconfirmed), state ('' or closing, closed)
--        holes:IDENTITY  list of the free share numbers <= next; there only after a load
--        claims:IDENTITY hash of owner -> 'share sequence at entry', and '#sequence' -> owner
--        wallet:OWNER    hash of credited, reserved, entries (as above)
--        entry           the number of the last entry
--        outbox          see outbox.lua
-- args   packed {outbox_max, confirms, items}. confirms as in outbox.lua; items are
--        {'claim', identity, id, deadline, owner}
--        {'operation', identity, shard, deadline, proof, payer or '', amount, credited, terms, packet = {} or
--         {split, shares, expires_in_ms}}
--        deadlines in ms by this server's TIME, 0 for none; proof is the next_offset of the ledger's snapshot that
--        does not know the identity, -1 for none; credited is what a reading of the ledger found come in to the
--        payer's wallet, 0 for none. It rides here since the wallet may be lost, and loaded from an older reading,
--        between any refresh and this call.
-- does   atomically: confirms; decides every item in order, each seeing what the ones before it took; then writes
--        all, with ONE outbox entry for the batch. Repeats are looked at before any state.
-- gives  {packed {epoch, now, confirmed, entry or 0, results}, the packed entry or ''}, or STALE. A result is
--        {'reserved', 1 for a repeat within this batch, share or 0, id or '', terms or false}   in this batch's entry
--        {'claim', share, at, split} or {'operation', id, at, terms}   a confirmed one, repeated
--        {'pending', entry, at, id or ''}  recorded in another entry that is still in the outbox
--        {'missing', operation, wallet}    1 for what must be loaded first
--        {'refused', why}

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

local function any_unconfirmed(batch, holder)
  for _, entry in ipairs(holder.entries) do
    if entry == batch.entry or unconfirmed(batch.fence, entry) then return true end
  end
  return false
end

local function operation_of(batch, identity)
  local known = batch.operations[identity]
  if known ~= nil then return known end
  local key = batch.fence.prefix .. 'op:' .. identity
  local held = redis.call('HMGET', key, 'id', 'at', 'entry', 'terms', 'split', 'shares', 'expires_at', 'next', 'holes',
    'taken', 'sequence', 'entries', 'state')
  if not held[1] then
    batch.operations[identity] = false
    return false
  end
  local operation = { key = key, id = held[1], at = tonumber(held[2]), entry = tonumber(held[3]), terms = held[4] }
  if held[6] then
    operation.packet = {
      identity = identity, split = held[5], shares = tonumber(held[6]), expires_at = tonumber(held[7]),
      next = tonumber(held[8]), holes = tonumber(held[9]), taken = tonumber(held[10]), sequence = tonumber(held[11]),
      entries = cmsgpack.unpack(held[12]), state = held[13], claims = {}, filled = 0, written = {},
    }
  end
  batch.operations[identity] = operation
  return operation
end

local function wallet_of(batch, owner)
  local known = batch.wallets[owner]
  if known ~= nil then return known end
  local key = batch.fence.prefix .. 'wallet:' .. owner
  local held = redis.call('HMGET', key, 'credited', 'reserved', 'entries')
  local wallet = held[1] and {
    key = key, credited = tonumber(held[1]), reserved = tonumber(held[2]), entries = cmsgpack.unpack(held[3]), took = 0,
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
  return nil
end

local function decide_claim(batch, item)
  local identity, id, deadline, owner = item[2], item[3], item[4], item[5]
  local operation = operation_of(batch, identity)
  if not operation then return { 'missing', 1, 0 } end
  local packet = operation.packet
  if operation.id ~= id or not packet then return { 'refused', 'not_found' } end

  local share, at, entry = claim_of(batch, packet, owner)
  if share then
    if entry == batch.entry then return { 'reserved', 1, share, '', false } end
    if unconfirmed(batch.fence, entry) then return { 'pending', entry, at } end
    return { 'claim', share, at, cmsgpack.unpack(packet.split) }
  end
  -- Nothing is decided about a packet while its own send is unconfirmed.
  if operation.entry == batch.entry or unconfirmed(batch.fence, operation.entry) then
    return { 'pending', operation.entry, operation.at }
  end
  if packet.state ~= '' then return { 'refused', packet.state } end
  if batch.now >= packet.expires_at then return { 'refused', 'expired' } end
  local refusal = refused_at_the_door(batch, deadline)
  if refusal then return refusal end

  share = next_share(batch, packet)
  if not share then
    -- No 409 because of a claim that may yet die.
    return { 'refused', any_unconfirmed(batch, packet) and 'busy' or 'sold_out' }
  end
  packet.taken = packet.taken + 1
  packet.sequence = packet.sequence + 1
  packet.claims[owner] = { share, packet.sequence }
  packet.written[#packet.written + 1] = owner
  remember_entry(batch, packet)
  if not batch.packets_named[identity] then
    batch.packets_named[identity] = true
    batch.packets[#batch.packets + 1] = { id, cmsgpack.unpack(packet.split) }
  end
  batch.items[#batch.items + 1] = { 'claim', id, owner, share, packet.sequence }
  return { 'reserved', 0, share, '', false }
end

local function decide_operation(batch, item)
  local identity, shard, deadline, proof, payer, amount, credited, terms, packet = unpack(item, 2, 10)
  local operation = operation_of(batch, identity)
  if operation then
    if operation.entry == batch.entry then
      return { 'reserved', 1, 0, operation.id, cmsgpack.unpack(operation.terms) }
    end
    if unconfirmed(batch.fence, operation.entry) then
      return { 'pending', operation.entry, operation.at, operation.id }
    end
    return { 'operation', operation.id, operation.at, cmsgpack.unpack(operation.terms) }
  end
  local wallet = payer ~= '' and wallet_of(batch, payer)
  -- Absent here never means new: only a snapshot of the ledger at or above the floor says so.
  local unproven = proof < batch.fence.floor
  local unloaded = payer ~= '' and not wallet
  if unproven or unloaded then return { 'missing', unproven and 1 or 0, unloaded and 1 or 0 } end
  local refusal = refused_at_the_door(batch, deadline)
  if refusal then return refusal end
  if wallet then
    wallet.credited = math.max(wallet.credited, credited)
    if wallet.credited - wallet.reserved - wallet.took < amount then
      return { 'refused', any_unconfirmed(batch, wallet) and 'busy' or 'short' }
    end
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
      next = 0, holes = 0, taken = 0, sequence = 0, entries = {}, state = '', claims = {}, filled = 0, written = {},
    }
  end
  batch.operations[identity] = operation
  batch.items[#batch.items + 1] = { 'operation', id, terms }
  return { 'reserved', 0, 0, id, false }
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

local function write_operation(batch, operation)
  local packet = operation.packet
  if operation.fresh then
    redis.call('HSET', operation.key, 'id', operation.id, 'at', operation.at, 'entry', operation.entry, 'terms', operation.terms)
    if packet then
      redis.call('HSET', operation.key, 'split', packet.split, 'shares', packet.shares, 'expires_at', packet.expires_at, 'state', '')
    end
  end
  if not packet or not (operation.fresh or #packet.written > 0) then return end
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
  redis.call('SET', batch.fence.prefix .. 'entry', batch.entry)
  redis.call('HSET', batch.fence.prefix .. 'outbox', batch.entry, packed)
end

local decide = { claim = decide_claim, operation = decide_operation }

local function reserve(keys, args)
  local fence = open_fence(keys[1])
  if not fence then return STALE end
  local outbox_max, confirms, items = unpack(cmsgpack.unpack(args[1]))
  -- Before anything is decided: what is confirmed now need not be waited for. It stands whatever follows.
  local confirmed = confirm_entries(fence, confirms)

  local batch = {
    fence = fence, now = now_ms(), entry = tonumber(redis.call('GET', fence.prefix .. 'entry') or 0) + 1,
    outbox_is_full = redis.call('HLEN', fence.prefix .. 'outbox') >= outbox_max,
    operations = {}, wallets = {}, packets = {}, packets_named = {}, items = {},
  }
  local results = {}
  for i, item in ipairs(items) do
    results[i] = decide[item[1]](batch, item)
  end

  local packed = ''
  if #batch.items > 0 then
    packed = cmsgpack.pack({ batch.now, batch.packets, batch.items })
    if not guarded(keys[1], function() write_batch(batch, packed) end) then return STALE end
  end
  local entry = #batch.items > 0 and batch.entry or 0
  return { cmsgpack.pack({ fence.epoch, batch.now, confirmed, entry, results }), packed }
end

redis.register_function{ function_name = NAME('reserve'), callback = reserve }
