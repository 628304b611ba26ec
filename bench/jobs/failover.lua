-- Runs a map during which a node is killed or frozen, as a driver script:
--   moonfleet run --peers ADDRESSES failover.lua SIGNAL PID
-- Prints the seconds from the signal until the last item of that node was done elsewhere, and the
-- number of these items.
local fleet = require("fleet")
local sys = require("host.sys")

local signal, pid = arg[1], arg[2]
local COUNT = 400
local BEFORE = 100 -- results until the signal
local SECONDS = 0.1 -- of one item

local items = {}
for i = 1, COUNT do items[i] = i end

local function work(seconds)
  return function()
    fleet.sleep(seconds)
    return fleet.self().attempt
  end
end

local seen, done, lost, start, last = {}, 0, 0, nil, nil
for item, attempt, err in fleet.each(work(SECONDS), items, { concurrency = 8 }) do
  assert(not err, err)
  assert(not seen[item], "an item ended twice")
  seen[item], done = true, done + 1
  if done == BEFORE then
    assert(os.execute(("kill -%s %d"):format(signal, pid)))
    start = sys.now()
  elseif attempt > 1 then
    lost, last = lost + 1, sys.now()
  end
end
assert(done == COUNT and lost > 0, ("%d items done, %d elsewhere"):format(done, lost))
print(("%.3f %d"):format(last - start, lost))
