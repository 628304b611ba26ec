-- SPDX-License-Identifier: MIT
-- Fetches and hashes one body of 1 GiB, and measures the memory that this takes.

return function(bench)
  local url = bench:nginx() .. "/big.bin"
  bench:shell("truncate -s 1G $1/www/big.bin", bench.dir)
  local peer, node = bench:node(1)
  local digest
  local measure = {}

  function measure.ours()
    return bench:time([[$1 run $2 --items $3 --peers $4 >$5]], bench.program,
      bench.here .. "/../scripts/checksum.lua", url, peer, bench.dir .. "/big.json")
  end

  if bench:has("curl", "openssl") then
    function measure.curl()
      return bench:time("curl -s $1 | openssl dgst -sha256 -r >$2", url, bench.dir .. "/big.txt")
    end
  end

  local median = bench:interleave(measure)
  if measure.curl then
    digest = bench:shell("cut -c1-64 $1", bench.dir .. "/big.txt")
    assert(bench:shell("cat $1", bench.dir .. "/big.json"):find(digest, 1, true), "wrong digest")
  end
  local rss = 0
  for _, worker in ipairs(bench:children(node)) do
    rss = math.max(rss, bench:memory(worker, "VmHWM"))
  end
  bench:row({ name = "one body of 1 GiB, fetch + SHA-256", unit = "s", ours = median.ours,
    peer_name = "curl | openssl dgst", peer = median.curl, at_most = 1.0 })
  bench:row({ name = "  peak RSS of its worker", unit = "MiB", ours = rss, at_most = 30 })
end
