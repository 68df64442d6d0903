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
--        {'claim', identity, id, deadline, owner, request}
--        {'close', identity, id, deadline, 'closed' or 'expired', request}
--        {'operation', identity, shard, deadline, proof, payer or '', amount, credited, terms, packet = {} or
--         {split, shares, expires_in_ms}, request}
--        deadlines in ms by this server's TIME, 0 for none; proof is the next_offset of the ledger's snapshot that
--        does not know the identity, -1 for none; credited is what a reading of the ledger found come in to the
--        payer's wallet, 0 for none: it raises what is known here, also where the wallet was lost meanwhile and
--        loaded from an older reading. request is an id for people who look for it, kept in the entry.
-- does   atomically: confirms; decides every item in order, each seeing what the ones before it took; then writes
--        all, with ONE outbox entry for the batch. Repeats are looked at before any state.
-- gives  {packed {epoch, now, confirmed, entry or 0, results}, the packed entry or ''}, or STALE. A result is
--        {'reserved', 1 for a repeat within this batch, share or 0, id or '', state or '', terms or false}   in this
--        batch's entry; state is what a close has made of the packet
--        {'claim', share, at, split} or {'operation', id, at, terms}   a confirmed one, repeated
--        {'over', 'sold_out', 'closed' or 'expired', at}   nothing is left of the packet, and all of that is confirmed
--        {'pending', entry, at, id or ''}  recorded in another entry that is still in the outbox; the id of an operation
--        {'missing', operation, wallet}    1 for what must be loaded first
--        {'short', reserved}               the payer's wallet, by what is known here to have come in; reserved is all that
--        ever went out of it, all of it confirmed
--        {'stalled', entry}                nothing new is reserved before this one is published
--        {'refused', why}; 'crowded' is to come again with the next batch

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
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local outbox_max, stalled_ms, confirms, items = unpack(cmsgpack.unpack(args[1]))
  -- Before anything is decided: what is confirmed now need not be waited for. It stands whatever follows.
  local confirmed = confirm_entries(fence, confirms)

  local now = now_ms()
  local entries, oldest, oldest_at = outbox_size(fence)
  local batch = {
    fence = fence, now = now, entry = tonumber(redis.call('GET', fence.prefix .. 'entry') or 0) + 1,
    outbox_is_full = entries >= outbox_max, stalled = oldest and now - oldest_at > stalled_ms and oldest,
    operations = {}, wallets = {}, packets = {}, packets_named = {}, shares_named = 0, items = {},
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
