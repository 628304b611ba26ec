-- SPDX-License-Identifier: MIT
-- Runs 10 million items (or ITEMS=N) through one driver, whose memory must not grow with them.

return function(bench)
  local count = math.tointeger(os.getenv("ITEMS")) or 10000000
  local peer = bench:node(2)
  local items, results = bench.dir .. "/items.pipe", bench.dir .. "/results.pipe"
  local lines = bench.dir .. "/lines"
  bench:shell("mkfifo $1 $2", items, results)
  bench:spawn("seq $1 >$2", count, items)
  bench:spawn("wc -l <$1 >$2", results, lines)
  local driver = bench:spawn("$1 run $2 $3 --peers $4 >$5", bench.program,
    bench.here .. "/jobs/same.lua", items, peer, results)
  bench:say("%d items", count)
  local peak
  repeat
    bench:sleep(0.2)
    local now = bench:memory(driver, "VmHWM")
    peak = now or peak
  until not now
  bench:sleep(0.2)
  local done = tonumber(bench:shell("cat $1", lines))
  assert(done == count, ("%s results of %d items"):format(done, count))
  bench:row({ name = ("%d items, peak RSS of the driver"):format(count), unit = "MiB",
    ours = peak, at_most = 64 })
end
