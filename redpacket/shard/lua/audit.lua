-- audit: what is confirmed, to be held against the ledger. Under the fence, read only, some hundred items a call.
--
-- keys   as in reserve.lua
-- rule   what is given is final, whatever happens after the call: its entry has left the outbox under this epoch. So an
--        audit may gather it bit by bit while claims go on, keys are evicted and shards are opened anew.

-- audit_operations(packed {identity...}): packed {{identity, id, at, terms, shares, state, over_at}...} of those that are
-- here and confirmed; shares is 0 of what is no packet; state and over_at are '' and 0 unless a refund is confirmed; or STALE.
local function audit_operations(keys, args)
  local fence = open_fence(keys[1])
  if not fence then return STALE end
  local operations = {}
  for _, identity in ipairs(cmsgpack.unpack(args[1])) do
    local held = redis.call('HMGET', fence.prefix .. 'op:' .. identity, 'id', 'at', 'terms', 'entry', 'shares', 'state', 'over_at',
      'refund_entry')
    if held[1] and not unconfirmed(fence, tonumber(held[4])) then
      local over = (held[6] == 'closed' or held[6] == 'expired') and not unconfirmed(fence, tonumber(held[8] or 0))
      operations[#operations + 1] = {
        identity, held[1], tonumber(held[2]), cmsgpack.unpack(held[3]), tonumber(held[5] or 0),
        over and held[6] or '', over and tonumber(held[7]) or 0,
      }
    end
  end
  return cmsgpack.pack(operations)
end

-- audit_claims(identity, cursor, count): packed {where to go on or '0', {{owner, share, sequence, at}...}}: confirmed claims of a
-- packet, some of them maybe twice, as HSCAN finds them; or STALE.
local function audit_claims(keys, args)
  local fence = open_fence(keys[1])
  if not fence then return STALE end
  local found = redis.call('HSCAN', fence.prefix .. 'claims:' .. args[1], args[2], 'COUNT', args[3])
  local pending, claims = {}, {}
  for i = 1, #found[2], 2 do
    local owner, held = found[2][i], found[2][i + 1]
    if string.sub(owner, 1, 1) ~= '#' then
      local claim, entry = unpack_claim(owner, held)
      if pending[entry] == nil then pending[entry] = unconfirmed(fence, entry) end
      if not pending[entry] then claims[#claims + 1] = claim end
    end
  end
  return cmsgpack.pack({ found[1], claims })
end

redis.register_function{ function_name = NAME('audit_operations'), callback = audit_operations, flags = { 'no-writes' } }
redis.register_function{ function_name = NAME('audit_claims'), callback = audit_claims, flags = { 'no-writes' } }
