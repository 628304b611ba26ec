-- SPDX-License-Identifier: MIT
-- Fetches and hashes 2,000 pages of 10 KiB from a local nginx, ten times, so that start-up does not
-- count.

local COUNT, TIMES, SHELL_COUNT = 2000, 10, 400 -- the shell's rate is seen sooner

return function(bench)
  local url = bench:nginx()
  local list = bench.dir .. "/urls.txt"
  bench:say("making %d pages", COUNT)
  bench:shell([[cd $1/www && head -c $(($2 * 10240)) /dev/urandom |
    split -b 10240 -a 4 -d --additional-suffix=.bin - page
    for f in page*; do echo $3/$f; done >$4]], bench.dir, COUNT, url, list)
  local many = bench.dir .. "/many.txt"
  bench:shell("for i in $(seq $1); do cat $2; done >$3", TIMES, list, many)
  local peer = bench:node(2)
  local measure = {}

  function measure.ours()
    return COUNT * TIMES / bench:time("$1 run $2 $3 --peers $4 >$5", bench.program,
      bench.here .. "/../scripts/checksum.lua", many, peer, bench.dir .. "/digests")
  end

  if bench:has("xargs", "curl", "sha256sum") then
    function measure.shell()
      return SHELL_COUNT / bench:time(
        [[head -n $1 $2 | xargs -P 4 -n 1 sh -c 'curl -s "$0" | sha256sum' >/dev/null]],
        SHELL_COUNT, list)
    end
  end

  if bench:has("wrk") then
    function measure.wrk()
      local text = bench:shell("wrk -t 2 -c 64 -d 2s -s $1/wrk_pages.lua $2 -- $3", bench.here,
        url, COUNT)
      assert(not text:find("Non-2xx", 1, true), text)
      return tonumber(text:match("Requests/sec:%s*([%d.]+)"))
    end
  end

  local median = bench:interleave(measure)
  bench:row({ name = "20,000 fetches of 10 KiB pages + SHA-256", unit = "rate", ours = median.ours,
    peer_name = "xargs -P4 curl | sha256sum", peer = median.shell, at_least = 50 })
  bench:row({ name = "the same", unit = "rate", ours = median.ours,
    peer_name = "wrk, fetch only", peer = median.wrk, at_least = 0.5 })
end
