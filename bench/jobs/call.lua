-- One empty call at a time to one worker of a node, as a driver script:
--   moonfleet run call.lua ADDRESS COUNT     prints the microseconds of one call
local codec = require("host.codec")
local digest = require("fleet.digest")
local node = require("fleet.node")
local sys = require("host.sys")

local peer = node.new(arg[1], sys.version)
assert(peer:connect())
assert(peer:open_bulk())
local definition = assert(codec.encode({
  source = "return { map = function() end }", chunkname = "=empty", concurrency = 1,
}))
local job = { key = digest.sha256(definition), definition = definition }
local worker, generation = table.unpack(peer.status.workers[1])
local items = codec.encode_list({ true }, 1, 1)

local answered
local function on_record(_, id, _, ok)
  if id > 0 then answered = ok and id end
end

local function calls(from, to)
  for id = from, to do
    local batches = { { worker, generation, job.key, id, 1, 1, items } }
    repeat
      assert(codec.each_result(assert(peer:work(job, batches)), on_record))
      batches = {}
    until answered == id
  end
end

local count = math.tointeger(arg[2])
calls(1, 1000)
local start = sys.now()
calls(1001, 1000 + count)
print(("%.2f"):format((sys.now() - start) / count * 1e6))
peer:close()
