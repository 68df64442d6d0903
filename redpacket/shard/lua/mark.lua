-- mark: whose Redis this is.
--
-- keys   redpacket:mark, JSON of the deployment, the generation and the name of this Redis among those it has had. Nothing
--        here is kept over a restart, so an empty Redis has none: it may be marked by whoever was told its name.

-- mark(mark, '1' to put it over one of the same deployment and a lower generation, or ''): the mark that is there now.
local function mark(keys, args)
  local held = redis.call('GET', keys[1])
  if held then
    local read, there = pcall(cjson.decode, held)
    local mine = cjson.decode(args[1])
    if args[2] ~= '1' or not read or type(there) ~= 'table' then return held end
    if there.deployment ~= mine.deployment or there.generation >= mine.generation then return held end
  end
  redis.call('SET', keys[1], args[1])
  return args[1]
end

redis.register_function{ function_name = NAME('mark'), callback = mark, flags = { 'allow-oom' } }
