-- wrk as a generator of prepared requests: each is sent once (or again and again), until the time is over or none is
-- left; then the answers under way are waited for, so that what was answered can be held against the ledger.
--
-- Arguments: the file of requests (each "LENGTH:BYTES"), seconds (0: until none is left), 1 to begin again at its end.
-- Prints one line of JSON, as loadtest/bench/fire.py does. One thread of wrk: its requests have one order.

local ffi = require("ffi")
ffi.cdef([[
    typedef struct { long s; long ns; } bench_time;
    int clock_gettime(int clock, bench_time *time);
    int getpid(void);
    int usleep(unsigned int us);
    int kill(int pid, int number);
]])

local MONOTONIC, INTERRUPT = 1, 2
-- wrk heeds an interrupt only once all its threads are started.
local STARTED_US = 50000
-- Longer than wrk runs: who is told to wait so long sends nothing more.
local NEVER_MS = 3600000

local time = ffi.new("bench_time")
local function now_s()
    ffi.C.clock_gettime(MONOTONIC, time)
    return tonumber(time.s) + tonumber(time.ns) / 1e9
end

local threads = {}
function setup(thread)
    table.insert(threads, thread)
end

local requests, seconds, again = {}, 0, false
local next_request = 1
sent, answered, began_s, ended_s = 0, 0, 0, 0
-- By status, from 0 to 999.
statuses = {}

function init(args)
    local file = assert(io.open(args[1], "rb"))
    local text = file:read("*a")
    file:close()
    local at = 1
    while at <= #text do
        local colon = text:find(":", at, true)
        local length = tonumber(text:sub(at, colon - 1))
        requests[#requests + 1] = text:sub(colon + 1, colon + length)
        at = colon + length + 1
    end
    seconds, again = tonumber(args[2]), args[3] == "1"
    for status = 0, 999 do
        statuses[status] = 0
    end
end

local promised = 0
local function is_over()
    return (promised == #requests and not again) or (seconds > 0 and sent > 0 and now_s() - began_s > seconds)
end

-- Asked for each connection before each request.
function delay()
    if is_over() then
        return NEVER_MS
    end
    promised = promised + 1
    return 0
end

-- wrk asks once before it starts, to look at what it gets.
local looked_at = false

function request()
    if not looked_at then
        looked_at = true
        return requests[1]
    end
    if sent == 0 then
        began_s = now_s()
    end
    if next_request > #requests then
        next_request = 1
    end
    sent = sent + 1
    next_request = next_request + 1
    return requests[next_request - 1]
end

function response(status)
    statuses[status] = statuses[status] + 1
    answered = answered + 1
    ended_s = now_s()
    if answered == promised and is_over() then
        ffi.C.usleep(STARTED_US)
        ffi.C.kill(ffi.C.getpid(), INTERRUPT)
    end
end

function done(summary, latency)
    local thread = threads[1]
    local counted, parts = thread:get("statuses"), {}
    for status = 0, 999 do
        if counted[status] > 0 then
            parts[#parts + 1] = string.format('"%d": %d', status, counted[status])
        end
    end
    print(
        string.format(
            '{"began_s": %.6f, "ended_s": %.6f, "sent": %d, "statuses": {%s}, "p50_ms": %.3f, "p99_ms": %.3f}',
            thread:get("began_s"),
            thread:get("ended_s"),
            thread:get("sent"),
            table.concat(parts, ", "),
            latency:percentile(50) / 1000,
            latency:percentile(99) / 1000
        )
    )
end
