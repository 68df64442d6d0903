-- read: what a GET is answered with: under the fence, confirmed items only.
--
-- keys   as in reserve.lua
-- gives  packed answers; 'MISSING' where the operation must be loaded first; 'OTHER' where the identity is known but
--        by another id, or is no packet; or STALE.

-- The key of the packet, or nil and why not.
local function find_packet(fence, identity, id)
  local key = fence.prefix .. 'op:' .. identity
  local held = redis.call('HMGET', key, 'id', 'shares')
  if not held[1] then return nil, 'MISSING' end
  if held[1] ~= id or not held[2] then return nil, 'OTHER' end
  return key
end

-- read_packet(identity, id): {packed {now, at, terms, unconfirmed send (entry or 0), expires_at, next, taken, state,
-- holes}, packed entry...}; state is 'closing' until the refund is confirmed; the entries are those still in the outbox
-- that hold claims of it: what they took is not confirmed.
local function read_packet(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local key, why = find_packet(fence, args[1], args[2])
  if not key then return why end
  local held = redis.call('HMGET', key, 'at', 'terms', 'entry', 'expires_at', 'next', 'taken', 'state', 'entries', 'refund_entry')
  local entry = tonumber(held[3])
  local holes = redis.call('LRANGE', fence.prefix .. 'holes:' .. args[1], 0, -1)
  for i, hole in ipairs(holes) do holes[i] = tonumber(hole) end
  local state = unconfirmed(fence, tonumber(held[9] or 0)) and 'closing' or held[7]
  local answer = { cmsgpack.pack({
    now_ms(), tonumber(held[1]), cmsgpack.unpack(held[2]), unconfirmed(fence, entry) and entry or 0, tonumber(held[4]),
    tonumber(held[5]), tonumber(held[6]), state, holes,
  }) }
  for _, pending in ipairs(still_unconfirmed(fence, cmsgpack.unpack(held[8]))) do
    answer[#answer + 1] = redis.call('HGET', fence.prefix .. 'outbox', pending)
  end
  return answer
end

-- read_winners(identity, id): packed {owner...} of a packet whose every share is in a confirmed claim, else {}.
local function read_winners(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local key, why = find_packet(fence, args[1], args[2])
  if not key then return why end
  local held = redis.call('HMGET', key, 'shares', 'taken', 'entries')
  local owners = {}
  if held[1] == held[2] and #still_unconfirmed(fence, cmsgpack.unpack(held[3])) == 0 then
    for _, name in ipairs(redis.call('HKEYS', fence.prefix .. 'claims:' .. args[1])) do
      if string.sub(name, 1, 1) ~= '#' then owners[#owners + 1] = name end
    end
  end
  return cmsgpack.pack(owners)
end

-- read_closing(limit): packed {id...} of packets that are closing: whoever asked for it may not come back.
local function read_closing(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  return cmsgpack.pack(redis.call('SRANDMEMBER', fence.prefix .. 'closing', args[1]))
end

local function unpack_claim(owner, held)
  local share, sequence, at, entry = string.match(held, '^(%d+) (%d+) (%d+) (%d+)$')
  return { owner, tonumber(share), tonumber(sequence), tonumber(at) }, tonumber(entry)
end

-- read_claims(identity, id, after, limit): packed {claims, last}; a claim is {owner, share, sequence, at}, in the order of
-- sequence, those above `after`; `last` is the sequence that was looked at last, 0 where there is no more.
local function read_claims(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local key, why = find_packet(fence, args[1], args[2])
  if not key then return why end
  local held = redis.call('HMGET', key, 'sequence', 'entries')
  local pending = {}
  for _, entry in ipairs(still_unconfirmed(fence, cmsgpack.unpack(held[2]))) do pending[entry] = true end
  local claims_key = fence.prefix .. 'claims:' .. args[1]
  local sequence, limit, claims = tonumber(args[3]), tonumber(args[4]), {}
  local last = tonumber(held[1])
  while sequence < last and #claims < limit do
    sequence = sequence + 1
    -- A sequence number has no owner where its claim died unconfirmed with an older epoch.
    local owner = redis.call('HGET', claims_key, string.format('#%d', sequence))
    if owner then
      local claim, entry = unpack_claim(owner, redis.call('HGET', claims_key, owner))
      if not pending[entry] then claims[#claims + 1] = claim end
    end
  end
  return cmsgpack.pack({ claims, sequence < last and sequence or 0 })
end

-- read_claim(identity, id, owner): packed {entry or 0, claims}: the entry that still holds the claim unconfirmed; claims
-- = {} or {{owner, share, sequence, at}}.
local function read_claim(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local key, why = find_packet(fence, args[1], args[2])
  if not key then return why end
  local held = redis.call('HGET', fence.prefix .. 'claims:' .. args[1], args[3])
  if not held then return cmsgpack.pack({ 0, {} }) end
  local claim, entry = unpack_claim(args[3], held)
  return cmsgpack.pack({ unconfirmed(fence, entry) and entry or 0, { claim } })
end

-- read_operation(identity): packed {id, the entry that still holds it unconfirmed or 0, terms} of an operation of any kind.
local function read_operation(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local held = redis.call('HMGET', fence.prefix .. 'op:' .. args[1], 'id', 'entry', 'terms')
  if not held[1] then return 'MISSING' end
  local entry = tonumber(held[2])
  return cmsgpack.pack({ held[1], unconfirmed(fence, entry) and entry or 0, cmsgpack.unpack(held[3]) })
end

redis.register_function{ function_name = NAME('read_operation'), callback = read_operation, flags = { 'no-writes' } }
redis.register_function{ function_name = NAME('read_packet'), callback = read_packet, flags = { 'no-writes' } }
redis.register_function{ function_name = NAME('read_winners'), callback = read_winners, flags = { 'no-writes' } }
redis.register_function{ function_name = NAME('read_closing'), callback = read_closing, flags = { 'no-writes' } }
redis.register_function{ function_name = NAME('read_claims'), callback = read_claims, flags = { 'no-writes' } }
redis.register_function{ function_name = NAME('read_claim'), callback = read_claim, flags = { 'no-writes' } }
