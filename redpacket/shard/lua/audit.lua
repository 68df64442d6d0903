-- audit: what is confirmed, to be held against the ledger. Under the fence, read only, some hundred items a call.
--
-- keys   as in reserve.lua
-- rule   what is given is final, whatever happens after the call: its entry has left the outbox under this epoch. So an
--        audit may gather it bit by bit while claims go on, keys are evicted and shards are opened anew.

-- What of a packet does not fit together, '' where all does. All of it is written in one call, so it fits at any time,
-- whatever is confirmed; where it does not, a share is given out twice, or to somebody who has one.
local function amiss(fence, identity, terms, held)
  local next, holes, taken = tonumber(held[1]), tonumber(held[2]), tonumber(held[3])
  local claims = redis.call('HLEN', fence.prefix .. 'claims:' .. identity) / 2
  local free = redis.call('LLEN', fence.prefix .. 'holes:' .. identity)
  if claims ~= taken or next - holes ~= taken or free ~= holes then
    return string.format('%s claims, %d taken of %d handed out, %d holes, %d listed', claims, taken, next, holes, free)
  end
  -- terms: {'packet', owner, currency, split, ...}
  if held[4] ~= cmsgpack.pack(terms[4]) then return 'its split is not that of its terms' end
  return ''
end

-- audit_operations(packed {identity...}): packed {{identity, id, at, terms, shares, state, over_at, amiss}...} of those
-- that are here and confirmed; shares is 0 of what is no packet; state and over_at are '' and 0 unless a refund is
-- confirmed; or STALE.
local function audit_operations(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local operations = {}
  for _, identity in ipairs(cmsgpack.unpack(args[1])) do
    local held = redis.call('HMGET', fence.prefix .. 'op:' .. identity, 'id', 'at', 'terms', 'entry', 'shares', 'state', 'over_at',
      'refund_entry', 'next', 'holes', 'taken', 'split')
    if held[1] and not unconfirmed(fence, tonumber(held[4])) then
      local over = (held[6] == 'closed' or held[6] == 'expired') and not unconfirmed(fence, tonumber(held[8] or 0))
      local terms = cmsgpack.unpack(held[3])
      operations[#operations + 1] = {
        identity, held[1], tonumber(held[2]), terms, tonumber(held[5] or 0),
        over and held[6] or '', over and tonumber(held[7]) or 0,
        held[5] and amiss(fence, identity, terms, { unpack(held, 9, 12) }) or '',
      }
    end
  end
  return cmsgpack.pack(operations)
end

-- audit_claims(identity, cursor, count): packed {where to go on or '0', {{owner, share, sequence, at}...}}: confirmed claims of a
-- packet, some of them maybe twice, as HSCAN finds them; or STALE.
local function audit_claims(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local found = redis.call('HSCAN', fence.prefix .. 'claims:' .. args[1], args[2], 'COUNT', args[3])
  local pending, claims = {}, {}
  for i = 1, #found[2], 2 do
    local owner, held = found[2][i], found[2][i + 1]
    if string.sub(owner, 1, 1) ~= '#' then
      local claim, entry = unpack_claim(owner, held)
      -- Damaged: nobody's share, which the ledger does not have.
      if not entry then claim, entry = { owner, 0, 0, 0 }, 0 end
      if pending[entry] == nil then pending[entry] = unconfirmed(fence, entry) end
      if not pending[entry] then claims[#claims + 1] = claim end
    end
  end
  return cmsgpack.pack({ found[1], claims })
end

-- audit_wallets(packed {owner...}): packed {{owner, credited, reserved}...} of those that are here; or STALE. `credited` is what
-- some reading of the ledger found, whatever is confirmed.
local function audit_wallets(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local wallets = {}
  for _, owner in ipairs(cmsgpack.unpack(args[1])) do
    local held = redis.call('HMGET', fence.prefix .. 'wallet:' .. owner, 'credited', 'reserved')
    if held[1] then wallets[#wallets + 1] = { owner, tonumber(held[1]), tonumber(held[2]) } end
  end
  return cmsgpack.pack(wallets)
end

redis.register_function{ function_name = NAME('audit_operations'), callback = audit_operations, flags = { 'no-writes' } }
redis.register_function{ function_name = NAME('audit_claims'), callback = audit_claims, flags = { 'no-writes' } }
redis.register_function{ function_name = NAME('audit_wallets'), callback = audit_wallets, flags = { 'no-writes' } }
