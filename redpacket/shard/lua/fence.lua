-- fence: what stands before every function of this library.
--
-- keys   {rpN}fence, a hash of epoch, nonce (of the opening), run_id, replid (the Redis process that was blessed), open,
--        floor, full ('1' while memory is too short for new packets).
--        Every other key of shard N is '{rpN}EPOCH:...': what an older epoch left is invisible at once.
-- args   last, of every function: the lowest epoch that its caller believes, 0 for any.
-- rule   every function looks at the fence first; where it is missing, not open, or names another process than
--        this one, nothing is changed and the answer is STALE. A restart, a promotion and a FLUSHALL thereby close
--        the shard by themselves.
-- rule   so it is where the fence is open under an epoch below the one that the caller knows of: this process was
--        blessed once and its successor has been since, which it cannot know.
-- rule   decide first, write last: Redis does not undo. An error while writing closes the shard.

local STALE = 'STALE'

local function this_process()
  -- run_id alone would pass on rolled-back data (A promoted, B synced from it, A promoted again): replid as well.
  local info = redis.call('INFO', 'server', 'replication')
  return string.match(info, 'run_id:(%w+)'), string.match(info, 'master_replid:(%w+)')
end

-- TIME moves within a function on some servers and stands still on others: read it once a call.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The fence where the shard is open on this process under an epoch that the caller believes, else nil. `prefix` begins
-- the name of every data key.
local function open_fence(keys, args)
  local key = keys[1]
  local held = redis.call('HMGET', key, 'epoch', 'run_id', 'replid', 'open', 'floor', 'full')
  if held[4] ~= '1' or tonumber(held[1]) < tonumber(args[#args]) then return nil end
  local run_id, replid = this_process()
  if held[2] ~= run_id or held[3] ~= replid then return nil end
  return {
    key = key,
    epoch = tonumber(held[1]),
    floor = tonumber(held[5]),
    full = held[6] == '1',
    prefix = string.match(key, '^{.-}') .. held[1] .. ':',
  }
end

-- Runs `write`; true, or false after having closed the shard, since half of it may have been written.
local function guarded(fence_key, write)
  local written, why = pcall(write)
  if written then return true end
  redis.pcall('HSET', fence_key, 'open', '0')
  redis.log(redis.LOG_WARNING, fence_key .. ' closed: an error while writing: ' .. tostring(type(why) == 'table' and why.err or why))
  return false
end

-- Is this entry still in the outbox, which is to say: is what it speaks of unconfirmed?
local function unconfirmed(fence, entry)
  return entry > 0 and redis.call('HEXISTS', fence.prefix .. 'outbox', entry) == 1
end

-- fence_state: epoch, open (1 where this very process is blessed and open), floor, the time.
local function fence_state(keys, args)
  local epoch = redis.call('HGET', keys[1], 'epoch')
  local fence = open_fence(keys, args)
  return cmsgpack.pack({ tonumber(epoch or 0), fence and 1 or 0, fence and fence.floor or 0, now_ms() })
end

-- close(epoch, nonce): the second step of an opening, or, with '' for a nonce, the end of this server: no bless follows. 1,
-- or 0 where an epoch as high or higher has been here. An error where it may forget keys by itself when it is full, and
-- is to be opened: a share that it forgot would be given out again.
local function close(keys, args)
  if args[2] ~= '' and not string.find(redis.call('INFO', 'memory'), 'maxmemory_policy:noeviction', 1, true) then
    return redis.error_reply('EVICTS its maxmemory-policy must be noeviction')
  end
  local epoch = tonumber(args[1])
  if tonumber(redis.call('HGET', keys[1], 'epoch') or 0) >= epoch then return 0 end
  local run_id, replid = this_process()
  redis.call('HSET', keys[1], 'epoch', args[1], 'nonce', args[2], 'run_id', run_id, 'replid', replid, 'open', 'new',
    'floor', '0')
  return 1
end

-- bless(epoch, nonce, floor): the last step. 1 only where the fence is there, is the one that this very opening closed
-- (its epoch alone would not do: a restored Postgres may give a number out again), names this process and was never
-- opened ('new': once opened and closed again it is '0', and a number gets one pass).
local function bless(keys, args)
  local held = redis.call('HMGET', keys[1], 'epoch', 'nonce', 'run_id', 'replid', 'open')
  local run_id, replid = this_process()
  if held[1] ~= args[1] or held[2] ~= args[2] or held[5] ~= 'new' then return 0 end
  if held[3] ~= run_id or held[4] ~= replid then return 0 end
  redis.call('HSET', keys[1], 'open', '1', 'floor', args[3])
  return 1
end

-- set_full(0 or 1): whether new packets are refused for want of memory. 1, or STALE.
local function set_full(keys, args)
  local fence = open_fence(keys, args)
  if not fence then return STALE end
  redis.call('HSET', keys[1], 'full', args[1])
  return 1
end

redis.register_function{ function_name = NAME('fence_state'), callback = fence_state, flags = { 'no-writes' } }
redis.register_function{ function_name = NAME('close'), callback = close, flags = { 'allow-oom' } }
redis.register_function{ function_name = NAME('bless'), callback = bless, flags = { 'allow-oom' } }
redis.register_function{ function_name = NAME('set_full'), callback = set_full, flags = { 'allow-oom' } }
