-- load: the only way in from Postgres.
--
-- keys   as in reserve.lua, and EPOCH:load:NONCE:claims, EPOCH:load:NONCE:holes while a packet is being filled in
-- rule   what is loaded comes from a snapshot of the ledger whose next_offset is at or above the floor, and never
--        overwrites: a key that is there knows more than any snapshot. Absent means "new" only by such a snapshot.
-- gives  'loaded'; 'there', the key is there already; 'behind', the snapshot is below the floor, or what was staged has
--        expired: to be tried again; or STALE.

local STAGING_SECONDS = 60 -- a loader that died leaves its staging keys no longer than this

local function refused_load(fence, key, next_offset)
  if tonumber(next_offset) < fence.floor then return 'behind' end
  if redis.call('EXISTS', key) == 1 then return 'there' end
  return nil
end

-- load_wallet(next_offset, owner, credited, reserved, frozen): frozen is '1' or ''.
local function load_wallet(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local key = fence.prefix .. 'wallet:' .. args[2]
  local refusal = refused_load(fence, key, args[1])
  if refusal then return refusal end
  local written = guarded(keys[1], function()
    redis.call('HSET', key, 'credited', args[3], 'reserved', args[4], 'entries', cmsgpack.pack({}))
    if args[5] == '1' then redis.call('HSET', key, 'frozen', '1') end
  end)
  return written and 'loaded' or STALE
end

-- stage(nonce, packed claims fields {owner, 'share sequence at 0', '#sequence', owner, ...}, packed holes): a part of
-- a packet that is being loaded; at most some hundred values of each a call.
local function stage(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local staging = fence.prefix .. 'load:' .. args[1]
  local claims, holes = cmsgpack.unpack(args[2]), cmsgpack.unpack(args[3])
  local written = guarded(keys[1], function()
    if #claims > 0 then redis.call('HSET', staging .. ':claims', unpack(claims)) end
    if #holes > 0 then redis.call('RPUSH', staging .. ':holes', unpack(holes)) end
    redis.call('EXPIRE', staging .. ':claims', STAGING_SECONDS)
    redis.call('EXPIRE', staging .. ':holes', STAGING_SECONDS)
  end)
  return written and 'loaded' or STALE
end

-- load_operation(next_offset, identity, nonce, packed {id, at, terms, packet, frozen}): packet = {} or {split, shares,
-- expires_at, next, holes, taken, sequence, state, over_at}; frozen is '1' or ''. The check and the installation are this
-- one call.
local function load_operation(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  local key = fence.prefix .. 'op:' .. args[2]
  local refusal = refused_load(fence, key, args[1])
  if refusal then return refusal end
  local id, at, terms, packet, frozen = unpack(cmsgpack.unpack(args[4]))
  local staging = fence.prefix .. 'load:' .. args[3]
  if #packet > 0 then
    -- Staging keys that expired meanwhile would install a packet without its claims.
    local claims = redis.call('HLEN', staging .. ':claims')
    if claims ~= 2 * packet[6] or redis.call('LLEN', staging .. ':holes') ~= packet[5] then return 'behind' end
  end
  local written = guarded(keys[1], function()
    redis.call('HSET', key, 'id', id, 'at', at, 'entry', 0, 'terms', cmsgpack.pack(terms))
    if frozen == '1' then redis.call('HSET', key, 'frozen', '1') end
    if #packet == 0 then return end
    redis.call('HSET', key, 'split', cmsgpack.pack(packet[1]), 'shares', packet[2], 'expires_at', packet[3], 'next', packet[4],
      'holes', packet[5], 'taken', packet[6], 'sequence', packet[7], 'state', packet[8], 'over_at', packet[9],
      'refund_entry', 0, 'entries', cmsgpack.pack({}))
    for _, part in ipairs({ 'claims', 'holes' }) do
      if redis.call('PERSIST', staging .. ':' .. part) == 1 then
        redis.call('RENAME', staging .. ':' .. part, fence.prefix .. part .. ':' .. args[2])
      end
    end
  end)
  return written and 'loaded' or STALE
end

redis.register_function{ function_name = NAME('load_wallet'), callback = load_wallet }
redis.register_function{ function_name = NAME('stage'), callback = stage }
redis.register_function{ function_name = NAME('load_operation'), callback = load_operation }
