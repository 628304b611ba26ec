-- SPDX-License-Identifier: MIT
-- Starts an Erlang node as a peer, with an epmd of its own that ends with the bench. Returns a
-- function that runs a mode of erlang_peer.escript, or nil if Erlang is not installed.

return function(bench)
  if not bench:has("erl", "escript") then return nil end
  if not bench.epmd then
    bench.epmd = bench:port()
    bench:spawn("env ERL_EPMD_PORT=$1 erl -noinput -name bench_peer@127.0.0.1 "
      .. "-setcookie moonfleet_bench", bench.epmd)
    bench:wait_port(bench.epmd)
  end
  return function(mode, count)
    return tonumber(bench:shell("ERL_EPMD_PORT=$1 escript $2/erlang_peer.escript $3 bench_peer $4",
      bench.epmd, bench.here, mode, count))
  end
end
